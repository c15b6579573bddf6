"""From a source of raw oddness to a detector: input hygiene before it, calibration after it."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from farwatch.detection import calibration
from farwatch.detection.interface import BoolArray, FloatArray, Pattern, Scores, StateArray
from farwatch.detection.rows import held, latest

LIMIT = 1e15
"""Values are clipped here: beyond it squares and differences lose all meaning in float64."""

LATE_LIMIT = 60
"""This many late samples in a row mean that the clock was set back."""

CELLS = 4096
"""Samples taken together at most: what is computed of them should fit into a processor's cache."""

ROWS = 16, 256
"""Samples of one series taken together: at least, if there are so many, and at most."""


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
        """Whether ``run`` returns surprise (see ``calibration``) rather than raw oddness."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Its record per series."""

    def new_state(self, n_series: int) -> StateArray:
        """Return ``n_series`` fresh records."""

    def run(
        self, records: StateArray, times: FloatArray, x: FloatArray, ok: BoolArray, /
    ) -> tuple[NDArray[Any], ...]:
        """Fold samples ``x`` (T, S) in; return (raw, low, high, pattern), each of shape (T, S).

        ``records`` are changed in place, and only by samples that are ``ok``.
        ``x`` is finite everywhere. ``raw`` is >= 0 and finite, 0 while warming up.
        """


Step = Callable[[StateArray, FloatArray, BoolArray], tuple[NDArray[Any], ...]]


def row_by_row(step: Step, records: StateArray, x: FloatArray, ok: BoolArray) -> tuple[NDArray[Any], ...]:
    """Return what ``run`` returns for a source that takes one sample of every series at a time."""
    answers = [step(records, x[row], ok[row]) for row in range(len(x))]
    return tuple(np.stack(parts) for parts in zip(*answers, strict=True))


class Streaming:
    """A ``Detector`` made of an ``Oddness`` and the calibration all detectors share."""

    def __init__(self, source: Oddness) -> None:
        self._source = source
        self.name = source.name
        self.version = 300 + source.version
        self._pivot = calibration.PIVOT if source.calibrated else calibration.ODDNESS_PIVOT
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
        score, low, high, rarity, since = np.empty((5, *shape))
        pattern = np.empty(shape, dtype=np.uint8)
        for part in _blocks(*shape):
            answers = self._fold(state[part[1]], times[part], values[part])
            for whole, answer in zip((score, low, high, rarity, since, pattern), answers, strict=True):
                whole[part] = answer
        return Scores(score, low, high, rarity, since, pattern)

    def _fold(self, state: StateArray, times: FloatArray, values: FloatArray) -> tuple[NDArray[Any], ...]:
        """Return the parts of ``Scores`` for a block of samples small enough to be taken together."""
        ok = _admit(state, times, values)
        x = np.where(ok, np.minimum(np.maximum(values, -LIMIT), LIMIT), 0.0)
        surprises, low, high, kind = self._source.run(state["source"], times, x, ok)
        if not self._source.calibrated:
            surprises = calibration.surprise(state["calibration"], surprises, ok)
        score, rarity = calibration.score(state["calibration"], surprises, ok, self._pivot)
        since = _since(state, times, ok & ((x < low) | (x > high)), ok)
        return score, low, high, rarity, since, np.where(score > 0, kind, Pattern.NONE)


def _blocks(rows: int, columns: int) -> Iterator[tuple[slice, slice]]:
    """Cut samples (rows, columns) into blocks of about ``CELLS``, for each series in the order of time."""
    tall = min(max(CELLS // max(columns, 1), ROWS[0]), ROWS[1])
    wide = max(CELLS // min(tall, max(rows, 1)), 1)
    for left in range(0, columns, wide):
        for top in range(0, rows, tall):
            yield slice(top, top + tall), slice(left, left + wide)


def _since(state: StateArray, times: FloatArray, outside: BoolArray, ok: BoolArray) -> FloatArray:
    """Return when each series left its expected range (T, S), NaN while it is inside."""
    last = state["since"]
    out = held(outside, ~np.isnan(last), latest(ok))
    began = held(times, last, latest(ok & outside & ~out[:-1]))[1:]
    since: FloatArray = np.where(out[1:], began, np.nan)
    state["since"] = since[-1]
    return since


def _admit(state: StateArray, times: FloatArray, values: FloatArray) -> BoolArray:
    """Return which samples (T, S) count: taken, finite, not older than any before (or the clock was set back).

    Of two samples with one time the second counts if its value is another: clocks that are put back stamp
    so. The same value again is the same sample again.
    """
    taken: BoolArray = np.isfinite(values) & np.isfinite(times)
    at = latest(taken)
    last = held(times, state["last"], at)
    # Where each is newer than the one before, all of them count; elsewhere one decides about the next.
    plain = ((times > last[:-1]) | ~taken).all(axis=0)
    some = (plain & (at[-1] > 0)).nonzero()[0]
    state["last"][some], state["value"][some], state["late"][some] = (
        last[-1, some],
        values[at[-1, some] - 1, some],
        0,
    )
    for column in np.flatnonzero(~plain):
        for row in np.flatnonzero(taken[:, column]):
            taken[row, column] = _follows(state[column], times[row, column], values[row, column])
    return taken


def _follows(clock: Any, now: float, x: float) -> bool:
    """Return whether a sample counts after those before it."""
    newer = now > clock["last"] or (now == clock["last"] and x != clock["value"])
    clock["late"] = 0 if newer else clock["late"] + 1
    if not newer and clock["late"] <= LATE_LIMIT:
        return False
    clock["late"], clock["last"], clock["value"] = 0, now, x
    return True
