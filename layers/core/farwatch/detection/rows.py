"""Rows of samples taken together: what a loop over them would carry from one to the next."""

from collections.abc import Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from farwatch.detection.interface import BoolArray

Kind = TypeVar("Kind", bound=np.generic)


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
    cuts = np.flatnonzero(flags[1:].any(axis=1)) + 1
    yield from zip([0, *cuts.tolist()], [*cuts.tolist(), len(flags)], strict=True)
