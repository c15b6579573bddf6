"""What a series has been like: a bounded set of remembered values, and how far a new one is from all of them.

A memory is a row of a float array, sorted, unused places holding +inf. It keeps values no two of which are
closer than a resolution; when it is full, the value whose neighbours are closest to each other makes room.
What is left covers everywhere the series has been, its rare excursions included, with the detail where
there was room for it.
"""

import numpy as np
from numpy.typing import NDArray

from farwatch.detection.interface import FloatArray

Rows = NDArray[np.float32]


def neighbours(memory: Rows, x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the nearest remembered values below (or at) and above each ``x`` (N,) in ``memory`` (N, M).

    Where there is none the answer is -inf or +inf.
    """
    size = memory.shape[1]
    place = np.count_nonzero(memory <= x[:, None].astype(np.float32), axis=1)
    flat = memory.reshape(-1)
    base = np.arange(0, flat.size, size)
    below = np.where(place > 0, flat.take(base + np.maximum(place - 1, 0)), -np.inf)
    above = np.where(place < size, flat.take(base + np.minimum(place, size - 1)), np.inf)
    return below.astype(np.float64), above.astype(np.float64)


def remember(memory: Rows, rows: NDArray[np.intp], x: FloatArray, scale: FloatArray | None = None) -> None:
    """Insert ``x`` (K,) into the given ``rows`` of ``memory``, in place, keeping each row sorted.

    In a full row the value that leaves is the one between the two closest neighbours, never an extreme.
    Closeness is measured on an inverse hyperbolic sine scale of unit ``scale`` (K, 2: centre, unit) if one
    is given.
    """
    wide = np.sort(np.concatenate([memory[rows], x[:, None].astype(np.float32)], axis=1), axis=1)
    leaving = np.full(len(rows), wide.shape[1] - 1)
    full = np.flatnonzero(np.isfinite(wide[:, -1]))
    if len(full):
        held = wide[full].astype(np.float64)
        if scale is not None:
            held = np.arcsinh((held - scale[full, :1]) / scale[full, 1:])
        leaving[full] = 1 + np.argmin(held[:, 2:] - held[:, :-2], axis=1)
    keep = np.ones(wide.shape, dtype=bool)
    keep[np.arange(len(rows)), leaving] = False
    memory[rows] = wide[keep].reshape(len(rows), -1)
