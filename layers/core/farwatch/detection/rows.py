"""Rows of samples taken together: what a loop over them would carry from one to the next."""

from collections.abc import Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from farwatch.detection.interface import BoolArray, FloatArray

Kind = TypeVar("Kind", bound=np.generic)

MOST_ROWS = 256
"""Rows taken together at most."""

_COUNTING = np.arange(MOST_ROWS + 1, dtype=np.float64)[:, None]


def counting(rows: int, first: int = 0) -> FloatArray:
    """Return ``first``, ``first`` + 1, … as a column, (rows, 1); ``first`` is 0 or 1. It is shared: do not write to it."""
    return _COUNTING[first : first + rows]


def shifted(x: NDArray[Kind], first: NDArray[Kind]) -> NDArray[Kind]:
    """Return (T, S): before each row of ``x`` (T, S) the one above it, and ``first`` (S,) before the first."""
    return np.concatenate([first[None], x[:-1]])


def latest(flags: BoolArray) -> NDArray[np.intp]:
    """Return (T + 1, S): for "before the first row" and after each row, how many rows down ``flags`` (T, S) was last
    true; 0 where it has not been.
    """
    rows = np.zeros((len(flags) + 1, flags.shape[1]), dtype=np.intp)
    np.multiply(flags, np.arange(1, len(rows))[:, None], out=rows[1:])
    return np.maximum.accumulate(rows, axis=0, out=rows)


def held(x: NDArray[Kind], first: NDArray[Kind], at: NDArray[np.intp]) -> NDArray[Kind]:
    """Return (T + 1, S): the values of ``x`` (T, S) at the rows ``latest`` gave, and ``first`` (S,) before any."""
    return np.concatenate([first[None], x])[at, np.arange(len(first))]


def spans(flags: BoolArray) -> Iterator[tuple[int, int]]:
    """Yield the first row and the end of each span of ``flags`` (T, S) that has true flags in its first row at most."""
    later = flags[1:]
    cuts = (np.flatnonzero(later.any(axis=1)) + 1).tolist() if np.count_nonzero(later) else []
    yield from zip([0, *cuts], [*cuts, len(flags)], strict=True)
