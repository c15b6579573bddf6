"""How well each candidate would have done on this series, had it been asked on the last five days.

Each of the five days is cut off in turn, the candidates are made from what remains, and their quantile loss
against what followed is added up by lead time. The result is the strongest input of the default model: a
candidate that failed here yesterday will get little weight, whatever it does elsewhere.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from farwatch.forecasting.candidates import NAMES, candidates
from farwatch.forecasting.forecast import LEVELS
from farwatch.forecasting.history import Floats

LEAD_HOURS = (3, 12, 24)
_DAYS = 5
# A lead time with few steps borrows from the others: as much as six hours' worth.
_BORROWED_HOURS = 6.0
_FLOOR = 2e-3  # of the mean day-to-day difference: losses below are equally good


def lead_class(day: int, steps: int) -> NDArray[np.int64]:
    """0 to 3 for each step ahead: within 3, 12, 24 hours, later."""
    return np.digitize((np.arange(steps) + 0.5) * 24 / day, LEAD_HOURS)


def trial(values: Floats, known: NDArray[np.bool_], day: int, unit: float) -> Floats:
    """Log quantile losses (4 lead classes, 5 levels, candidates) relative to the middling candidate's.

    ``unit`` is the mean day-to-day difference; all zeros where there is no past day to try.
    """
    n = len(values)
    too_low = np.zeros((len(LEAD_HOURS) + 1, len(NAMES)))
    too_high = np.zeros_like(too_low)
    count = np.zeros(len(LEAD_HOURS) + 1)
    for back in range(1, _DAYS + 1):
        origin = n - back * day
        if origin < day:
            break
        ahead = min(2 * day, n - origin)
        error = values[origin : origin + ahead] - candidates(values[:origin], day, ahead)
        member = np.eye(len(count))[lead_class(day, ahead)] * known[origin : origin + ahead, None]
        below = (np.maximum(error, 0.0) @ member).T
        too_low += below
        too_high += below - (error @ member).T
        count += member.sum(axis=0)
    if not count.any():
        return np.zeros((len(count), len(LEVELS), len(NAMES)))
    levels = np.array(LEVELS)[:, None]
    total = levels * too_low[:, None] + (1 - levels) * np.maximum(too_high, 0.0)[:, None]
    borrowed = _BORROWED_HOURS * day / 24
    pooled = total.sum(axis=0) / count.sum()
    mean = (total + pooled * borrowed) / (count + borrowed)[:, None, None]
    floor = _FLOOR * unit
    middling = np.median(mean, axis=-1, keepdims=True)
    return np.asarray(np.clip(np.log((mean + floor) / (middling + floor)), -5, 5))
