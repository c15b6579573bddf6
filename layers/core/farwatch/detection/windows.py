"""What each metric of a host has looked like: a sample of its past windows, and the distance to the nearest.

For each metric the memory keeps short windows of consecutive values, drawn at random and evenly from its past
(a reservoir; Vitter 1985). Where the past is longer than ``MEMORY`` samples, older windows fade. A window is offered ``LAG``
samples after it was seen: an incident does not explain itself while it begins.

The distance of the newest window to the nearest kept one is divided by its own 99 % quantile, followed by
stochastic approximation (Robbins and Monro 1951) on a logarithmic scale: "as odd as this metric gets one time in
a hundred" is 1 for a noisy and for a quiet metric alike.
"""

import numpy as np
from numpy.typing import NDArray

from farwatch.detection.interface import FloatArray

LENGTH = 6
"""Values in a window."""

LAG = 36
"""Samples between seeing a window and remembering it."""

MEMORY = 8640
"""Samples the kept windows are drawn from: a month at five minutes."""

PER_HOST, PER_METRIC = 4096, 128
"""Windows kept for all metrics of a host together, and for one metric at most."""

QUANTILE = 0.99
"""The part of a metric's own distances that are below 1."""

STEP = 0.02
"""The quantile's logarithm moves up by nearly this for a distance beyond it, and down by a hundredth of it for
one below."""

Floats = NDArray[np.float32]


def capacity(n_metrics: int) -> int:
    """Return how many windows each of ``n_metrics`` metrics may keep."""
    return int(np.clip(PER_HOST // n_metrics, 8, PER_METRIC))


def layout(n_metrics: int) -> list[tuple[str, str, tuple[int, ...]]]:
    """Return the fields a state needs, in numpy's words: ``windows`` kept (NaN: an empty place), the
    ``recent`` values (NaN: none) and the 99 % ``quantile`` distance (0: not known)."""
    return [
        ("windows", "<f4", (n_metrics, capacity(n_metrics), LENGTH)),
        ("recent", "<f4", (n_metrics, LAG + LENGTH)),
        ("quantile", "<f4", (n_metrics,)),
    ]


def fold(
    windows: Floats, recent: Floats, quantile: Floats, x: FloatArray, floor: FloatArray, count: int
) -> FloatArray:
    """Take the values ``x`` (M,), NaN where there is none, as sample number ``count`` and update the three
    fields in place.

    Returns the relative distances (M,): 0 for a metric whose newest window is not complete or that has nothing
    to compare with. The quantile is never taken for less than ``floor`` (M,), so that a metric that repeats
    itself exactly does not make news of the first digit that differs.
    """
    recent[:, :-1] = recent[:, 1:]
    recent[:, -1] = x
    apart = windows - recent[:, None, -LENGTH:]
    squares = np.einsum("mnl,mnl->mn", apart, apart)
    distance = np.sqrt(np.where(np.isnan(squares), np.inf, squares).min(axis=1).astype(np.float64))
    known = np.isfinite(distance)
    distance = np.where(known, distance, 0.0)
    floor = np.maximum(floor, 1e-30)
    level = np.maximum(np.where(quantile > 0.0, quantile, distance), floor)
    relative: FloatArray = distance / level
    step = min(1.0, max(STEP, 20.0 / (count + 1.0)))
    moved = level * np.exp(step * ((distance > level) - (1.0 - QUANTILE)))
    quantile[:] = np.where(known, np.clip(moved, floor, 1e30), quantile)
    _offer(windows, recent[:, :LENGTH], count - LAG - LENGTH + 1)
    return relative


def _offer(windows: Floats, window: Floats, seen: int) -> None:
    """Keep ``window`` (M, LENGTH), which ``seen`` windows came before, in the place that chance gives it, if
    any. Chance is a function of ``seen`` alone: the same samples always leave the same state."""
    if seen < 0:
        return
    kept = windows.shape[1]
    places = (
        np.random.default_rng(seen).integers(0, min(seen + 1, MEMORY), len(windows))
        if seen >= kept
        else np.full(len(windows), seen)
    )
    chosen = np.flatnonzero((places < kept) & ~np.isnan(window).any(axis=1))
    windows[chosen, places[chosen]] = window[chosen]
