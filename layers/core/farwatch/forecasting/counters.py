"""Counters: forecast the growth, then add it up. What has been counted cannot be uncounted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from farwatch.forecasting.history import Floats, History


def increments(history: History) -> History:
    """The growth of a counter per step: a gauge one step shorter, unknown where the counter fell."""
    growth = np.diff(history.values)
    growth[growth < 0] = np.nan
    return replace(history, start=history.start + history.step, values=growth, counter=False)


def accumulate(history: History, quantiles: Floats) -> Floats:
    """Counter values (H, 5) from quantiles of its growth per step.

    The median path is the sum of the medians. Around it the growth of different steps is neither independent
    (the spread of a sum would grow with the square root of the steps) nor the same (it would grow with the
    steps): the spread grows with the power 3/4, halfway between the two.
    """
    last = history.values[np.isfinite(history.values)][-1]
    steps = np.arange(1, len(quantiles) + 1)[:, None]
    middle = np.cumsum(quantiles[:, 2:3], axis=0)
    spread = np.cumsum(quantiles - quantiles[:, 2:3], axis=0) * steps**-0.25
    return np.asarray(last + middle + spread)
