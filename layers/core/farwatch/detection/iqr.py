"""The interquartile range rule: distance outside the middle half of the recent values."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from farwatch.detection.interface import FloatArray, Pattern, StateArray
from farwatch.detection.streaming import Answers, row_by_row

WINDOW = 144
"""Values kept: half a day at five minutes."""


class InterquartileRange:
    """max(q1 - x, x - q3) / (q3 - q1) over the last ``WINDOW`` values, which a ring keeps as float32."""

    name = "iqr"
    version = 1
    calibrated = False
    dtype = np.dtype([("ring", "<f4", (WINDOW,)), ("count", "<i8")])

    def new_state(self, n_series: int) -> StateArray:
        """Return ``n_series`` fresh records; places not yet filled hold infinity and so sort last."""
        state = np.zeros(n_series, self.dtype)
        state["ring"] = np.inf
        return state

    def run(self, records: StateArray, _times: FloatArray, x: FloatArray, /) -> Answers:
        """See ``Oddness.run``. The expected range is Tukey's: quartiles ± 1.5 ranges."""
        return row_by_row(self._step, records, x)

    @staticmethod
    def _step(records: StateArray, x: FloatArray) -> tuple[NDArray[Any], ...]:
        ring, count = records["ring"], records["count"]
        held = np.minimum(count, WINDOW)
        warm = held >= 12
        ordered = np.sort(ring, axis=1)
        rows = np.arange(len(ring))
        q1 = ordered[rows, held // 4].astype(np.float64)
        q3 = ordered[rows, np.minimum(3 * held // 4, WINDOW - 1)].astype(np.float64)
        q1, q3 = np.where(warm, q1, 0.0), np.where(warm, q3, 0.0)
        # float32 carries seven digits; a spread below that is noise of the storage.
        spread = np.maximum(q3 - q1, 1e-6 * np.maximum(np.maximum(np.abs(q1), np.abs(q3)), 1e-6))
        raw = np.where(warm, np.maximum(np.maximum(q1 - x, x - q3) / spread, 0.0), 0.0)
        ring[rows, count % WINDOW] = x
        records["count"] = count + 1
        low = np.where(warm, q1 - 1.5 * spread, np.nan)
        high = np.where(warm, q3 + 1.5 * spread, np.nan)
        kind = np.where(x > q3, Pattern.SPIKE, Pattern.DIP).astype(np.uint8)
        return np.minimum(raw, 1e6), low, high, kind
