"""From how surprising a sample is to a score: the part all detectors share.

A detector's raw oddness is a number in units of its own, and series differ: one exceeds three deviations
daily, another never. What a reader wants to know is whether *this* series has looked like this before. So
the oddness is itself given a memory, and the surprise of a sample is the distance of its oddness, on a
logarithmic scale, from every oddness the series has had. (The default detector's oddness is such a distance
already and skips this step.)

Surprise becomes a score in [0, 1] by three discounts, each the answer to a complaint about alarms:

* *evidence*: after ten samples everything is new, so surprise counts in the measure in which there is a past,
  and at first only dampens what follows;
* *habit*: a series that has been surprising often has to be more so before it counts;
* *cool-down*: what has just been reported is news again only when it is much odder.

Nothing here depends on which detector, metric or unit is behind the numbers, so one threshold serves all.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from farwatch.detection.interface import FloatArray, StateArray
from farwatch.detection.memory import INSIDE, distances, with_edges
from farwatch.detection.rows import counting

ODDNESSES = 48
"""Remembered values of the raw oddness."""

GRAIN = 0.01
"""Oddnesses closer than this (1 %) are one to the memory."""

WARM_UP = 200
"""Samples before anything may score."""

EVIDENCE = 300.0
"""Samples of past at which surprise counts for half."""

YOUNG = 800.0
"""Samples of past below which surprise counts for less still, with the square of their number: the chance that the next of n
values sets a record falls as 1/n, and so does the distance by which it does."""

HALF = 0.05
"""Surprise that scores half before the other discounts: 5 % of the series' spread away from anything
known."""

HABIT = 0.5
"""How much each full alarm in memory raises ``HALF``, as a part of it."""

HABIT_MEMORY = 3000.0
"""Samples over which alarms are forgotten for the habit."""

COOL_DOWN = 140.0
"""Samples in which the damping after an alarm falls by a factor e."""

PIVOT, ODDNESS_PIVOT = 0.22, 0.17
"""The damped strengths that the default threshold stands for, of distances from what the series has been and of distances
between logarithms of oddness: two units. Each is one number for all detectors that use the unit, chosen on the
benchmark's tuning half."""

DEFAULT_THRESHOLD = 0.5
"""A sample whose score reaches this is an anomaly."""

BANDS = GRAIN * 2.0 ** np.arange(8)
"""Surprise is counted from 0.01, 0.02, 0.04 … up, to say how rare the like of it is."""


def layout(memory: bool) -> np.dtype[Any]:
    """Return the calibration's record, with or without a memory of raw oddness."""
    fields: list[Any] = [("seen", "<f8"), ("habit", "<f8"), ("damping", "<f8"), ("bands", "<f4", BANDS.shape)]
    return np.dtype([*fields, ("oddnesses", "<f4", (ODDNESSES,)), ("crowd", "<f8")] if memory else fields)


def new_state(n_series: int, memory: bool) -> StateArray:
    """Return ``n_series`` records of the calibration that have seen nothing."""
    state = np.zeros(n_series, layout(memory))
    if memory:
        state["oddnesses"] = np.inf
    return state


def surprise(records: StateArray, raw: FloatArray) -> FloatArray:
    """Return how far ``log(1 + raw)`` (T, S) is from all the series has had, and remember it."""
    most = np.full(raw.shape[1], ODDNESSES)
    memory, crowd = with_edges(records["oddnesses"]), records["crowd"].copy()
    gap, changed = distances(memory, crowd, most, np.log1p(raw), GRAIN)
    records["oddnesses"][changed], records["crowd"] = memory[changed, INSIDE], crowd
    gap[np.isinf(gap)] = 0.0
    return gap


def score(records: StateArray, surprises: FloatArray, pivot: float) -> tuple[FloatArray, FloatArray]:
    """Fold in ``surprises`` (T, S); return (score, rarity). A damped strength of ``pivot`` scores the default threshold.

    The rarity is the mean number of samples between two at least as surprising, by count.
    """
    seen = records["seen"] + counting(len(surprises))
    weighed = seen / (seen + EVIDENCE)
    weighed *= surprises
    weighed *= np.square(np.minimum(seen / YOUNG, 1.0))
    damped = _damped(records, weighed)
    # What was surprising before anything may score has raised the bar all the same.
    silent = seen < WARM_UP
    if np.count_nonzero(silent):
        damped[silent] = 0.0
    rarity = _rarity(records["bands"], surprises, seen)
    records["seen"] += len(surprises)
    if np.count_nonzero(damped):
        damped = damped * (1.0 - pivot) / (damped * (1.0 - 2.0 * pivot) + pivot)
    return damped, rarity


def _rarity(bands: NDArray[np.float32], surprises: FloatArray, seen: FloatArray) -> FloatArray:
    """Return the rarity of each of ``surprises`` (T, S), and count them in ``bands`` (S, B)."""
    # How often each band was reached, this sample included; the last that it reaches says how rare it is.
    reached = surprises[..., None] >= BANDS
    if not np.count_nonzero(reached):
        return np.ones(surprises.shape)
    counts = np.add.accumulate(reached, axis=0, dtype=np.float32)
    counts += bands
    bands[:] = counts[-1]
    band = np.add.reduce(reached, axis=-1, dtype=np.intp)
    like = counts[np.arange(len(band))[:, None], np.arange(band.shape[1]), band - 1]
    return np.where(band, (seen + 1.0) / np.maximum(like, 1.0), 1.0)


def _damped(records: StateArray, weighed: FloatArray) -> FloatArray:
    """Return the strength (T, S) of surprises ``weighed`` by the evidence, less habit and cool-down; ``weighed`` is lost."""
    memory = np.array([records["damping"], records["habit"]])
    damping, habit = memory
    fading = 1.0 - 1.0 / np.array([[COOL_DOWN], [HABIT_MEMORY]])
    half, damped = weighed + HALF, np.empty_like(weighed)
    for strength, half_now, news in zip(weighed, half, damped, strict=True):
        np.multiply(habit, HALF * HABIT, out=news)
        np.add(news, half_now, out=news)
        np.divide(strength, news, out=strength)
        np.subtract(strength, damping, out=news)
        np.maximum(news, 0.0, out=news)
        memory *= fading
        np.maximum(damping, strength, out=damping)
        habit += news * news
    records["damping"], records["habit"] = memory
    return damped
