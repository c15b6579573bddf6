"""What the sweep remembers from minute to minute."""

from __future__ import annotations

from typing import Protocol


class SweepLog(Protocol):
    """The sweep's own record; it is what the health page shows of it."""

    def tick(self, now: int) -> int:
        """Note a run and return since when (epoch ms) the sweep has run without a gap."""
        ...

    def record(self, step: str, now: int, error: str | None) -> None:
        """Note how a step went; ``error`` None means well."""
        ...
