"""From a source of raw oddness to a detector: input hygiene before it, calibration after it."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from farwatch.detection import calibration
from farwatch.detection.interface import BoolArray, FloatArray, Pattern, Scores, StateArray

Fields = dict[str, NDArray[Any]]
"""The fields of a block of records, each a contiguous array whose first axis is the series."""

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
    def calibrated(self) -> bool:
        """Whether ``step`` returns surprise (see ``calibration``) rather than raw oddness."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Its record per series."""

    def new_state(self, n_series: int) -> StateArray:
        """Return ``n_series`` fresh records."""

    def run(
        self, fields: Fields, times: FloatArray, x: FloatArray, ok: BoolArray, /
    ) -> tuple[NDArray[Any], ...]:
        """Fold samples ``x`` (T, S) in; return (raw, low, high, pattern), each of shape (T, S).

        ``fields`` are those of the records; they are changed in place, and only by samples that are ``ok``.
        ``x`` is finite everywhere. ``raw`` is >= 0 and finite, 0 while warming up.
        """


Step = Callable[[Fields, FloatArray, FloatArray, BoolArray], tuple[NDArray[Any], ...]]


def row_by_row(
    step: Step, fields: Fields, times: FloatArray, x: FloatArray, ok: BoolArray
) -> tuple[NDArray[Any], ...]:
    """Return what ``run`` returns for a source that takes one sample of every series at a time."""
    answers = [step(fields, times[row], x[row], ok[row]) for row in range(len(x))]
    return tuple(np.stack(parts) for parts in zip(*answers, strict=True))


class Streaming:
    """A ``Detector`` made of an ``Oddness`` and the calibration all detectors share."""

    def __init__(self, source: Oddness) -> None:
        self._source = source
        self.name = source.name
        self.version = 200 + source.version
        self.dtype = np.dtype(
            [
                ("last", "<f8"),
                ("value", "<f8"),
                ("since", "<f8"),
                ("late", "<i4"),
                ("calibration", calibration.layout(memory=not source.calibrated)),
                ("source", source.dtype),
            ]
        )

    def new_state(self, n_series: int) -> StateArray:
        """Return ``n_series`` records of a detector that has seen nothing."""
        state = np.zeros(n_series, self.dtype)
        state["last"] = -np.inf
        state["since"] = np.nan
        state["source"] = self._source.new_state(n_series)
        state["calibration"] = calibration.new_state(n_series, memory=not self._source.calibrated)
        return state

    def fold(self, state: StateArray, times: FloatArray, values: FloatArray) -> Scores:
        """See ``Detector.fold``."""
        values = np.asarray(values, dtype=np.float64)
        shape = values.shape
        times = np.asarray(times, dtype=np.float64)
        if times.ndim == 1:
            times = np.broadcast_to(times[:, None], shape)
        if not shape[0]:
            empty = np.zeros(shape)
            return Scores(empty, empty, empty, empty, empty, empty.astype(np.uint8))
        # Records are far apart in memory; working copies with each field in one piece are many times faster.
        clock, scale, source = _open(state), _open(state["calibration"]), _open(state["source"])
        ok = np.stack([_admit(clock, times[row], values[row]) for row in range(shape[0])])
        x = np.where(ok, np.clip(values, -LIMIT, LIMIT), 0.0)
        raw, low, high, kind = self._source.run(source, times, x, ok)
        outside = ok & ((x < low) | (x > high))
        score, rarity, since = np.empty(shape), np.empty(shape), np.empty(shape)
        for row in range(shape[0]):
            surprises = raw[row]
            if not self._source.calibrated:
                surprises = calibration.surprise(scale, surprises, ok[row])
            score[row], rarity[row] = calibration.score(scale, surprises, ok[row])
            began = np.where(np.isnan(clock["since"]), times[row], clock["since"])
            clock["since"] = np.where(ok[row], np.where(outside[row], began, np.nan), clock["since"])
            since[row] = clock["since"]
        pattern = np.where(score > 0, kind, Pattern.NONE).astype(np.uint8)
        _close(state, clock)
        _close(state["calibration"], scale)
        _close(state["source"], source)
        return Scores(score, low, high, rarity, since, pattern)


def _open(records: StateArray) -> Fields:
    """Return contiguous copies of the plain fields of ``records``."""
    layout: Any = records.dtype.fields or {}
    return {name: records[name].copy() for name, (kind, *_) in layout.items() if kind.names is None}


def _close(records: StateArray, fields: Fields) -> None:
    """Write the fields back."""
    for name, field in fields.items():
        records[name] = field


def _admit(clock: Fields, now: FloatArray, x: FloatArray) -> BoolArray:
    """Return which samples count: taken, finite, not older than any before (or the clock was set back).

    Of two samples with one time the second counts if its value is another: clocks that are put back stamp
    so. The same value again is the same sample again.
    """
    taken = np.isfinite(x) & np.isfinite(now)
    newer = (now > clock["last"]) | ((now == clock["last"]) & (x != clock["value"]))
    late = np.where(taken, np.where(newer, 0, clock["late"] + 1), clock["late"])
    ok: BoolArray = taken & (newer | (late > LATE_LIMIT))
    clock["late"] = np.where(ok, 0, late)
    clock["last"] = np.where(ok, now, clock["last"])
    clock["value"] = np.where(ok, x, clock["value"])
    return ok
