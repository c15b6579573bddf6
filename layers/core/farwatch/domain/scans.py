"""Results of security scans: findings, what a scan counts, and how it differs from the scan before of the same target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

MOST_FINDINGS = 2000
"""A scan is kept with so many findings at most, the worst of them; the rest is only counted."""

KEPT_PER_TARGET = 20
"""So many scans of a target are kept; older ones go when a new one comes."""

MOST_TARGETS = 200
"""So many targets are kept; the one that was not scanned for longest goes when a new one comes."""


class ScanSeverity(StrEnum):
    """How bad a finding is, worst first."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"


class Change(StrEnum):
    """How a finding stands to the scan before: it appeared, it was there already, or it is there no longer."""

    NEW = "new"
    OPEN = "open"
    FIXED = "fixed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One defect at one place of the scanned tree. All text is hostile: whoever writes the tree writes it.

    ``fingerprint`` is the same when lines are added above. ``snippet`` is the line with its secrets masked by the scanner.
    """

    rule: str
    kind: str
    severity: ScanSeverity
    file: str
    line: int
    column: int
    snippet: str
    why: str
    fix: str
    cwe: int
    sources: tuple[str, ...]
    fingerprint: str


@dataclass(frozen=True, slots=True)
class ScanResult:
    """What one scan of ``target`` found, worst first. ``left_out`` counts the findings beyond those listed."""

    target: str
    files: int
    seconds: float
    suppressed: int
    skipped: int
    left_out: int
    findings: tuple[Finding, ...]

    def counts(self) -> dict[ScanSeverity, int]:
        """Return how many listed findings there are of each severity, zeros included."""
        seen = Counter(finding.severity for finding in self.findings)
        return {severity: seen[severity] for severity in ScanSeverity}


@dataclass(frozen=True, slots=True)
class Trend:
    """Findings since the scan before: how many appeared, are there no longer, and remained."""

    previous_id: str
    appeared: int
    fixed: int
    remained: int


@dataclass(frozen=True, slots=True)
class Scan:
    """A scan as it is kept, without its findings. ``received_at`` is epoch ms; ``trend`` is None for a target's first."""

    id: str
    target: str
    received_at: int
    actor_kind: str
    actor_id: str
    files: int
    seconds: float
    suppressed: int
    skipped: int
    left_out: int
    counts: dict[ScanSeverity, int]
    trend: Trend | None


def compare(previous_id: str, before: Sequence[str], now: Sequence[str]) -> Trend:
    """Return how the fingerprints of a scan differ from those of the scan ``previous_id``."""
    old, new = set(before), set(now)
    return Trend(previous_id, len(new - old), len(old - new), len(old & new))
