"""The z-score: distance from the running mean in running standard deviations."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from farwatch.detection.interface import FloatArray, Pattern, StateArray
from farwatch.detection.streaming import Answers, row_by_row

WINDOW = 288.0
"""Samples of effective memory: a day at five minutes."""


class ZScore:
    """|x - mean| / deviation, mean and variance with exponential forgetting over ``WINDOW`` samples."""

    name = "zscore"
    version = 1
    calibrated = False
    dtype = np.dtype([("mean", "<f8"), ("variance", "<f8"), ("count", "<f8")])

    def new_state(self, n_series: int) -> StateArray:
        """Return ``n_series`` fresh records."""
        return np.zeros(n_series, self.dtype)

    def run(self, records: StateArray, _times: FloatArray, x: FloatArray, /) -> Answers:
        """See ``Oddness.run``. The expected range is three deviations each way."""
        return row_by_row(self._step, records, x)

    @staticmethod
    def _step(records: StateArray, x: FloatArray) -> tuple[NDArray[Any], ...]:
        mean, variance, count = records["mean"].copy(), records["variance"], records["count"]
        deviation = np.sqrt(variance)
        warm = count >= 10
        # A deviation below float noise of the mean is no scale: such a series is constant.
        floor = 1e-9 * np.maximum(np.abs(mean), 1.0)
        z = np.where(warm, np.abs(x - mean) / np.maximum(deviation, floor), 0.0)
        # One wild value may shift the mean by ten deviations' worth, not by its whole size.
        reach = np.where(warm, 10.0 * np.maximum(deviation, floor), np.inf)
        delta = np.clip(x - mean, -reach, reach)
        rate = np.maximum(1.0 / (count + 1.0), 1.0 / WINDOW)
        records["mean"] = mean + rate * delta
        records["variance"] = (1.0 - rate) * (variance + rate * delta * delta)
        records["count"] = np.minimum(count + 1, 2 * WINDOW)
        low = np.where(warm, mean - 3 * deviation, np.nan)
        high = np.where(warm, mean + 3 * deviation, np.nan)
        kind = np.where(x > mean, Pattern.SPIKE, Pattern.DIP).astype(np.uint8)
        return np.minimum(z, 1e6), low, high, kind
