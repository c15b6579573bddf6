"""From how surprising a sample is to a score: the part all detectors share.

A detector's raw oddness is a number in units of its own, and series differ: one exceeds three deviations
daily, another never. What a reader wants to know is whether *this* series has looked like this before. So
the oddness is itself given a memory, and the surprise of a sample is the distance of its oddness, on a
logarithmic scale, from every oddness the series has had. (The default detector's oddness is such a distance
already and skips this step.)

Surprise becomes a score in [0, 1] by three discounts, each the answer to a complaint about alarms:

* *evidence*: after ten samples everything is new, so surprise counts in the measure in which there is a past;
* *habit*: a series that has been surprising often has to be more so before it counts;
* *cool-down*: what has just been reported is news again only when it is much odder.

Nothing here depends on which detector, metric or unit is behind the numbers, so one threshold serves all.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from farwatch.detection.interface import BoolArray, FloatArray
from farwatch.detection.memory import neighbours, remember

ODDNESSES = 48
"""Remembered values of the raw oddness."""

GRAIN = 0.01
"""Oddnesses closer than this (1 %) are one to the memory."""

WARM_UP = 200
"""Samples before anything may score."""

EVIDENCE = 300.0
"""Samples of past at which surprise counts for half."""

HALF = 0.05
"""Surprise that scores half before the other discounts: 5 % of the series' spread away from anything
known."""

HABIT = 0.3
"""How much each full alarm in memory raises ``HALF``, as a part of it."""

HABIT_MEMORY = 3000.0
"""Samples over which alarms are forgotten for the habit."""

COOL_DOWN = 140.0
"""Samples in which the damping after an alarm falls by a factor e."""

PIVOT = 0.227
"""The damped score that the default threshold stands for: chosen on the benchmarks' tuning half, then
frozen."""

DEFAULT_THRESHOLD = 0.5
"""A sample whose score reaches this is an anomaly."""

BANDS = 8
"""Surprise is counted in bands of 0.01, 0.02, 0.04 …, to say how rare the like of it is."""


def layout(memory: bool) -> np.dtype[Any]:
    """Return the calibration's record, with or without a memory of raw oddness."""
    fields: list[Any] = [("seen", "<f8"), ("habit", "<f4"), ("damping", "<f4"), ("bands", "<f4", (BANDS,))]
    return np.dtype([*fields, ("oddnesses", "<f4", (ODDNESSES,))] if memory else fields)


def new_state(n_series: int, memory: bool) -> NDArray[Any]:
    """Return ``n_series`` records of the calibration that have seen nothing."""
    state = np.zeros(n_series, layout(memory))
    if memory:
        state["oddnesses"] = np.inf
    return state


def surprise(fields: dict[str, NDArray[Any]], raw: FloatArray, ok: BoolArray) -> FloatArray:
    """Return how far ``log(1 + raw)`` (S,) is from all the series has had, and remember it."""
    logged = np.log1p(raw)
    below, above = neighbours(fields["oddnesses"], logged)
    gap = np.minimum(logged - below, above - logged)
    new = np.flatnonzero(ok & ~(gap <= GRAIN))
    if len(new):
        remember(fields["oddnesses"], new, logged[new])
    return np.where(ok & np.isfinite(gap), np.maximum(gap, 0.0), 0.0)


def score(
    fields: dict[str, NDArray[Any]], surprises: FloatArray, ok: BoolArray
) -> tuple[FloatArray, FloatArray]:
    """Fold in one surprise per series; return (score, rarity), 0 and 1 where not ``ok``.

    The rarity is the mean number of samples between two at least as surprising, by count.
    """
    seen = fields["seen"]
    weighed = surprises * (seen / (seen + EVIDENCE))
    half = HALF * (1.0 + HABIT * fields["habit"])
    strength = np.where(ok & (seen >= WARM_UP), weighed / (weighed + half), 0.0)
    damped = np.maximum(strength - fields["damping"], 0.0)

    fading = np.where(ok, fields["damping"] * (1.0 - 1.0 / COOL_DOWN), fields["damping"])
    fields["damping"][:] = np.maximum(fading, strength)
    fields["habit"][:] = np.where(
        ok, fields["habit"] * (1.0 - 1.0 / HABIT_MEMORY) + damped**2, fields["habit"]
    )

    band = np.floor(np.log2(np.maximum(surprises, 1e-3) / GRAIN)).clip(-1, BANDS - 1).astype(np.intp)
    reached = ok[:, None] & (np.arange(BANDS) <= band[:, None])
    count = fields["bands"][np.arange(len(band)), np.maximum(band, 0)]
    rarity = np.where(ok & (band >= 0), (seen + 1.0) / (count + 1.0), 1.0)
    fields["bands"] += reached
    fields["seen"] += ok
    return damped * (1.0 - PIVOT) / (damped * (1.0 - 2.0 * PIVOT) + PIVOT), rarity
