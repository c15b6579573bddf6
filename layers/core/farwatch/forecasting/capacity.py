"""When a bounded metric runs out: "full in 31 h, between 26 and 44 h, at the last day's rate"."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from farwatch.forecasting.errors import ForecastError
from farwatch.forecasting.history import DAY_S, History


@dataclass(frozen=True, slots=True)
class Capacity:
    """Time from ``now`` until a metric reaches a threshold, in seconds; None means not within a year.

    ``median_s`` is the best estimate; with probability 80 % the time lies between ``low_s`` and ``high_s``. A
    threshold that is reached already gives zero for all three. ``current`` is the last known value,
    ``per_day`` the signed rate of change the estimate rests on (units per day) and ``observed_s`` the span it
    was taken from.
    """

    threshold: float
    current: float
    per_day: float
    observed_s: float
    median_s: float | None
    low_s: float | None
    high_s: float | None


NEVER_S = 366 * DAY_S


def time_to_threshold(history: History, threshold: float, now: float, *, rising: bool = True) -> Capacity:
    """When ``history`` reaches ``threshold``, from above if not ``rising``.

    The last value moves on at the mean rate of the history, (last - first) / span, which for a sum of
    independent steps is the estimate of least variance; the range is the time at 4/5 and 5/4 of that rate.
    Needs a day of history, else `InsufficientHistory`.
    """
    if not np.isfinite(threshold):
        raise ForecastError("the threshold is not a number")
    history.require("capacity", DAY_S)
    sign = 1.0 if rising else -1.0
    filled = history.filled() * sign
    goal = threshold * sign
    current = float(filled[-1])
    span = (len(filled) - 1) * history.step
    rate = (current - float(filled[0])) / span
    late = max(now - (history.end - history.step), 0.0)
    if current >= goal:
        found: tuple[float | None, ...] = (0.0, 0.0, 0.0)
    else:
        found = tuple(_crossing(rate * factor, goal - current, late) for factor in (1.0, 1.25, 0.8))
    return Capacity(
        threshold=threshold,
        current=current * sign,
        per_day=rate * DAY_S * sign,
        observed_s=span,
        median_s=found[0],
        low_s=found[1],
        high_s=found[2],
    )


def _crossing(rate: float, room: float, late: float) -> float | None:
    if rate <= 0 or room / rate > NEVER_S:
        return None
    return max(room / rate - late, 0.0)
