"""The default model: what this series usually does at this time of day."""

from __future__ import annotations

import numpy as np

from farwatch.forecasting.counters import accumulate, increments
from farwatch.forecasting.forecast import LEVELS, Forecast, check_horizon, finish
from farwatch.forecasting.history import DAY_S, UNBOUNDED, Bounds, Floats, History


class Default:
    """Quantiles of the past days at the same time of day, half an hour around. Needs one day."""

    name = "default"

    def forecast(self, history: History, steps: int, bounds: Bounds = UNBOUNDED) -> Forecast:
        """See `Forecaster.forecast`."""
        check_horizon(history, steps)
        history.require(self.name, DAY_S)
        if history.counter:
            growth = _quantiles(increments(history), steps)
            return finish(self.name, history, accumulate(history, growth), bounds)
        return finish(self.name, history, _quantiles(history, steps), bounds)


def _quantiles(history: History, steps: int) -> Floats:
    filled, day = history.filled(), history.day
    days = len(filled) // day or 1
    around = max(day // 48, 1)
    table = np.resize(filled[-days * day :], (days, day)) if len(filled) >= day else filled[None, :]
    nearby = np.concatenate([np.roll(table, shift, axis=1) for shift in range(-around, around + 1)])
    profile = np.resize(np.quantile(nearby, LEVELS, axis=0).T, (steps, len(LEVELS)))
    return np.asarray(profile)
