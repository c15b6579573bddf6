"""Where the results of security scans are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from farwatch.domain.rbac import Caller
from farwatch.domain.scans import Change, Finding, Scan, ScanResult, ScanSeverity


@dataclass(frozen=True, slots=True)
class Placed:
    """A finding of a scan, its place in the order (worst first) and how it stands to the scan before."""

    place: int
    finding: Finding
    change: Change


@dataclass(frozen=True, slots=True)
class FindingFilter:
    """Which findings a list asks for; nothing named asks for all. ``change`` None means those of the scan itself."""

    severity: tuple[ScanSeverity, ...] = ()
    rule: str | None = None
    change: Change | None = None


class ScanStore(Protocol):
    """Scans and their findings."""

    def add(self, caller: Caller, result: ScanResult, now: int) -> Scan:
        """Keep a result, compared with the newest of the same target, and drop what is beyond the bounds."""
        ...

    def scans(
        self, *, target: str | None, newest_only: bool, before_id: str | None, limit: int
    ) -> Sequence[Scan]:
        """Return scans, newest first, older than ``before_id``; with ``newest_only`` one of each target."""
        ...

    def get(self, scan_id: str) -> Scan | None:
        """Return one scan."""
        ...

    def findings(self, scan: Scan, wanted: FindingFilter, *, after: int, limit: int) -> Sequence[Placed]:
        """Return findings behind the place ``after``, worst first; fixed ones are those of the scan before."""
        ...

    def rules(self, scan_id: str) -> dict[str, int]:
        """Return the rules of a scan's findings and how many each has, most first."""
        ...
