"""From raw oddness to a score: how unusual is this for this series?

The raw oddness of a detector is a number in units of its own. What a reader wants to know is how often
this series looks this odd. So each series keeps an estimate of the tail of its own oddness: the level
``u`` that one sample in ten exceeds, followed by stochastic approximation on a logarithmic scale, and the
mean excess ``beta`` of the logarithm above it, which makes the tail a Pareto law (Hill's estimator, run
with exponential forgetting). The tail gives the rarity of a sample, and its logarithm the score.

A score is damped after an alarm: what has just been reported is news only when it becomes much odder.
"""

import numpy as np

from farwatch.detection.interface import BoolArray, FloatArray, StateArray

CALIBRATION_DTYPE = np.dtype([("log_u", "<f8"), ("beta", "<f8"), ("count", "<f8"), ("recent", "<f8")])

DEFAULT_THRESHOLD = 0.5
"""A sample whose score reaches this is an anomaly."""

TAIL = 0.1
"""The part of all samples above ``u``."""

MEMORY = 2000.0
"""Samples over which the tail estimate forgets."""

WARM_UP = 100.0
"""Samples before anything may score."""

COOL_DOWN = 300.0
"""Samples in which the memory of an alarm decays by a factor e."""

DECADES = 5.0
"""Tail probability 10^-5 scores 0.5, so the default threshold is reached by such a sample."""


class Calibration:
    """The calibration of a block of series; it works on a view of their records."""

    def __init__(self, state: StateArray) -> None:
        self._state = state

    @staticmethod
    def new_state(n_series: int) -> StateArray:
        """Return ``n_series`` records that have seen no oddness yet."""
        state = np.zeros(n_series, CALIBRATION_DTYPE)
        state["beta"] = 0.5
        return state

    def step(self, raw: FloatArray, ok: BoolArray) -> tuple[FloatArray, FloatArray]:
        """Fold in one raw oddness per series, return (score, rarity); 0 and 1 where not ``ok``."""
        state = self._state
        logged = np.log(np.maximum(raw, 1e-9))
        count = state["count"]
        excess = logged - state["log_u"]
        decades = np.where(excess > 0, 1.0 + excess / state["beta"] / np.log(10.0), 0.0)
        decades = np.where(ok & (count >= WARM_UP), np.minimum(decades, 2 * DECADES), 0.0)

        rate = np.maximum(1.0 / (count + 1.0), 1.0 / MEMORY)
        step = 4.0 * np.sqrt(rate) * np.maximum(state["beta"], 0.05)
        moved = state["log_u"] + step * np.where(excess > 0, 1.0 - TAIL, -TAIL)
        state["log_u"] = np.where(ok, np.where(count < 1, logged, moved), state["log_u"])
        tail_rate = np.maximum(1.0 / (TAIL * count + 5.0), 1.0 / (TAIL * MEMORY))
        seen = np.clip(excess, 0.0, 5.0)
        grown = state["beta"] + tail_rate * (seen - state["beta"])
        state["beta"] = np.where(ok & (excess > 0), np.maximum(grown, 0.05), state["beta"])
        state["count"] = count + ok

        damped = np.maximum(decades - state["recent"], 0.0)
        fading = np.where(ok, state["recent"] * (1.0 - 1.0 / COOL_DOWN), state["recent"])
        state["recent"] = np.where(ok, np.maximum(fading, np.where(decades >= DECADES, decades, 0.0)), fading)
        return np.minimum(damped / (2 * DECADES), 1.0), 10.0**decades
