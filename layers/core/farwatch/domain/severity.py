"""The four severities, ordered."""

from __future__ import annotations

from enum import StrEnum


class Severity(StrEnum):
    """How much it matters. ``rank`` orders them: critical 3, high 2, warning 1, info 0."""

    CRITICAL = "critical"
    HIGH = "high"
    WARNING = "warning"
    INFO = "info"

    @property
    def rank(self) -> int:
        """0 (info) … 3 (critical)."""
        return _RANK[self]


_RANK = {Severity.INFO: 0, Severity.WARNING: 1, Severity.HIGH: 2, Severity.CRITICAL: 3}


def highest(severities: list[Severity]) -> Severity:
    """Return the most severe of a non-empty list."""
    return max(severities, key=lambda severity: severity.rank)
