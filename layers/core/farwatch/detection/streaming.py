"""From a source of raw oddness to a detector: input hygiene before it, calibration and cool-down after."""

from typing import Any, Protocol

import numpy as np

from farwatch.detection.calibration import CALIBRATION_DTYPE, Calibration
from farwatch.detection.interface import BoolArray, FloatArray, Pattern, Scores, StateArray

LIMIT = 1e15
"""Values are clipped here: beyond it squares and differences lose all meaning in float64."""

LATE_LIMIT = 60
"""This many late samples in a row mean that the clock was set back."""


class Oddness(Protocol):
    """What differs between detectors: how odd a sample is, in any unit, larger is odder."""

    @property
    def name(self) -> str:
        """The name of the detector made from it."""

    @property
    def version(self) -> int:
        """Grows with every change that makes older states unreadable."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Its record per series."""

    def new_state(self, n_series: int) -> StateArray:
        """Return ``n_series`` fresh records."""

    def step(
        self, state: StateArray, now: FloatArray, x: FloatArray, ok: BoolArray
    ) -> tuple[FloatArray, ...]:
        """Fold one sample of each series in and return (raw, low, high, pattern), each of shape (S,).

        Only series where ``ok`` may change; ``x`` is finite everywhere. ``raw`` is >= 0 and finite, 0 while
        warming up.
        """


class Streaming:
    """A ``Detector`` made of an ``Oddness`` and the calibration all detectors share."""

    def __init__(self, source: Oddness, version: int = 1) -> None:
        self._source = source
        self.name = source.name
        self.version = version * 100 + source.version
        self.dtype = np.dtype(
            [
                ("last", "<f8"),
                ("since", "<f8"),
                ("late", "<i4"),
                ("seen", "<i4"),
                ("calibration", CALIBRATION_DTYPE),
                ("source", source.dtype),
            ]
        )

    def new_state(self, n_series: int) -> StateArray:
        """Return ``n_series`` records of a detector that has seen nothing."""
        state = np.zeros(n_series, self.dtype)
        state["last"] = -np.inf
        state["since"] = np.nan
        state["source"] = self._source.new_state(n_series)
        state["calibration"] = Calibration.new_state(n_series)
        return state

    def fold(self, state: StateArray, times: FloatArray, values: FloatArray) -> Scores:
        """See ``Detector.fold``."""
        values = np.asarray(values, dtype=np.float64)
        rows, series = values.shape
        times = np.asarray(times, dtype=np.float64)
        if times.ndim == 1:
            times = np.broadcast_to(times[:, None], (rows, series))
        score, rarity = np.zeros((rows, series)), np.ones((rows, series))
        low, high = np.full((rows, series), np.nan), np.full((rows, series), np.nan)
        since = np.full((rows, series), np.nan)
        pattern = np.zeros((rows, series), np.uint8)
        calibration = Calibration(state["calibration"])
        for row in range(rows):
            now = times[row]
            ok = self._admit(state, now, values[row])
            x = np.where(ok, np.clip(values[row], -LIMIT, LIMIT), 0.0)
            raw, low[row], high[row], kind = self._source.step(state["source"], now, x, ok)
            score[row], rarity[row] = calibration.step(raw, ok)
            odd = ok & ~((x >= low[row]) & (x <= high[row])) & np.isfinite(low[row])
            began = np.where(np.isnan(state["since"]), now, state["since"])
            state["since"] = np.where(ok, np.where(odd, began, np.nan), state["since"])
            since[row] = state["since"]
            pattern[row] = np.where(odd, kind, Pattern.NONE)
        return Scores(score, low, high, rarity, since, pattern)

    @staticmethod
    def _admit(state: StateArray, now: FloatArray, x: FloatArray) -> BoolArray:
        """Return which samples count: taken, finite and newer than all before (or the clock was set back)."""
        taken = np.isfinite(x) & np.isfinite(now)
        newer = now > state["last"]
        late = np.where(taken & ~newer, state["late"] + 1, np.where(taken, 0, state["late"]))
        ok: BoolArray = taken & (newer | (late > LATE_LIMIT))
        state["late"] = np.where(ok, 0, late)
        state["last"] = np.where(ok, now, state["last"])
        state["seen"] += ok
        return ok
