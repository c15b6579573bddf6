"""What a forecast is made from: an even grid of values with holes, and the bounds the metric cannot leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from farwatch.forecasting.errors import ForecastError, InsufficientHistory

Floats = NDArray[np.float64]

DAY_S = 86_400.0
MAX_DAYS = 7
STEP_S = 900.0
# Beyond this a difference of two values overflows; nothing measured on a host comes near it.
LARGEST = 1e150


@dataclass(frozen=True, slots=True)
class Bounds:
    """The values a metric can take: a percentage is ``Bounds(0, 100)``, a rate ``Bounds(0)``."""

    lower: float | None = None
    upper: float | None = None

    def __post_init__(self) -> None:
        if self.lower is not None and self.upper is not None and not self.lower < self.upper:
            raise ForecastError(f"the lower bound {self.lower:g} is not below the upper bound {self.upper:g}")

    def clip(self, values: Floats) -> Floats:
        """``values`` moved to the nearest allowed value."""
        low = -np.inf if self.lower is None else self.lower
        high = np.inf if self.upper is None else self.upper
        return np.clip(values, low, high)


UNBOUNDED = Bounds()


@dataclass(frozen=True, slots=True)
class History:
    """One series on an even grid, oldest first.

    ``start`` is the epoch second of the first value, ``step`` the seconds between two values. A hole is NaN;
    infinities and absurd magnitudes are made holes here, and only the last seven days are kept. ``counter``
    says that the value only grows, but for resets to a lower value when its source starts again.
    """

    start: float
    step: float
    values: Floats = field(repr=False)
    counter: bool = False

    def __post_init__(self) -> None:
        if not (np.isfinite(self.step) and 1.0 <= self.step <= DAY_S / 4):
            raise ForecastError(
                f"the step of a history is between one second and six hours, not {self.step:g} s"
            )
        if not np.isfinite(self.start):
            raise ForecastError("the start of a history is not a time")
        values = np.array(self.values, dtype=np.float64).ravel()
        values[~(np.abs(values) < LARGEST)] = np.nan
        keep = MAX_DAYS * self.day
        if len(values) > keep:
            object.__setattr__(self, "start", self.start + (len(values) - keep) * self.step)
            values = values[-keep:]
        values.setflags(write=False)
        object.__setattr__(self, "values", values)

    @classmethod
    def from_samples(
        cls,
        times: Sequence[float] | Floats,
        values: Sequence[float] | Floats,
        *,
        now: float,
        step: float = STEP_S,
        counter: bool = False,
    ) -> History:
        """Put samples taken at any times (epoch seconds, any order) on a grid of whole multiples of ``step``.

        A grid point carries the mean of the samples in ``[t, t + step)`` – for a counter the last one – and
        NaN where there is none. The history ends with the last whole interval before ``now``, so that a
        sample from the running interval never looks like a dip, and starts with the first known value of
        seven days.
        """
        at = np.asarray(times, dtype=np.float64).ravel()
        raw = np.asarray(values, dtype=np.float64).ravel()
        if len(at) != len(raw):
            raise ForecastError(f"there are {len(at)} times for {len(raw)} values")
        end = int(np.floor(now / step))
        first = end - int(MAX_DAYS * DAY_S / step)
        offset = np.floor(at / step) - first  # still floating: a time may be NaN or beyond any integer
        good = (offset >= 0) & (offset < end - first) & (np.abs(raw) < LARGEST)
        at, raw, cell = at[good], raw[good], offset[good].astype(np.int64)
        grid = np.full(end - first, np.nan)
        if counter:
            order = np.argsort(at, kind="stable")
            grid[cell[order]] = raw[order]
        elif len(cell):
            count = np.bincount(cell, minlength=len(grid))
            total = np.bincount(cell, weights=raw, minlength=len(grid))
            grid[count > 0] = total[count > 0] / count[count > 0]
        known = np.flatnonzero(np.isfinite(grid))
        skip = int(known[0]) if len(known) else len(grid)
        return cls(start=(first + skip) * step, step=step, values=grid[skip:], counter=counter)

    @property
    def day(self) -> int:
        """Grid steps in a day."""
        return max(round(DAY_S / self.step), 1)

    @property
    def end(self) -> float:
        """Epoch second of the first step after the history: the origin of a forecast."""
        return self.start + len(self.values) * self.step

    @property
    def times(self) -> Floats:
        """Epoch seconds of the values."""
        return np.asarray(self.start + self.step * np.arange(len(self.values)), dtype=np.float64)

    @property
    def heard(self) -> float:
        """Epoch second of the last known value; minus infinity where none is."""
        known = np.flatnonzero(np.isfinite(self.values))
        return self.start + float(known[-1]) * self.step if len(known) else -np.inf

    def future(self, steps: int) -> Floats:
        """Epoch seconds of the ``steps`` grid points after the history."""
        return np.asarray(self.end + self.step * np.arange(steps), dtype=np.float64)

    def filled(self) -> Floats:
        """The values with every hole bridged by a straight line, the ends held; at least one is known."""
        known = np.isfinite(self.values)
        if known.all():
            return np.array(self.values)
        where = np.flatnonzero(known)
        return np.interp(np.arange(len(self.values)), where, self.values[where])

    def require(self, model: str, seconds: float) -> None:
        """Raise `InsufficientHistory` unless half of the grid over the last ``seconds`` is known.

        Half, because a series with longer holes than data has no shape to learn.
        """
        steps = max(int(np.ceil(seconds / self.step)), 2)
        known = int(np.isfinite(self.values).sum())
        if len(self.values) < steps or 2 * known < steps:
            found = min(len(self.values), 2 * known) * self.step
            raise InsufficientHistory(model, steps * self.step, min(found, (steps - 1) * self.step))
