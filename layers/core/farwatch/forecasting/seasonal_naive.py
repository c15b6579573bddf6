"""Yesterday again: the forecast every other model has to beat."""

from __future__ import annotations

import numpy as np

from farwatch.forecasting.conformal import offsets
from farwatch.forecasting.counters import accumulate, increments
from farwatch.forecasting.forecast import NORMAL, Forecast, check_horizon, finish
from farwatch.forecasting.history import DAY_S, UNBOUNDED, Bounds, Floats, History


class SeasonalNaive:
    """The last known value at the same time of day, with intervals from how well that did within the history.

    The errors for the k-th day ahead are the differences between values k days apart. Needs two days.
    """

    name = "seasonal_naive"

    def forecast(self, history: History, steps: int, bounds: Bounds = UNBOUNDED) -> Forecast:
        """See `Forecaster.forecast`."""
        check_horizon(history, steps)
        history.require(self.name, 2 * DAY_S)
        if history.counter:
            growth = _quantiles(increments(history), steps)
            return finish(self.name, history, accumulate(history, growth), bounds)
        return finish(self.name, history, _quantiles(history, steps), bounds)


def _quantiles(history: History, steps: int) -> Floats:
    day = history.day
    filled = history.filled()
    point = np.resize(filled[-day:], steps)
    out = np.empty((steps, 5))
    for first in range(0, steps, day):
        lag = min(first + day, (len(filled) - 1) // day * day)
        errors = history.values[lag:] - history.values[:-lag]
        out[first : first + day] = point[first : first + day, None] + offsets(errors)
    return out


def yesterday_with_normal_errors(history: History, steps: int) -> Floats:
    """The usual yardstick (steps, 5): yesterday again, spread like the day-to-day differences.

    The spread is normal and grows with the square root of the days ahead. The history must be longer than a
    day.
    """
    filled, day = history.filled(), history.day
    spread = np.std(filled[day:] - filled[:-day]) * np.sqrt(np.arange(steps) // day + 1)
    return np.asarray(np.resize(filled[-day:], steps)[:, None] + spread[:, None] * NORMAL)
