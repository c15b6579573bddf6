"""The rate limits: which there are, and what each kind of caller spends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from farwatch.domain.rbac import Caller, PrincipalKind
from farwatch.ports.http import Allowance


@dataclass(frozen=True, slots=True)
class Policy:
    """At most ``quota`` requests in ``window_s`` seconds; the whole quota may be spent at once."""

    name: str
    quota: int
    window_s: int


POLICIES = {
    policy.name: policy
    for policy in (
        # One address may be a whole office behind one dashboard server, so this is only the outer wall.
        Policy("address", 3000, 60),
        Policy("anonymous", 300, 60),
        Policy("user", 600, 60),
        Policy("token", 600, 60),
        # An agent sends every few seconds; a backlog may be replayed at twenty batches a second.
        Policy("agent", 1200, 60),
        # What guesses secrets: signing in, enrolling, redeeming one-time tokens.
        Policy("sign-in", 30, 60),
        # What costs much: forecasts, detector runs, exports.
        Policy("heavy", 60, 60),
    )
}
_BY_KIND = {
    PrincipalKind.ANONYMOUS: "anonymous",
    PrincipalKind.USER: "user",
    PrincipalKind.TOKEN: "token",
    PrincipalKind.AGENT: "agent",
    PrincipalKind.SYSTEM: "user",
}


class Buckets(Protocol):
    """Counts what is spent from named buckets."""

    def spend(self, wanted: Sequence[tuple[str, Policy]]) -> Sequence[Allowance]:
        """Take one from every bucket in one step, or from none when any of them is empty."""
        ...


class SpendRateLimits:
    """Implements ``farwatch.ports.http.RateLimits`` over buckets."""

    def __init__(self, buckets: Buckets) -> None:
        self._buckets = buckets

    def spend(self, caller: Caller, limit: str | None) -> Sequence[Allowance]:
        """Count one request by ``caller`` against its identity, its address and the route's own limit."""
        principal = caller.principal
        own = POLICIES[_BY_KIND[principal.kind]]
        who = principal.id or caller.address
        wanted = [(f"{own.name}:{who}", own), (f"address:{caller.address}", POLICIES["address"])]
        if limit is not None:
            strict = POLICIES[limit]
            wanted.append((f"{limit}:{principal.id or caller.address}", strict))
        return self._buckets.spend(wanted)
