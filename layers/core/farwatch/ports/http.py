"""What the HTTP house needs from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from farwatch.domain.rbac import Caller


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer kept for an idempotency key; ``body_hash`` tells whether the same request is repeated.

    ``status`` 0 means that the first request is still being served.
    """

    body_hash: str
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""


class ReplyStore(Protocol):
    """Remembers answers by idempotency key."""

    def claim(self, key: str, body_hash: str) -> Reply | None:
        """Return None after reserving ``key`` for this request, or the reply (or reservation) that is there."""

    def keep(self, key: str, reply: Reply) -> None:
        """Store the answer for a day."""

    def release(self, key: str) -> None:
        """Give up the reservation: the request failed and may be tried again."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one rate limit has left for one key. Times are seconds."""

    policy: str
    quota: int
    window_s: int
    remaining: int
    reset_s: int
    retry_after_s: int

    @property
    def refused(self) -> bool:
        """Whether this request is over the limit."""
        return self.retry_after_s > 0


class RateLimits(Protocol):
    """Counts requests."""

    def spend(self, caller: Caller, limit: str | None) -> Sequence[Allowance]:
        """Count one request by ``caller`` against every limit that covers it, ``limit`` included; return them all."""


class AccessLog(Protocol):
    """The part of the audit log that the house writes by itself."""

    def record_request(
        self,
        caller: Caller,
        *,
        action: str,
        target: str,
        outcome: str,
        before: Mapping[str, object] | None = None,
        after: Mapping[str, object] | None = None,
        detail: Mapping[str, object],
    ) -> None:
        """Record that ``caller`` did (or was denied) ``action`` on ``target``, and what it changed."""
