"""How good a stored forecast turned out to be, in the terms a user understands: error and coverage.

The scale is the seasonal naive forecast ("yesterday again"), as in Hyndman & Koehler, *Another look at
measures of forecast accuracy* (2006): a relative error of 0.8 means a fifth less wrong than repeating
yesterday.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from farwatch.forecasting.errors import ForecastError
from farwatch.forecasting.forecast import LEVELS
from farwatch.forecasting.history import Floats

_EXACT = 1e-9  # of the largest value: as far as a forecast is written down; means of what stands still differ by less
_TINIEST = 1e-200  # less is no number to divide by


@dataclass(frozen=True, slots=True)
class Accuracy:
    """What a comparison of a forecast with the truth found.

    ``steps`` is the number of steps judged. ``mae`` is the mean absolute error of the median and
    ``pinball`` the mean quantile loss over the five levels, both in the metric's unit. ``relative_mae`` and
    ``relative_pinball`` divide them by those of yesterday repeated; None where there was no yesterday to
    repeat or repeating it was exact, but for the rounding of means. ``cover80`` and ``cover95`` are the shares
    (0 to 1) of values inside the intervals.
    """

    steps: int
    mae: float
    pinball: float
    relative_mae: float | None
    relative_pinball: float | None
    cover80: float
    cover95: float


def pinball(actual: Floats, quantiles: Floats) -> float:
    """Mean quantile loss of ``quantiles`` (H, 5) against ``actual`` (H,), over steps and `LEVELS`."""
    error = actual[:, None] - quantiles
    levels = np.array(LEVELS)
    return float(np.mean(np.maximum(levels * error, (levels - 1) * error)))


def compare(actual: Floats, quantiles: Floats, yesterday: Floats | None = None) -> Accuracy | None:
    """Score the quantiles (H, 5) of a forecast against the values that came (H,), NaN where none came.

    ``yesterday`` (H,) is the naive forecast to compare with: the last value before the origin at the same
    time of day, for each step. Returns None while nothing has come yet.
    """
    if quantiles.shape != (len(actual), len(LEVELS)):
        raise ForecastError(
            f"{len(actual)} values cannot be compared with quantiles of shape {quantiles.shape}"
        )
    known = np.isfinite(actual)
    if not known.any():
        return None
    truth, ours = actual[known], quantiles[known]
    mae = float(np.mean(np.abs(truth - ours[:, 2])))
    loss = pinball(truth, ours)
    relative_mae = relative_pinball = None
    if yesterday is not None:
        if len(yesterday) != len(actual):
            raise ForecastError(f"{len(actual)} values cannot be compared with {len(yesterday)} of yesterday")
        both = known & np.isfinite(yesterday)
        naive = float(np.mean(np.abs(actual[both] - yesterday[both]))) if both.any() else 0.0
        if naive > max(_EXACT * float(np.abs(actual[both]).max(initial=0.0)), _TINIEST):
            relative_mae = float(np.mean(np.abs(actual[both] - quantiles[both, 2]))) / naive
            # A point forecast is the quantile forecast with all five in one place.
            relative_pinball = pinball(actual[both], quantiles[both]) / (naive / 2)
    return Accuracy(
        steps=int(known.sum()),
        mae=mae,
        pinball=loss,
        relative_mae=relative_mae,
        relative_pinball=relative_pinball,
        cover80=float(np.mean((truth >= ours[:, 1]) & (truth <= ours[:, 3]))),
        cover95=float(np.mean((truth >= ours[:, 0]) & (truth <= ours[:, 4]))),
    )
