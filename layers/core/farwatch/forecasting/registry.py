"""The models by name. A model is imported when it is first asked for: Prophet alone costs seconds."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from farwatch.forecasting.errors import UnknownModel
from farwatch.forecasting.forecast import Forecaster

DEFAULT = "default"

_CLASSES = {
    DEFAULT: "farwatch.forecasting.default:Default",
    "seasonal_naive": "farwatch.forecasting.seasonal_naive:SeasonalNaive",
    "prophet": "farwatch.forecasting.prophet:Prophet",
    "arima": "farwatch.forecasting.arima:Arima",
    "moving_average": "farwatch.forecasting.moving_average:MovingAverage",
}
# These may outlast a request: a caller should run them in the background.
SLOW: frozenset[str] = frozenset({"prophet", "arima"})


def names() -> tuple[str, ...]:
    """The names a user can choose, the default first."""
    return tuple(_CLASSES)


@cache
def get(name: str = DEFAULT) -> Forecaster:
    """The model called ``name``; raises `UnknownModel`."""
    if name not in _CLASSES:
        raise UnknownModel(name, names())
    module, _, attribute = _CLASSES[name].partition(":")
    model: Forecaster = getattr(import_module(module), attribute)()
    return model
