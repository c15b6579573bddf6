"""Rates per second from counters that only grow, until they wrap or start again."""

from __future__ import annotations

from collections.abc import Hashable

_WRAP_32 = 2**32


class Rates:
    """Remembers the last value of every counter and turns a new one into a rate per second.

    A counter that falls has either wrapped at 32 bits (it was in the upper tenth of that range and is now in
    the lower tenth) and the rate is exact, or it started again (interface made anew, driver reloaded) and the
    rate of that interval is unknown.
    """

    def __init__(self) -> None:
        self._last: dict[Hashable, tuple[float, float]] = {}
        self._fresh: set[Hashable] = set()

    def rate(self, key: Hashable, value: float, now: float) -> float | None:
        """Fold in ``value`` of counter ``key`` at monotonic second ``now``.

        Returns the rate since the last call, or ``None`` when it is not known: at the first sight, after a
        restart of the counter, or when no time has passed.
        """
        last = self._last.get(key)
        self._last[key] = (value, now)
        self._fresh.add(key)
        if last is None or now <= last[1]:
            return None
        delta = value - last[0]
        if delta < 0:
            if not (0.9 * _WRAP_32 < last[0] < _WRAP_32 and value < 0.1 * _WRAP_32):
                return None
            delta += _WRAP_32
        return delta / (now - last[1])

    def forget_unseen(self) -> None:
        """Drop the counters not folded in since the last call, such as removed interfaces."""
        for key in self._last.keys() - self._fresh:
            del self._last[key]
        self._fresh.clear()
