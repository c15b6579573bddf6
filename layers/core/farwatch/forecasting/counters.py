"""Counters: forecast the growth, then add it up. What has been counted cannot be uncounted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from farwatch.forecasting.history import Floats, History


def increments(history: History) -> History:
    """The growth of a counter per step: a gauge one step shorter, unknown where the counter fell.

    Where no two neighbouring values are known, the growth across each hole is spread over it; a counter that only ever
    fell has not grown.
    """
    growth = np.diff(history.values)
    if not (growth >= 0).any():
        growth = np.diff(history.filled())
        if not (growth >= 0).any():
            growth = np.zeros(len(growth))
    growth[growth < 0] = np.nan
    return replace(history, start=history.start + history.step, values=growth, counter=False)


def accumulate(history: History, quantiles: Floats) -> Floats:
    """Counter values (H, 5) from the quantiles of its growth per step.

    The median path is the sum of the medians. The spread of a sum of n steps is n times that of one if the
    steps go up and down together, and the square root of n times if each goes its own way; which power of n
    it is, the history says.
    """
    last = history.values[np.isfinite(history.values)][-1]
    steps = np.arange(1, len(quantiles) + 1)[:, None]
    middle = np.cumsum(quantiles[:, 2:3], axis=0)
    spread = np.cumsum(quantiles - quantiles[:, 2:3], axis=0) * steps ** (_growth_power(history) - 1.0)
    return np.asarray(last + middle + spread)


def _growth_power(history: History) -> float:
    """The power, from 1/2 to 1, that the spread of summed growth rises with; 3/4 where nothing varies.

    Compares single steps with half days, both less the usual growth at that time of day.
    """
    growth = increments(history).filled()
    day = history.day
    half = max(day // 2, 2)
    days = len(growth) // day
    if days < 2:
        return 0.75
    table = growth[-days * day :].reshape(days, day)
    off = (table - np.mean(table, axis=0)).ravel()
    single = float(np.std(off))
    halves = float(np.std(off[: len(off) // half * half].reshape(-1, half).sum(axis=1)))
    if single == 0 or halves == 0:
        return 0.75
    return float(np.clip(np.log(halves / single) / np.log(half), 0.5, 1.0))
