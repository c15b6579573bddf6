"""Looks: what ``process`` asks of ``detect``, so that the detectors too slow for every batch watch a host all the same."""

from __future__ import annotations

from dataclasses import dataclass

LOOK_EVERY_S = 30
"""A host is looked at so often at most."""


@dataclass(frozen=True, slots=True)
class Look:
    """Please look at the samples of a host taken after ``after``, through ``through``. Times are epoch milliseconds.

    The range is what was stored since the last time it was asked. Whoever looks goes by how far they have come themselves,
    so that a look which is lost, doubled or out of order changes nothing; ``after`` counts where nothing is remembered.
    """

    host_id: str
    after: int
    through: int
    asked_at: int


@dataclass(frozen=True, slots=True)
class Watched:
    """How the slow detectors stand with a host after a look. Times are epoch milliseconds.

    ``series`` are watched, every one through ``through`` at least; ``waiting`` have not been begun for want of time, and
    ``left_out`` are beyond what one host may have watched.
    """

    looked_at: int
    through: int
    series: int
    waiting: int = 0
    left_out: int = 0
