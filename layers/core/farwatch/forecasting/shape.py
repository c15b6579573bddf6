"""What the two classical models have to be told about a series before they fit it.

Both assume errors that are even-sized and symmetric. Rates and sizes are neither, so a series that is never
negative and lopsided is fitted on a logarithmic scale; both are lost in a trend they were not given, so a
series that climbs or falls day after day is fitted with one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from farwatch.forecasting.history import Floats, History


@dataclass(frozen=True, slots=True)
class Scale:
    """A monotone scale: ``log(value + shift)``, or the value itself where ``shift`` is None."""

    shift: float | None

    def to(self, values: Floats) -> Floats:
        """Values on the scale of the fit."""
        return values if self.shift is None else np.log(values + self.shift)

    def back(self, values: Floats) -> Floats:
        """Values on the metric's own scale; quantiles stay quantiles, the scale being monotone."""
        return values if self.shift is None else np.exp(np.minimum(values, 300.0)) - self.shift


def scale_of(history: History) -> Scale:
    """Logarithmic if no value is negative and the upper half reaches three times as far as the lower."""
    known = history.values[np.isfinite(history.values)]
    low, middle, high, top = np.quantile(known, [0.05, 0.5, 0.95, 1.0])
    if known.min() < 0 or top <= 0 or high - middle < 1.5 * (middle - low):
        return Scale(None)
    shift = float(0.1 * np.median(known[known > 0]))
    return Scale(shift if shift > 0 else None)  # a tenth of the tiniest number is none


def is_trending(history: History) -> bool:
    """Whether the day's medians rise, or fall, day by day and further in all than the days are wide."""
    filled, day = history.filled(), history.day
    days = len(filled) // day
    if days < 3:
        return False
    table = filled[-days * day :].reshape(days, day)
    middles = np.median(table, axis=1)
    width = float(np.median(np.quantile(table, 0.9, axis=1) - np.quantile(table, 0.1, axis=1)))
    moves = np.sign(np.diff(middles))
    return bool(abs(moves.sum()) >= days - 2 and abs(middles[-1] - middles[0]) > width > 0)


def reach(history: History, *, trending: bool) -> tuple[float, float]:
    """Where a forecast may go: the range the series was seen in; for a trend as far again on each side."""
    known = history.values[np.isfinite(history.values)]
    low, high = float(known.min()), float(known.max())
    room = high - low if trending else 0.0
    return low - room, high + room
