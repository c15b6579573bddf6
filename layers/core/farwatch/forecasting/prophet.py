"""Prophet (Taylor & Letham, *Forecasting at scale*, The American Statistician 2018), set up for host metrics.

Its defaults were made for years of daily sales. Here: no trend unless the week has one, no weekly term (a
week holds one), a daily rhythm of order 8, a logarithmic scale for lopsided metrics, and intervals from the
errors of the fit instead of from simulated changes of trend.
"""

from __future__ import annotations

import logging

import numpy as np

from farwatch.forecasting.conformal import offsets
from farwatch.forecasting.counters import accumulate, increments
from farwatch.forecasting.forecast import Forecast, check_horizon, finish
from farwatch.forecasting.history import DAY_S, UNBOUNDED, Bounds, Floats, History
from farwatch.forecasting.shape import is_trending, reach, scale_of

_DAILY_ORDER = 8


class Prophet:
    """The library's Prophet with a configuration of our own. Needs two days and the `forecast` extra."""

    name = "prophet"

    def forecast(self, history: History, steps: int, bounds: Bounds = UNBOUNDED) -> Forecast:
        """See `Forecaster.forecast`. Takes about a tenth of a second, and seconds for the first import."""
        check_horizon(history, steps)
        history.require(self.name, 2 * DAY_S)
        if history.counter:
            growth = _quantiles(increments(history), steps)
            return finish(self.name, history, accumulate(history, growth), bounds)
        return finish(self.name, history, _quantiles(history, steps), bounds)


def _quantiles(history: History, steps: int) -> Floats:
    import pandas as pd
    import prophet

    fitting = logging.getLogger("cmdstanpy")  # writes two lines for every fit unless it finds itself set up
    if not fitting.handlers:
        fitting.addHandler(logging.NullHandler())
        fitting.setLevel(logging.WARNING)
    known = np.isfinite(history.values)
    scale = scale_of(history)
    values = scale.to(history.values)
    centre, unit = float(np.mean(values[known])), float(np.std(values[known]))
    if np.ptp(values[known]) == 0 or unit == 0:  # the spread of the tiniest values is no number to divide by
        return np.full((steps, 5), history.values[known][0])
    trending = is_trending(history)
    model = prophet.Prophet(
        growth="linear" if trending else "flat",
        n_changepoints=5 if trending else 0,
        changepoint_range=0.9,
        changepoint_prior_scale=0.3,
        yearly_seasonality=False,
        weekly_seasonality=False,
        daily_seasonality=_DAILY_ORDER,
        seasonality_prior_scale=1.0,
        uncertainty_samples=0,
    )
    when = pd.to_datetime(np.concatenate([history.times, history.future(steps)]), unit="s")
    n = len(values)
    model.fit(pd.DataFrame({"ds": when[:n][known], "y": (values[known] - centre) / unit}))
    fitted = model.predict(pd.DataFrame({"ds": when}))["yhat"].to_numpy() * unit + centre
    errors = values - fitted[:n]
    middle = float(np.median(errors[known]))
    # A mean of d days misses a new day by (1 + 1/d) of the variance and its own days by (1 - 1/d) of it.
    days = max(n / history.day, 2.0)
    widen = np.sqrt((days + 1) / (days - 1))
    quantiles = scale.back(fitted[n:, None] + middle + widen * offsets(errors - middle))
    return np.clip(quantiles, *reach(history, trending=trending))
