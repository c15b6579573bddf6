"""What a rule compares: a value, its change, how long a series has been silent, or how long until it is full."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

NEVER_S = 1e9
"""Time to a bound that the series is not moving towards: thirty years, more than any threshold."""

POINTS = 60
"""At most so many points of a window are kept: enough for its slope at any sampling interval."""

FULL = 0.75
"""A window says something once so much of it has been seen."""


class Measure(StrEnum):
    """What of a series is compared.

    ``value`` is the sample itself. ``change_per_hour`` is (last - first) / elapsed hours over the window.
    ``silent_s`` is the time since the series' last sample while its host reports, in seconds. ``seconds_to_bound`` is how
    long until the series reaches its bound at the rate of the window, in seconds.
    """

    VALUE = "value"
    CHANGE = "change_per_hour"
    SILENT = "silent_s"
    TO_BOUND = "seconds_to_bound"


WINDOWED = frozenset({Measure.CHANGE, Measure.TO_BOUND})


def remember(window: list[tuple[int, float]], at: int, value: float, window_s: float) -> None:
    """Add the sample (epoch ms, value) to ``window`` in place, and forget what has left it.

    What is kept lies evenly over the window, or its oldest part would be gone long before it is: the newest sample is
    always there, and takes the place of the one before it while that is close to what came before.
    """
    apart = window_s * 1000 / (POINTS - 2)
    if len(window) > 1 and window[-1][0] - window[-2][0] < apart:
        window.pop()
    window.append((at, value))
    while window[0][0] < at - window_s * 1000:
        window.pop(0)


def change_per_hour(window: Sequence[tuple[int, float]], window_s: float) -> float | None:
    """Return the change between the window's ends per hour; None until it is nearly full."""
    (first_at, first), (last_at, last) = window[0], window[-1]
    if last_at - first_at < FULL * window_s * 1000:
        return None
    return (last - first) / ((last_at - first_at) / 3_600_000)


def seconds_to_bound(window: Sequence[tuple[int, float]], window_s: float, bound: float) -> float | None:
    """Return how long until the window's least-squares line reaches ``bound``; None until the window is nearly full.

    0 when the last value is at the bound or, going by the direction it moves in, beyond it; ``NEVER_S`` when it stands
    still or moves away.
    """
    (first_at, _), (last_at, last) = window[0], window[-1]
    if last_at - first_at < FULL * window_s * 1000:
        return None
    times = [(at - last_at) / 1000 for at, _ in window]
    middle_at, middle = sum(times) / len(window), sum(value for _, value in window) / len(window)
    spread = sum((at - middle_at) ** 2 for at in times)
    slope = (
        sum((at - middle_at) * (value - middle) for at, (_, value) in zip(times, window, strict=True))
        / spread
    )
    left = bound - last
    if left == 0.0:
        return 0.0
    if slope == 0.0 or (left > 0) != (slope > 0):
        return NEVER_S
    return min(left / slope, NEVER_S)
