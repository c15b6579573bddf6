"""When to sample, and with which time: a schedule that survives steps of the wall clock."""

from __future__ import annotations

import math
from typing import NamedTuple


class Tick(NamedTuple):
    """One moment to sample.

    ``time_ms`` is the stamp in epoch milliseconds.  ``stepped_back`` says that the wall clock was set back
    so far that stamps start again below earlier ones.
    """

    time_ms: int
    stepped_back: bool


class Ticker:
    """Ticks at the multiples of the interval in wall time, as measured with the monotonic clock.

    The caller waits on the monotonic clock, so a step of the wall clock neither stops nor hurries the wait.
    A tick near a multiple is stamped with the multiple, which absorbs the small corrections of a time
    service and lines hosts up; one far from it (the host slept, the clock was set) with the time it was.
    Stamps never repeat: a clock that steps forward leaves a gap; one that steps back by less than
    ``patience`` seconds makes the ticker wait until time has caught up; one that steps back further is
    believed, and the tick says so.  No I/O and no clock of its own: the time is an argument.
    """

    def __init__(self, interval: float, patience: float = 30.0) -> None:
        self.interval = interval
        self._patience = patience
        self._last_ms: int | None = None

    def wait(self, wall: float) -> float:
        """Return the seconds from ``wall`` (epoch seconds) until the next multiple of the interval."""
        due = (math.floor(wall / self.interval) + 1) * self.interval
        if self._last_ms is not None and abs(due - self._last_ms / 1000) < self.interval / 2:
            due += self.interval  # woken a moment too early: the multiple ahead has been taken already
        return due - wall

    def tick(self, wall: float) -> Tick | None:
        """Return the tick for ``wall``, or ``None`` when its stamp lies too early and is to be waited for."""
        grid = round(wall / self.interval) * self.interval
        near = abs(wall - grid) <= min(1.0, self.interval / 4)
        stamp = round((grid if near else wall) * 1000)
        if self._last_ms is None or stamp > self._last_ms:
            self._last_ms = stamp
            return Tick(stamp, stepped_back=False)
        if self._last_ms - stamp < max(self._patience, 2 * self.interval) * 1000:
            return None
        self._last_ms = stamp
        return Tick(stamp, stepped_back=True)

    def resume_after(self, time_ms: int) -> None:
        """Start above ``time_ms``, the last stamp of an earlier run."""
        self._last_ms = time_ms
