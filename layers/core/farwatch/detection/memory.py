"""What a series has been like: a bounded set of remembered values, and how far a new one is from all of them.

A memory is a row of a float array, sorted, unused places holding +inf. It keeps values no two of which are
closer than a resolution; when it is full, the value whose neighbours are closest to each other makes room.
What is left covers everywhere the series has been, its rare excursions included, with the detail where
there was room for it.
"""

import numpy as np
from numpy.typing import NDArray

from farwatch.detection.interface import BoolArray, FloatArray

Rows = NDArray[np.float32]

_STEPS = np.array([-2, -1, 0, 0, 1])[:, None, None]
_NO_SCALE = np.empty((2, 1, 0))


def distances(
    memory: Rows,
    crowd: FloatArray,
    most: NDArray[np.intp],
    x: FloatArray,
    ok: BoolArray,
    grain: float,
    scale: FloatArray = _NO_SCALE,
) -> FloatArray:
    """Return how far each of ``x`` (T, N) is from everything its row of ``memory`` (N, M) held by then.

    What is ``ok`` and further than ``grain`` is remembered at once, ``most`` (N,) values in a row, so that later samples
    are compared with it too; where nothing was known the distance is infinite. In the first K rows distances are
    measured on inverse hyperbolic sine scales, ``scale`` (2, T + 1, K: centre and unit at each sample and after the last).

    ``crowd`` (N,) is kept with the memory: the distance between the neighbours of the most crowded value of a full
    row, 0 where that is not known. What comes between closer neighbours than those would be the one to make room.
    """
    end, scaled = len(x), scale.shape[2]
    gap, room = _gaps(memory, x, scale[:, :end])
    new = ok & ~(gap <= grain)
    # A crowd that was measured on a scale is known for as long as that scale lasts.
    steady = np.ones((end + 1, len(memory)), dtype=bool)
    steady[:, :scaled] = (scale == scale[:, :1]).all(axis=0)
    # All samples were compared with the memory as it was. Remembering is rare, and only what follows it in the same
    # series is compared again.
    wanted = new & ~((room < crowd) & steady[:-1])
    columns = np.flatnonzero(wanted.any(axis=0))
    wanted, start = wanted[:, columns], 0
    while len(columns):
        first = start + wanted.argmax(axis=0)
        some = columns[columns < scaled]
        units = scale[:, first[: len(some)], some]
        crowd[columns] = (
            remember(memory, columns, most[columns], x[first, columns], units) * steady[first, columns]
        )
        start = int(first.min()) + 1
        rest = slice(start, end), columns
        later = np.arange(start, end)[:, None] > first
        again, wide = _gaps(memory[columns], x[rest], scale[:, start:end, some])
        gap[rest] = again = np.where(later, again, gap[rest])
        wanted = later & ok[rest] & ~(again <= grain) & ~((wide < crowd[columns]) & steady[:-1][rest])
        some = wanted.any(axis=0)
        columns, wanted = columns[some], wanted[:, some]
    crowd[~steady[-1]] = 0.0
    return gap


def _gaps(memory: Rows, x: FloatArray, scale: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return how far ``x`` (T, N) is from the nearest value of ``memory`` (N, M), and how far its two neighbours are
    from each other: infinitely, if one of them would be as crowded with ``x`` between them as ``x`` itself.
    """
    places = neighbours(memory, x)
    scaled = scale.shape[2]
    if scaled:
        places[..., :scaled] = np.arcsinh((places[..., :scaled] - scale[0]) / scale[1])
    room = places[3] - places[1]
    aside = np.minimum(places[2] - places[0], places[4] - places[2])
    return np.minimum(places[2] - places[1], places[3] - places[2]), np.where(room < aside, room, np.inf)


def neighbours(memory: Rows, x: FloatArray) -> FloatArray:
    """Return (5, T, N) for each of ``x`` (T, N), with ``x`` as ``memory`` (N, M) would hold it in the middle, the two
    nearest remembered values below (or at) it and the two above.

    Where there is none it is -inf or +inf. M is a multiple of eight below 256.
    """
    size = memory.shape[1]
    like = x.astype(np.float32)
    within = memory <= like[..., None]
    # Eight flags to a word: their sum has a count in each of its bytes, and the product collects those in the last.
    words = within.view(np.uint64).sum(axis=-1)
    count = ((words * np.uint64(0x0101010101010101)) >> np.uint64(56)).astype(np.intp)
    at = count + _STEPS
    places: FloatArray = memory[np.arange(len(memory)), np.minimum(np.maximum(at, 0), size - 1)].astype(
        np.float64
    )
    places[at < 0] = -np.inf
    places[at >= size] = np.inf
    places[2] = like
    return places


def remember(
    memory: Rows, rows: NDArray[np.intp], most: NDArray[np.intp], x: FloatArray, scale: FloatArray
) -> FloatArray:
    """Insert ``x`` (K,) into the given ``rows`` of ``memory``, in place, keeping each row sorted; return how close to
    each other the neighbours of the most crowded value are then (K,), 0 where there is room left.

    In a row of ``most`` (K,) values the one that leaves is that between the two closest neighbours, never an extreme.
    ``scale`` (2, L: centre, unit) belongs to the first L of the rows.
    """
    each = np.arange(len(rows))
    wide = np.sort(np.concatenate([memory[rows], x[:, None].astype(np.float32)], axis=1), axis=1)
    leaving, crowd = np.full(len(rows), wide.shape[1] - 1), np.zeros(len(rows))
    full = np.isfinite(wide[each, most]).nonzero()[0]
    if len(full):
        scale = scale[:, full[full < scale.shape[1]]]
        leaving[full] = 1 + _apart(wide[full], scale).argmin(axis=1)
    keep = np.arange(wide.shape[1]) != leaving[:, None]
    memory[rows] = kept = wide[keep].reshape(len(rows), -1)
    if len(full):
        crowd[full] = _apart(kept[full], scale).min(axis=1)
    return crowd


def _apart(held: Rows, scale: FloatArray) -> FloatArray:
    """Return how far the neighbours of each value of rows (K, M) are apart, (K, M - 2), infinity where one is missing."""
    places = held.astype(np.float64)
    scaled = scale.shape[1]
    places[:scaled] = np.arcsinh((places[:scaled] - scale[0][:, None]) / scale[1][:, None])
    apart = np.full((len(held), held.shape[1] - 2), np.inf)
    np.subtract(places[:, 2:], places[:, :-2], out=apart, where=np.isfinite(places[:, 2:]))
    return apart
