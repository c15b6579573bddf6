"""Hosts and what we know of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class HostStatus(StrEnum):
    """``live`` reports; ``late`` missed a few; ``silent`` has stopped; ``never_seen`` enrolled only; ``retired`` is gone."""

    LIVE = "live"
    LATE = "late"
    SILENT = "silent"
    NEVER_SEEN = "never_seen"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class Host:
    """One monitored machine. Times are epoch milliseconds; ``interval_s`` is how often its agent samples.

    ``last_seen_at`` is when the newest batch that is stored reached the back end; ``version`` counts what people change of
    the host, for ETags.
    """

    id: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    os: str = ""
    agent_version: str = ""
    enrolled_at: int = 0
    last_seen_at: int | None = None
    interval_s: float = 5.0
    interval_overridden: bool = False
    may_be_off: bool = False
    retired_at: int | None = None
    facts: Mapping[str, float | str] = field(default_factory=dict)
    version: int = 1


LATE_AFTER_INTERVALS = 3
SILENT_AFTER_S = 60.0


def silent_after_s(interval_s: float) -> float:
    """Return how many seconds without a batch make a host silent: a minute, or six intervals if that is longer."""
    return max(SILENT_AFTER_S, 6 * interval_s)


BEHIND_AFTER_S = 30.0


def heard_at(host: Host, door: Mapping[str, int]) -> int | None:
    """Return when the host was last heard of (epoch ms): at the ``door`` (host id → epoch ms), or by what is stored."""
    return max((at for at in (host.last_seen_at, door.get(host.id)) if at is not None), default=None)


STUCK_AFTER_S = 900.0


def is_stuck(host: Host, newest: int) -> bool:
    """Return whether nothing of the host is stored any more, though what others brought a quarter of an hour later is.

    ``newest`` is when the newest batch that is stored, of any host, reached the back end (epoch ms). While the whole back
    end is behind, nobody is stuck.
    """
    return host.last_seen_at is not None and newest - host.last_seen_at > STUCK_AFTER_S * 1000


def last_life(host: Host, door: Mapping[str, int], newest: int) -> int | None:
    """Return when the host gave its last sign of life (epoch ms), None if never: a batch that waits to be stored is one,
    unless nothing of the host is stored any more (``is_stuck``).
    """
    return host.last_seen_at if is_stuck(host, newest) else heard_at(host, door)


def waiting_ms(host: Host, door: Mapping[str, int], now: int) -> int:
    """Return how long, about, the host's oldest batch that is not stored has waited at ``now``; 0 when none is late.

    A batch is late half a minute, or two intervals, after the newest one that is stored.
    """
    knocked = door.get(host.id)
    stored = host.last_seen_at if host.last_seen_at is not None else host.enrolled_at
    if knocked is None or knocked - stored <= max(BEHIND_AFTER_S, 2 * host.interval_s) * 1000:
        return 0
    return now - stored


def status(host: Host, now: int) -> HostStatus:
    """Return the host's state at ``now`` (epoch ms)."""
    if host.retired_at is not None:
        return HostStatus.RETIRED
    if host.last_seen_at is None:
        return HostStatus.NEVER_SEEN
    age_s = (now - host.last_seen_at) / 1000
    if age_s > silent_after_s(host.interval_s):
        return HostStatus.SILENT
    if age_s > max(LATE_AFTER_INTERVALS * host.interval_s, 20.0):
        return HostStatus.LATE
    return HostStatus.LIVE
