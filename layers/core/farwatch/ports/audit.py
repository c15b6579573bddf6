"""The audit log, as the services see it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from farwatch.domain.audit import Link
from farwatch.domain.rbac import Caller


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which rows to list; None means any. ``since`` and ``until`` are epoch ms, until exclusive."""

    actor_id: str | None = None
    action: str | None = None
    target: str | None = None
    outcome: str | None = None
    since: int | None = None
    until: int | None = None
    address: str | None = None


class AuditLog(Protocol):
    """An append-only record of who did what."""

    def record(
        self,
        caller: Caller,
        *,
        action: str,
        target: str,
        outcome: str = "done",
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        """Append one row, inside the surrounding transaction when there is one."""
        ...

    def rows(self, wanted: AuditFilter, *, before_seq: int | None, limit: int) -> Sequence[Mapping[str, Any]]:
        """Return up to ``limit`` entries, newest first, older than ``before_seq``; each with ``seq`` and ``hash``."""
        ...

    def links(self) -> Iterator[Link]:
        """Yield the whole chain, oldest first, without holding it in memory."""
        ...
