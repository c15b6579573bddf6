"""From a source of raw oddness to a detector: input hygiene before it, calibration after it."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from farwatch.detection import calibration
from farwatch.detection.interface import BoolArray, FloatArray, Scores, StateArray
from farwatch.detection.rows import MOST_ROWS, held, latest, shifted

LIMIT = 1e15
"""Values are clipped here: beyond it squares and differences lose all meaning in float64."""

LATE_LIMIT = 60
"""This many late samples in a row mean that the clock was set back."""

CELLS = 4096
"""Samples taken together at most: what is computed of them should fit into a processor's cache."""

ROWS = 16, MOST_ROWS
"""Samples of one series taken together: at least, if there are so many, and at most."""


Naming = Callable[[BoolArray], NDArray[np.uint8]]
"""Names the samples that are true in a mask (T, S): their ``Pattern`` numbers in the order of ``nonzero``."""

Answers = tuple[FloatArray, FloatArray, FloatArray, Naming]
"""Of each sample (T, S) how odd it is, >= 0, finite and 0 while warming up, and the ends of the range that was expected; and
how to name those that turn out to matter."""


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

    def run(self, records: StateArray, times: FloatArray, x: FloatArray, /) -> Answers:
        """Fold samples ``x`` (T, S), all finite, into ``records``, in place; ``times`` are (T, S), or (T, 1) for all."""


Step = Callable[[StateArray, FloatArray], tuple[NDArray[Any], ...]]


def row_by_row(step: Step, records: StateArray, x: FloatArray) -> Answers:
    """Return what ``run`` returns for a source that takes one sample of every series at a time."""
    answers = [step(records, now) for now in x]
    raw, low, high, kind = (np.stack(parts) for parts in zip(*answers, strict=True))
    return raw, low, high, kind.__getitem__


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
        times = np.asarray(times, dtype=np.float64)
        if times.ndim == 1:
            times = times[:, None]
        if _in_order(state, times, values):
            return self._whole(state, times, values)
        times = np.broadcast_to(times, values.shape)
        return self._gappy(state, times, values, _admit(state, times, values))

    def _gappy(self, state: StateArray, times: FloatArray, values: FloatArray, ok: BoolArray) -> Scores:
        """Return the scores of samples not all of which are ``ok``.

        What does not count changes nothing, so each series is moved up over its gaps. With the fullest series first, what is
        left are blocks without gaps, one below the other and each narrower than the one before.
        """
        scores = _no_scores(values.shape)
        counts = ok.sum(axis=0)
        order, row = np.argsort(-counts, kind="stable"), np.argsort(~ok, axis=0, kind="stable")
        records, start = state[order], 0
        for end in np.unique(counts[counts > 0]).tolist():
            columns = order[: np.count_nonzero(counts >= end)]
            at = row[start:end, columns], columns
            _put(scores, at, self._whole(records[: len(columns)], times[at], values[at]))
            start = end
        state[order] = records
        return scores

    def _whole(self, state: StateArray, times: FloatArray, values: FloatArray) -> Scores:
        """Return the scores of samples that all count."""
        blocks = list(_blocks(*values.shape))
        if len(blocks) == 1:
            return self._fold(state, times, values)
        scores = _no_scores(values.shape)
        for rows, columns in blocks:
            clocks = times[rows, columns] if times.shape[1] > 1 else times[rows]
            _put(scores, (rows, columns), self._fold(state[columns], clocks, values[rows, columns]))
        return scores

    def _fold(self, state: StateArray, times: FloatArray, values: FloatArray) -> Scores:
        """Return the scores of a block of samples small enough to be taken together."""
        x = np.minimum(np.maximum(values, -LIMIT), LIMIT)
        surprises, low, high, name = self._source.run(state["source"], times, x)
        if not self._source.calibrated:
            surprises = calibration.surprise(state["calibration"], surprises)
        score, rarity = calibration.score(state["calibration"], surprises, self._pivot)
        since = _since(state, times, (x < low) | (x > high))
        odd, pattern = score > 0, np.zeros(x.shape, dtype=np.uint8)
        if np.count_nonzero(odd):
            pattern[odd] = name(odd)
        return Scores(score, low, high, rarity, since, pattern)


def _no_scores(shape: tuple[int, ...]) -> Scores:
    """Return the scores of samples that do not count."""
    low, high, since = np.full((3, *shape), np.nan)
    return Scores(np.zeros(shape), low, high, np.ones(shape), since, np.zeros(shape, dtype=np.uint8))


def _put(scores: Scores, at: tuple[Any, Any], part: Scores) -> None:
    """Set the ``part`` of ``scores`` that is ``at`` rows and columns."""
    scores.score[at], scores.rarity[at], scores.pattern[at] = part.score, part.rarity, part.pattern
    scores.low[at], scores.high[at], scores.since[at] = part.low, part.high, part.since


def _blocks(rows: int, columns: int) -> Iterator[tuple[slice, slice]]:
    """Cut samples (rows, columns) into blocks of about ``CELLS``, for each series in the order of time."""
    tall = min(max(CELLS // max(columns, 1), ROWS[0]), ROWS[1])
    wide = max(CELLS // min(tall, max(rows, 1)), 1)
    for left in range(0, columns, wide):
        for top in range(0, rows, tall):
            yield slice(top, top + tall), slice(left, left + wide)


def _since(state: StateArray, times: FloatArray, outside: BoolArray) -> FloatArray:
    """Return when each series left its expected range (T, S), NaN while it is inside."""
    last = state["since"]
    if not np.count_nonzero(outside):
        last[:] = np.nan
        return np.full(outside.shape, np.nan)
    entered = outside & ~shifted(outside, ~np.isnan(last))
    began = held(np.broadcast_to(times, outside.shape), last, latest(entered))[1:]
    since: FloatArray = np.where(outside, began, np.nan)
    last[:] = since[-1]
    return since


def _in_order(state: StateArray, times: FloatArray, values: FloatArray) -> bool:
    """Return whether all samples (T, S) count, as they nearly always do, and if so note the last."""
    if not (
        len(times)
        and np.count_nonzero(np.isfinite(values)) == values.size
        and np.count_nonzero(np.isfinite(times)) == times.size
        and np.count_nonzero(times[0] > state["last"]) == values.shape[1]
        and np.count_nonzero(times[1:] > times[:-1]) == times[1:].size
    ):
        return False
    state["last"], state["value"], state["late"] = times[-1], values[-1], 0
    return True


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
