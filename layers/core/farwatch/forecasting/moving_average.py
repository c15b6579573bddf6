"""The mean of the last day, for metrics with no rhythm at all."""

from __future__ import annotations

import numpy as np

from farwatch.forecasting.conformal import offsets
from farwatch.forecasting.counters import accumulate, increments
from farwatch.forecasting.forecast import Forecast, check_horizon, finish
from farwatch.forecasting.history import DAY_S, UNBOUNDED, Bounds, Floats, History


class MovingAverage:
    """The mean of the last day for every step ahead, with intervals from the method's errors in the history.

    The errors for the k-th day ahead are those of the means of all earlier days against the values that
    followed in their k-th day. Needs two days.
    """

    name = "moving_average"

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
    width = min(day, len(filled))
    sums = np.concatenate([[0.0], np.cumsum(filled - filled[0])])
    means = (sums[width:] - sums[:-width]) / width + filled[0]  # means[i] covers filled[i : i + width]
    out = np.empty((steps, 5))
    spread = np.zeros(5)
    for first in range(0, steps, day):
        origins = np.arange(width, len(filled) - first - 1)
        if len(origins):
            lead = np.arange(first, first + day, max(day // 8, 1))
            target = origins[:, None] + lead
            actual = np.where(
                target < len(filled), history.values[np.minimum(target, len(filled) - 1)], np.nan
            )
            spread = offsets((actual - means[origins - width][:, None]).ravel())
        out[first : first + day] = means[-1] + spread
    return out
