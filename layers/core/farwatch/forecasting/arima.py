"""ARIMA with a daily rhythm (Hyndman & Athanasopoulos, *Forecasting: principles and practice*, 2021, ch. 10).

Dynamic harmonic regression: Fourier pairs of the time of day explain the rhythm, ARMA errors the rest. With a
trend the errors are differenced once and drift (Box & Jenkins); without one they are not, so that a forecast
returns to the usual level instead of staying at the last spike for two days.
"""

from __future__ import annotations

import warnings

import numpy as np

from farwatch.forecasting.counters import accumulate, increments
from farwatch.forecasting.forecast import NORMAL, Forecast, check_horizon, finish
from farwatch.forecasting.fourier import fourier
from farwatch.forecasting.history import DAY_S, UNBOUNDED, Bounds, Floats, History
from farwatch.forecasting.shape import is_trending, reach, scale_of

_PAIRS = 4


class Arima:
    """ARIMA(1,0,1) with four Fourier pairs, or ARIMA(1,1,1) with drift for a trend. Needs two days."""

    name = "arima"

    def forecast(self, history: History, steps: int, bounds: Bounds = UNBOUNDED) -> Forecast:
        """See `Forecaster.forecast`. Takes some tenths of a second, and the `forecast` extra."""
        check_horizon(history, steps)
        history.require(self.name, 2 * DAY_S)
        if history.counter:
            growth = _quantiles(increments(history), steps)
            return finish(self.name, history, accumulate(history, growth), bounds)
        return finish(self.name, history, _quantiles(history, steps), bounds)


def _quantiles(history: History, steps: int) -> Floats:
    from statsmodels.tsa.statespace.sarimax import SARIMAX

    known = np.isfinite(history.values)
    scale = scale_of(history)
    values = scale.to(history.values)
    centre, unit = float(np.mean(values[known])), float(np.std(values[known]))
    if np.ptp(values[known]) == 0 or unit == 0:  # the spread of the tiniest values is no number to divide by
        return np.full((steps, 5), history.values[known][0])
    trending = is_trending(history)
    standard = (values - centre) / unit
    # The rhythm by least squares first, the errors after: as good as both at once, and many times quicker.
    slope = np.arange(len(values))[:, None] / len(values) * trending
    design = np.concatenate([fourier(history.times, _PAIRS), slope, np.ones((len(values), 1))], axis=1)
    weights = np.linalg.lstsq(design[known], standard[known], rcond=None)[0][: 2 * _PAIRS]
    model = SARIMAX(
        standard - fourier(history.times, _PAIRS) @ weights,
        order=(1, 1, 1) if trending else (1, 0, 1),
        trend="c",  # of the differenced series, where there is a trend: drift
        concentrate_scale=True,
    )
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # a fit that stops early still forecasts; its errors widen the interval
        fit = model.fit(disp=False, maxiter=30)
        ahead = fit.get_forecast(steps)
    rhythm = fourier(history.future(steps), _PAIRS) @ weights
    mean = (rhythm + np.asarray(ahead.predicted_mean))[:, None]
    spread = np.asarray(ahead.se_mean)[:, None]
    quantiles = scale.back((mean + spread * NORMAL) * unit + centre)
    return np.clip(quantiles, *reach(history, trending=trending))
