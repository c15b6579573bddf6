"""What a forecast is: quantiles for each step ahead, and the protocol every model keeps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from farwatch.forecasting.errors import ForecastError
from farwatch.forecasting.history import DAY_S, UNBOUNDED, Bounds, Floats, History

LEVELS: tuple[float, ...] = (0.025, 0.1, 0.5, 0.9, 0.975)
# The quantiles of the standard normal distribution at those levels.
NORMAL: tuple[float, ...] = (-1.959964, -1.281552, 0.0, 1.281552, 1.959964)
MAX_HORIZON_DAYS = 7


@dataclass(frozen=True, slots=True)
class Forecast:
    """Quantiles of one series for the steps after its history.

    ``times`` (H,) are epoch seconds, one ``step`` apart, the first right after the history. ``quantiles``
    (H, 5) has one column for each of `LEVELS`: the 95 % interval lies between the outer columns, the 80 %
    interval between the next, the median in the middle. All are finite, rise from left to right and obey
    the bounds.
    """

    model: str
    times: Floats = field(repr=False)
    quantiles: Floats = field(repr=False)

    @property
    def median(self) -> Floats:
        """The middle quantile (H,): the forecast to draw as a line."""
        return np.asarray(self.quantiles[:, 2])


class Forecaster(Protocol):
    """A model: a name users choose it by, and one pure function from history to forecast."""

    name: str

    def forecast(self, history: History, steps: int, bounds: Bounds = UNBOUNDED) -> Forecast:
        """Quantiles for the next ``steps`` grid steps; `InsufficientHistory` if there is too little."""
        ...


def check_horizon(history: History, steps: int) -> None:
    """Raise `ForecastError` unless ``steps`` is between one and seven days' worth."""
    most = round(MAX_HORIZON_DAYS * DAY_S / history.step)
    if not 1 <= steps <= most:
        raise ForecastError(f"the horizon is 1 to {most} steps of {history.step:g} s, not {steps}")


def finish(model: str, history: History, quantiles: Floats, bounds: Bounds) -> Forecast:
    """Make a `Forecast` of a model's raw quantiles (H, 5): in rising order, within the bounds.

    A counter cannot fall, so its quantiles start no lower than its last value and never decrease.
    """
    ordered = bounds.clip(np.sort(quantiles, axis=1))
    if history.counter:
        last = history.values[np.isfinite(history.values)][-1]
        ordered = np.maximum.accumulate(np.maximum(ordered, last), axis=0)
    return Forecast(model, history.future(len(ordered)), ordered)
