"""What a series has been like: a bounded set of remembered values, and how far a new one is from all of them.

A memory is a row of a float array, sorted, unused places holding +inf. It keeps values no two of which are
closer than a resolution; when it is full, the value whose neighbours are closest to each other makes room.
What is left covers everywhere the series has been, its rare excursions included, with the detail where
there was room for it.

While it is worked on a row has ``EDGE`` infinities more on either side, so that whatever is looked up has two
neighbours on both.
"""

import numpy as np
from numpy.typing import NDArray

from farwatch.detection.interface import BoolArray, FloatArray

Rows = NDArray[np.float32]

EDGE = 2
INSIDE = slice(EDGE, -EDGE)

_NEXT = np.array([-1, 0])[:, None, None]
_NEXT_BUT_ONE = np.array([-2, 1])[:, None, None]
_NO_SCALE = np.empty((2, 1, 0))
_ONES, _TOP_BYTE = np.uint64(0x0101010101010101), np.uint64(56)


def with_edges(memory: Rows) -> Rows:
    """Return a copy of rows (..., M) with their edges, (..., M + 2 ``EDGE``)."""
    size = memory.shape[-1]
    rows = np.empty((*memory.shape[:-1], size + 2 * EDGE), dtype=np.float32)
    rows[..., :EDGE], rows[..., size + EDGE :] = -np.inf, np.inf
    rows[..., INSIDE] = memory
    return rows


def distances(
    memory: Rows,
    crowd: FloatArray,
    most: NDArray[np.intp],
    x: FloatArray,
    grain: float,
    scale: FloatArray = _NO_SCALE,
) -> tuple[FloatArray, NDArray[np.intp]]:
    """Return how far each of ``x`` (T, N) is from everything its row of ``memory`` (N, M + 2 ``EDGE``) held by then, and
    which rows may have changed.

    What is further than ``grain`` is remembered at once, ``most`` (N,) values in a row, so that later samples are compared
    with it too; where nothing was known the distance is infinite. In the first K rows distances are measured on inverse
    hyperbolic sine scales, ``scale`` (2, T + 1, K: centre and unit at each sample and after the last; or 2, 1, K, for all).

    ``crowd`` (N,) is kept with the memory: the distance between the neighbours of the most crowded value of a full
    row, 0 where that is not known. What comes between closer neighbours than those would be the one to make room.
    """
    end, scaled, lasting = len(x), scale.shape[2], scale.shape[1] == 1
    near, above = _nearest(memory, x, scale[:, :end])
    gap = _gap(near)
    new = gap > grain
    columns = changed = np.flatnonzero(np.logical_or.reduce(new, axis=0))
    steady = None
    if not lasting:
        # A crowd that was measured on a scale is known for as long as that scale lasts.
        steady = np.ones((end + 1, len(memory)), dtype=bool)
        steady[:, :scaled] = (scale == scale[:, :1]).all(axis=0)
    # All samples were compared with the memory as it was. Remembering is rare, and only what follows it in the same
    # series is compared again.
    near, above, wanted, start = near[..., columns], above[:, columns], new[:, columns], 0
    while len(columns):
        some = columns[: columns.searchsorted(scaled)]
        units = scale[..., some]
        known = crowd[columns]
        if np.count_nonzero(known):
            crowded = _room(memory, near, above, units if lasting else units[:, start:end]) < known
            wanted &= ~(crowded if steady is None else crowded & steady[start:end, columns])
        chosen: BoolArray = np.logical_or.reduce(wanted, axis=0)
        if np.count_nonzero(chosen) < len(chosen):
            columns, wanted = columns[chosen], wanted[:, chosen]
            if not len(columns):
                break
            some = columns[: columns.searchsorted(scaled)]
            units = scale[..., some]
        first = start + wanted.argmax(axis=0)
        then = units[:, 0] if lasting else units[:, first[: len(some)], np.arange(len(some))]
        crowd[columns] = remember(memory, columns, most[columns], x[first, columns], then)
        if steady is not None:
            crowd[columns] *= steady[first, columns]
        start = int(first.min()) + 1
        if start == end:
            break
        later = np.arange(start, end)[:, None] > first
        near, above = _nearest(memory, x[start:, columns], units if lasting else units[:, start:end], columns)
        again = np.where(later, _gap(near), gap[start:, columns])
        gap[start:, columns] = again
        wanted = later & (again > grain)
    if steady is not None:
        crowd[~steady[-1]] = 0.0
    return gap, changed


def _nearest(
    memory: Rows, x: FloatArray, scale: FloatArray, rows: NDArray[np.intp] | None = None
) -> tuple[FloatArray, NDArray[np.intp]]:
    """Return the nearest remembered value below (or at) each of ``x`` (T, N), ``x`` as the memory would hold it and the
    nearest above, (3, T, N) on the scale; and where the last of these is in ``memory``, counted through (T, N).

    ``x`` belongs to the given ``rows`` of the memory, or to all. Where nothing is remembered it is -inf or +inf. A row
    without edges holds a multiple of eight values, less than 256.
    """
    like = x.astype(np.float32)
    inside = memory[:, INSIDE] if rows is None else memory[rows, INSIDE]
    # Eight flags to a word: their sum has a count in each of its bytes, and the product collects those in the last.
    words = np.add.reduce((inside <= like[..., None]).view(np.uint64), axis=-1)
    above = ((words * _ONES) >> _TOP_BYTE).astype(np.intp)
    above += (np.arange(len(memory)) if rows is None else rows) * memory.shape[1] + EDGE
    near = np.empty((3, *x.shape))
    near[::2] = memory.ravel()[above + _NEXT]
    near[1] = like
    return _bend(near, scale), above


def _gap(near: FloatArray) -> FloatArray:
    apart = near[1:] - near[:-1]
    gap: FloatArray = np.minimum(apart[0], apart[1])
    return gap


def _room(memory: Rows, near: FloatArray, above: NDArray[np.intp], scale: FloatArray) -> FloatArray:
    """Return how far the two neighbours that ``_nearest`` found are from each other (T, N): infinitely, if one of them would
    be as crowded with ``x`` between them as ``x`` itself.
    """
    outer = _bend(memory.ravel()[above + _NEXT_BUT_ONE].astype(np.float64), scale)
    room = near[2] - near[0]
    aside = np.minimum(near[1] - outer[0], outer[1] - near[1])
    return np.where(room < aside, room, np.inf)


def _bend(places: FloatArray, scale: FloatArray) -> FloatArray:
    """Put the first columns of ``places`` (..., T, N) on their ``scale``, in place, and return all."""
    if scale.shape[2]:
        first = places[..., : scale.shape[2]]
        first -= scale[0]
        first /= scale[1]
        np.arcsinh(first, out=first)
    return places


def remember(
    memory: Rows, rows: NDArray[np.intp], most: NDArray[np.intp], x: FloatArray, scale: FloatArray
) -> FloatArray:
    """Insert ``x`` (K,) into the given ``rows`` of ``memory``, in place, keeping each row sorted; return how close to
    each other the neighbours of the most crowded value are then (K,), 0 where there is room left.

    In a row of ``most`` (K,) values the one that leaves is that between the two closest neighbours, never an extreme.
    ``scale`` (2, L: centre, unit) belongs to the first L of the rows.
    """
    width = memory.shape[1]
    wide = np.empty((len(rows), width + 1), dtype=np.float32)
    wide[:, 1:], wide[:, 0] = memory[rows], x
    wide.sort(axis=1)
    crowd = np.zeros(len(rows))
    full = np.isfinite(wide[np.arange(len(rows)), most + EDGE]).nonzero()[0]
    keep = np.ones(wide.shape, dtype=bool)
    keep[:, -1] = False
    if len(full):
        scale = scale[:, None, full[: full.searchsorted(scale.shape[1])]]
        places = wide[full].astype(np.float64)
        _bend(places.T, scale)
        stays = np.arange(width + 1) != 1 + _apart(places).argmin(axis=1)[:, None]
        keep[full] = stays
        crowd[full] = _apart(places[stays].reshape(-1, width)).min(axis=1)
    memory[rows] = wide[keep].reshape(-1, width)
    return crowd


def _apart(places: FloatArray) -> FloatArray:
    """Return how far the neighbours of each value of rows (K, M) are apart, (K, M - 2), infinity where one is missing."""
    apart = np.full((len(places), places.shape[1] - 2), np.inf)
    np.subtract(places[:, 2:], places[:, :-2], out=apart, where=np.isfinite(places[:, 2:]))
    return apart
