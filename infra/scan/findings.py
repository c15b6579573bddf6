"""What a scan says: findings, their severities, merging, fingerprints, and the report that holds them."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum
from typing import Any


class Severity(IntEnum):
    """How bad a finding is; comparable, so that ``--fail-on`` is ``>=``."""

    INFO = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4

    @property
    def label(self) -> str:
        """The lower-case name used in reports and on the command line."""
        return self.name.lower()

    @classmethod
    def parse(cls, label: str) -> Severity:
        """Return the severity called ``label``; raises ``KeyError`` for any other word."""
        return cls[label.upper()]


class Kind(StrEnum):
    """The families of defects the scanner looks for."""

    SECRET = "secret"  # noqa: S105 - the name of a family, not a credential
    SQL_INJECTION = "sql_injection"
    XSS = "xss"
    WEAK_CRYPTO = "weak_crypto"
    CORS = "cors"
    OTHER = "other"


@dataclass(frozen=True)
class Rule:
    """A thing the scanner knows to be wrong: why it matters, how to mend it, and its CWE number."""

    id: str
    kind: Kind
    severity: Severity
    cwe: int
    why: str
    fix: str


@dataclass(frozen=True)
class Finding:
    """One defect at one place.

    ``file`` is relative to the scanned root with forward slashes; ``line`` and ``column`` count from 1.
    ``snippet`` is the source line with every secret found in that file masked. ``sources`` names the tools
    that agreed (``farwatch``, ``bandit``, ``detect-secrets``, ``cfn-lint``). ``fingerprint`` stays the same
    when lines are added above.
    """

    rule: str
    kind: Kind
    severity: Severity
    file: str
    line: int
    column: int
    snippet: str
    why: str
    fix: str
    cwe: int
    sources: tuple[str, ...]
    fingerprint: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form of the finding."""
        return {
            "rule": self.rule,
            "kind": self.kind.value,
            "severity": self.severity.label,
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "snippet": self.snippet,
            "why": self.why,
            "fix": self.fix,
            "cwe": self.cwe,
            "sources": list(self.sources),
            "fingerprint": self.fingerprint,
        }


@dataclass(frozen=True)
class Hit:
    """What a detector returns: a rule that matched at a position of the file it was given.

    ``secret`` is the matched credential itself; it is used to mask snippets and never leaves the scan.
    ``severity`` overrides the rule's own when the place makes the defect better or worse.
    """

    rule: Rule
    line: int
    column: int = 1
    source: str = "farwatch"
    secret: str | None = None
    severity: Severity | None = None


@dataclass(frozen=True)
class Skipped:
    """A file or folder the scan did not read, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Suppressed:
    """A finding that was set aside, by an inline comment or by the baseline, and the reason given."""

    finding: Finding
    by: str
    reason: str


@dataclass
class Report:
    """The result of one scan: findings worst first, and an account of what was and was not read."""

    root: str
    findings: list[Finding] = field(default_factory=list)
    suppressed: list[Suppressed] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    files: int = 0
    seconds: float = 0.0

    def at_least(self, severity: Severity) -> list[Finding]:
        """Return the findings of this severity or worse."""
        return [finding for finding in self.findings if finding.severity >= severity]

    def counts(self) -> dict[str, int]:
        """Return how many findings there are of each severity, worst first, zeros included."""
        seen = Counter(finding.severity for finding in self.findings)
        return {severity.label: seen[severity] for severity in sorted(Severity, reverse=True)}

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form of the report, as the admin view is served it."""
        kinds = Counter(finding.kind.value for finding in self.findings)
        return {
            "version": 1,
            "root": self.root,
            "files": self.files,
            "seconds": round(self.seconds, 3),
            "counts": self.counts(),
            "kinds": {kind.value: kinds[kind.value] for kind in Kind},
            "findings": [finding.to_dict() for finding in self.findings],
            "suppressed": [
                {"finding": row.finding.to_dict(), "by": row.by, "reason": row.reason}
                for row in self.suppressed
            ],
            "skipped": [{"path": row.path, "reason": row.reason} for row in self.skipped],
        }


def merge(findings: Iterable[Finding]) -> list[Finding]:
    """Join findings of one kind on one line into the worst of them, naming every tool that saw it.

    At equal severity our own rule wins, because its explanation fits the place. ``other`` is a mixed bag, so
    there only equal CWE numbers are joined.
    """
    best: dict[tuple[str, int, Kind, int], Finding] = {}
    for finding in findings:
        key = (finding.file, finding.line, finding.kind, finding.cwe if finding.kind is Kind.OTHER else 0)
        held = best.get(key)
        if held is None:
            best[key] = finding
            continue
        sources = tuple(sorted({*held.sources, *finding.sources}))
        rank = (finding.severity, "farwatch" in finding.sources, finding.cwe)
        winner = finding if rank > (held.severity, "farwatch" in held.sources, held.cwe) else held
        best[key] = replace(winner, sources=sources)
    return sorted(best.values(), key=lambda found: (-found.severity, found.file, found.line, found.rule))


def with_fingerprints(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings with fingerprints that survive moves within a file.

    A fingerprint is made of the rule, the file, the masked line with its spaces squeezed, and a counter for
    identical lines. It holds nothing of the secret, so a baseline can be committed.
    """
    seen: Counter[str] = Counter()
    named: dict[int, Finding] = {}
    rows = list(findings)
    for index, found in sorted(enumerate(rows), key=lambda row: (row[1].file, row[1].line, row[1].rule)):
        text = re.sub(r"\s+", " ", found.snippet)
        base = "\0".join((found.rule, found.file, text))
        digest = hashlib.sha256(f"{base}\0{seen[base]}".encode(errors="surrogatepass")).hexdigest()[:20]
        seen[base] += 1
        named[index] = replace(found, fingerprint=digest)
    return [named[index] for index in range(len(rows))]
