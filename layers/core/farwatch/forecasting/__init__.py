"""Forecasts: a week of one metric in, quantiles for the next day or two out.

Pure functions of their arguments: no clock, no storage, no network. In short::

    from farwatch.forecasting import Bounds, History, get

    history = History.from_samples(times, values, now=now, counter=False)
    forecast = get("default").forecast(history, steps=192, bounds=Bounds(0, 100))
    forecast.times, forecast.median, forecast.quantiles   # (192,), (192,), (192, 5)

`History` puts samples on an even grid of 15 minutes (any step from a second to six hours serves) and keeps
seven days of it; holes are NaN. A `Forecast` has the quantiles `LEVELS` of each step. `names()` lists the
models and `get(name)` gives one: ``default`` (numpy only, the one to use), ``prophet``, ``arima``,
``moving_average`` and ``seasonal_naive``; those in `SLOW` fit for longer than a request should wait.
`time_to_threshold` in `farwatch.forecasting.capacity` answers "when will it be full", and
`farwatch.forecasting.accuracy` compares a forecast with what happened.

Everything that can be refused is a `ForecastError` with a message for the user: `InsufficientHistory` names
the span that is needed, `UnknownModel` the models there are.
"""

from farwatch.forecasting.errors import ForecastError, InsufficientHistory, UnknownModel
from farwatch.forecasting.forecast import LEVELS, Forecast, Forecaster
from farwatch.forecasting.history import UNBOUNDED, Bounds, History
from farwatch.forecasting.registry import DEFAULT, SLOW, get, names

__all__ = [
    "DEFAULT",
    "LEVELS",
    "SLOW",
    "UNBOUNDED",
    "Bounds",
    "Forecast",
    "ForecastError",
    "Forecaster",
    "History",
    "InsufficientHistory",
    "UnknownModel",
    "get",
    "names",
]
