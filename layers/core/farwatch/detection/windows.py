"""What series have looked like: a sample of their past windows, and the distance to the nearest.

For each series the memory keeps stretches of consecutive values, drawn at random and evenly from its past
(a reservoir; Vitter 1985). Where the past is longer than ``MEMORY`` samples, older stretches fade. Every window within
a stretch counts, so that a few of them hold all phases of a rhythm.

The distance of the newest window to the nearest kept one is divided by its own 99 % quantile, followed by
stochastic approximation (Robbins and Monro 1951) on a logarithmic scale: "as odd as this series gets one time in
a hundred" is 1 for a noisy and for a quiet series alike.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from farwatch.detection.interface import FloatArray

LENGTH = 8
"""Values in a window."""

STRETCH, KEPT = 24, 8
"""Values in a stretch, and stretches kept of each series."""

MEMORY = 8640
"""Samples the stretches are drawn from: a month at five minutes."""

QUANTILE = 0.99
"""The part of a series' own distances that are below 1."""

STEP = 0.02
"""The quantile's logarithm moves up by nearly this for a distance beyond it, and down by a hundredth of it for
one below."""

START = 200.0
"""Samples before which that step is as large as it may be: a young memory's distances are large and say little."""

Floats = NDArray[np.float32]


def layout(n_series: int) -> list[tuple[str, str, tuple[int, ...]]]:
    """Return the fields a state needs, in numpy's words: ``stretches`` kept (NaN: an empty place), the
    ``recent`` values (NaN: none) and the 99 % ``quantile`` distance (0: not known)."""
    return [
        ("stretches", "<f4", (n_series, KEPT, STRETCH)),
        ("recent", "<f4", (n_series, STRETCH)),
        ("quantile", "<f4", (n_series,)),
    ]


def fold(
    stretches: Floats, recent: Floats, quantile: Floats, x: FloatArray, floor: FloatArray, count: int
) -> FloatArray:
    """Take the values ``x`` (S,), NaN where there is none, as sample number ``count`` and update the three
    fields in place.

    Returns the relative distances (S,): 0 for a series whose newest window is not complete or that has nothing
    to compare with. The quantile is never taken for less than ``floor`` (S,), so that a series that repeats
    itself exactly does not make news of the first digit that differs.
    """
    recent[:, :-1] = recent[:, 1:]
    recent[:, -1] = x
    # (series, stretch, place in the window, window): the long axis last, for speed.
    apart = sliding_window_view(stretches, STRETCH - LENGTH + 1, axis=2) - recent[:, None, -LENGTH:, None]
    squares = np.einsum("splw,splw->spw", apart, apart).reshape(len(x), -1)
    distance = np.sqrt(np.fmin.reduce(squares, axis=1).astype(np.float64))
    known = np.isfinite(distance)
    distance = np.where(known, distance, 0.0)
    floor = np.maximum(floor, 1e-30)
    level = np.maximum(np.where(quantile > 0.0, quantile, distance), floor)
    relative: FloatArray = distance / level
    step = min(1.0, max(STEP, START / (count + 1.0)))
    moved = level * np.exp(step * ((distance > level) - (1.0 - QUANTILE)))
    quantile[:] = np.where(known, np.clip(moved, floor, 1e30), quantile)
    _offer(stretches, recent, count)
    return relative


def _offer(stretches: Floats, recent: Floats, count: int) -> None:
    """Keep ``recent`` (S, STRETCH) in the first empty place or else in the one that chance gives it, if any. Chance is
    a function of ``count`` alone: the same samples always leave the same state. Every ``LENGTH``-th stretch is enough
    to have all."""
    if count % LENGTH:
        return
    offered = min(count, MEMORY) // LENGTH + 1
    places = np.random.default_rng(count).integers(0, offered, len(stretches))
    room = np.isnan(stretches[:, -1, 0])
    if room.any():
        places[room] = np.isnan(stretches[room, :, 0]).argmax(axis=1)
    chosen = np.flatnonzero((places < KEPT) & ~np.isnan(recent).any(axis=1))
    stretches[chosen, places[chosen]] = recent[chosen]
