"""Ninety-one simple ideas of what comes next: the material the default model mixes its quantiles from.

Some are points (the last value, yesterday, the usual value at this time of day), some are quantiles (of the
last day, of this time of day over a week, of how far the series wanders in so many hours). All are values
the series took, or moved by differences it made, so any average of them has the metric's unit and a
constant series gives constants. The order is part of the fitted weights: see `NAMES`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from farwatch.forecasting.history import Floats

Places = NDArray[np.int64]

_SPREAD = (0.025, 0.1, 0.9, 0.975)
_WIDE = (0.0, 0.025, 0.1, 0.25, 0.75, 0.9, 0.975, 1.0)
_WEEK = (0.025, 0.1, 0.25, 0.75, 0.9, 0.975)
_AT_ONCE = 1 << 22
"""So many numbers are compared at once: a week by the quarter of an hour at one go, one by the second in bearable memory."""
_THREE_DAYS = (0.05, 0.25, 0.75, 0.95)

NAMES: tuple[str, ...] = (
    *("last", "hour", "six_hours", "day", "three_days", "week", "day_mean", "week_mean"),
    *("yesterday", "near_yesterday", "near_day_before", "week_ago", "near_week_ago"),
    *("usual_three_days", "usual", "usual_mean", "usual_moved", "usual_moved_briefly", "usual_of_day_level"),
    *("same_minute", "same_minute_three_days", "yesterday_moved", "usual_scaled", "usual_scaled_briefly"),
    *(
        "day_trend",
        "week_trend",
        "cycle_last",
        "cycle",
        "cycle_low",
        "cycle_high",
        "cycle_under",
        "cycle_over",
    ),
    *("tooth", "tooth_slow", "tooth_fast"),
    *(f"usual_q{level}" for level in _WEEK),
    *(f"usual_three_days_q{level}" for level in _THREE_DAYS),
    *(f"day_q{level}" for level in _WIDE),
    *(f"week_q{level}" for level in _WIDE),
    *("six_hours_q0.1", "six_hours_q0.9"),
    *(f"walk_q{level}" for level in _SPREAD),
    *(f"walk_from_hours_q{level}" for level in _SPREAD),
    *(f"yesterday_q{level}" for level in _SPREAD),
    *(f"usual_moved_q{level}" for level in _SPREAD),
    *("returning", *(f"returning_q{level}" for level in _SPREAD)),
    *("analogue", "analogue_low", "analogue_high"),
    *(f"three_days_q{level}" for level in _SPREAD),
)


def ranked(rows: Floats, levels: tuple[float, ...]) -> Floats:
    """Quantiles along the first axis of ``rows``, one row for each of ``levels``."""
    ordered = np.sort(rows, axis=0)
    low, high, part, rest = _places(levels, len(ordered), rows.ndim)
    return np.asarray(ordered[low] * rest + ordered[high] * part)


@lru_cache(maxsize=1024)
def _places(levels: tuple[float, ...], n: int, ndim: int) -> tuple[Places, Places, Floats, Floats]:
    """Where in ``n`` ordered rows of ``ndim`` - 1 dimensions a quantile lies between two, and how much of each it is."""
    at: Floats = np.array(levels) * float(n - 1)
    low = at.astype(np.int64)
    part: Floats = (at - low).reshape((-1,) + (1,) * (ndim - 1))
    return low, np.minimum(low + 1, n - 1), part, 1 - part


def middle(rows: Floats) -> Floats:
    """The median along the first axis; numpy's own spends longer on its checks than on a row this short."""
    ordered = np.sort(rows, axis=0)
    half = len(ordered) // 2
    return np.asarray(ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2)


def hour_of(day: int) -> int:
    """Grid steps in an hour, at least one, when there are ``day`` in a day."""
    return max(day // 24, 1)


def main_period(values: Floats, day: int) -> tuple[int, float, float]:
    """The period a series repeats best with (in steps, from an hour to three days), and two autocorrelations.

    The first is that at the period, the second that at one day. The period is the highest local maximum of
    the autocorrelation of the values, clipped at three standard deviations so that a spike does not decide;
    the day is returned where there is no maximum. It can be a multiple of the true period, which serves as
    well.
    """
    n = len(values)
    hour = hour_of(day)
    centred = values - values.mean()
    spread = float(np.sqrt(np.mean(centred**2)))
    if spread == 0:
        return min(day, n), 0.0, 0.0
    centred = np.clip(centred / spread, -3, 3)
    centred -= centred.mean()
    spectrum = np.fft.rfft(centred, 1 << int(np.ceil(np.log2(2 * n))))
    auto = np.fft.irfft(spectrum * np.conj(spectrum))[:n] / (n - np.arange(n))
    if auto[0] < 1e-6:
        return min(day, n), 0.0, 0.0
    first, last = hour, max(min(3 * day, n // 2), hour + 1)
    inner = auto[first:last]
    peaks = np.flatnonzero((inner[1:-1] >= inner[:-2]) & (inner[1:-1] >= inner[2:])) + 1 + first
    # Of two periods that repeat alike the shorter one says more.
    best = int(peaks[np.argmax(auto[peaks] - 1e-3 * auto[0] * peaks / day)]) if len(peaks) else min(day, n)
    at_best = float(auto[best] / auto[0]) if best < n else 0.0
    return best, at_best, float(auto[day] / auto[0]) if day < n else 0.0


class _Past:
    """What several candidates share: the days of a series side by side, aligned with the steps to come."""

    def __init__(self, values: Floats, day: int, steps: int) -> None:
        n = len(values)
        self.values, self.day, self.n = values, day, n
        self.hour = hour_of(day)
        self.ahead: NDArray[np.int64] = np.arange(steps)
        self.column = self.ahead % day
        self.days = max(n // day, 1)
        # near[d, s, c]: d + 1 days before step c, in nine places an hour around (four steps on a coarse grid).
        shifts = np.arange(-4, 5) * max(self.hour // 4, 1)
        starts = n - day * np.arange(1, self.days + 1)
        places = starts[:, None, None] + shifts[None, :, None] + np.arange(day)[None, None, :]
        self.near: Floats = values[np.clip(places, 0, n - 1)]
        self.recent_days = min(3, self.days)
        self.usual: Floats = middle(self.near[:, 2:7].reshape(-1, day))
        self.same: Floats = middle(self.near[:, 4])
        self.last_hours = float(middle(values[-3 * self.hour :]))
        self.yesterday: Floats = self.near[0, 4][self.column]
        lead = middle(values[-3 * self.hour :] - self.usual[np.arange(-min(3 * self.hour, n), 0) % day])
        self.lead = float(lead)
        self.moved_briefly: Floats = self.usual[self.column] + self.lead * np.exp(-self.ahead / (day / 8))


def candidates(values: Floats, day: int, steps: int) -> Floats:
    """All candidates for the ``steps`` after ``values`` (gaps filled, at least four), (len(NAMES), steps)."""
    past = _Past(values, day, steps)
    groups = (_levels, _days, _trends, _cycle, _tooth, _ranks, _walks, _returning, _analogue, _three_days)
    made = np.empty((len(NAMES), steps))
    for place, row in enumerate(row for group in groups for row in group(past)):
        made[place] = row
    return made


def _levels(past: _Past) -> Iterator[Floats]:
    """Values with no time of day, from the last one to the mean of the week."""
    values, day = past.values, past.day
    yield np.asarray(values[-1])
    for span in (past.hour, 6 * past.hour, day, 3 * day, past.n):
        yield np.asarray(middle(values[-span:]))
    yield np.asarray(values[-day:].mean())
    yield np.asarray(values.mean())


def _days(past: _Past) -> Iterator[Floats]:
    """The time of day: yesterday, a week ago, the usual; then moved or scaled to where the series is now."""
    near, day, column, ahead, n = past.near, past.day, past.column, past.ahead, past.n
    yield past.yesterday
    yield middle(near[0])[column]
    yield middle(near[min(1, past.days - 1)])[column]
    row = np.maximum(past.days - 1 - ahead // day, 0)
    yield near[row, 4, column]
    yield middle(near.swapaxes(0, 1))[row, column]
    yield middle(near[: past.recent_days, 2:7].reshape(-1, day))[column]
    usual = past.usual[column]
    yield usual
    yield near[:, 2:7].reshape(-1, day).mean(axis=0)[column]
    yield usual + past.lead * np.exp(-ahead / (day / 2))
    yield past.moved_briefly
    span = min(day, n)
    yield usual + middle(past.values[-span:] - past.usual[np.arange(-span, 0) % day])
    same = past.same[column]
    yield same
    yield middle(near[: past.recent_days, 4])[column]
    before = past.values[max(n - day - 3 * past.hour, 0) : max(n - day, 1)]
    yield past.yesterday + (past.last_hours - middle(before)) * np.exp(-ahead / (day / 4))
    floor = min(float(past.values.min()), 0.0)
    hours = past.same[np.arange(-6 * past.hour, 0) % day]
    yield floor + (same - floor) * _ratio(past.values[-day:], past.same, floor)
    pace = _ratio(past.values[-6 * past.hour :], hours, floor)
    yield floor + (same - floor) * (1 + (pace - 1) * np.exp(-ahead / (day / 2)))


def _ratio(now: Floats, usual: Floats, floor: float) -> float:
    """How much higher above its floor a series is now than usual, between a fifth and five times."""
    above, below = float(now.mean()) - floor, float(usual.mean()) - floor
    if below <= 0:
        return 1.0
    # Compared before it is divided: the usual may be too small to divide by.
    return 5.0 if above >= 5 * below else max(above / below, 0.2)


def _trends(past: _Past) -> Iterator[Floats]:
    """The change of the last day, slowing down, and that of the week going on."""
    values, day, hour, n = past.values, past.day, past.hour, past.n
    back = values[-day - 1 : -day + hour] if n > day + hour else values[:hour]
    slope = (values[-1] - middle(back)) / day
    yield values[-1] + slope * day * (1 - np.exp(-(past.ahead + 1) / day))
    slope = (values[-hour:].mean() - values[:hour].mean()) / max(n - hour, 1)
    yield values[-1] + slope * (past.ahead + 1)


def _cycle(past: _Past) -> Iterator[Floats]:
    """The best period of any length: its last round, its usual one, how far values lie from that."""
    values, n = past.values, past.n
    period = main_period(values, past.day)[0]
    rounds = max(min(n // period, 6), 1)
    table = values[n - rounds * period :].reshape(rounds, period)
    at = past.ahead % period
    usual = middle(table)
    yield table[-1][at]
    yield usual[at]
    for row in ranked(table, (0.1, 0.9)):
        yield row[at]
    for off in ranked(values - usual[np.arange(-n, 0) % period], (0.1, 0.9)):
        yield usual[at] + off


def _tooth(past: _Past) -> Iterator[Floats]:
    """A counter that wraps, a log that is rotated: steady growth and rare falls. Else the last value."""
    values, day, last = past.values, past.day, past.values[-1]
    growth = np.diff(values)
    falls = growth < 0
    ahead = past.ahead + 1
    paces = (1.0, 0.985, 1.015)
    if not falls.any() and growth.sum() > 0:
        pace = middle(growth[-day:])
        for factor in (1.0, 0.9, 1.1):
            yield last + pace * factor * ahead
        return
    if 0 < falls.sum() < 0.03 * past.n and (growth[~falls] > 0).mean() > 0.5:
        lately = growth[-day:][~falls[-day:]]
        pace = middle(lately) if len(lately) else middle(growth[~falls])
        foot = middle(values[1:][falls])
        top = max(middle(values[:-1][falls]), last)
        if top - foot > pace > 0:
            for factor in paces:
                yield foot + np.mod(last - foot + pace * factor * ahead, top - foot + pace / 2)
            return
    for _ in paces:
        yield np.asarray(last)


def _ranks(past: _Past) -> Iterator[Floats]:
    """Quantiles: of the time of day over the week and over three days, of the day, the week, six hours."""
    day = past.day
    for row in ranked(past.near.reshape(-1, day), _WEEK):
        yield row[past.column]
    for row in ranked(past.near[: past.recent_days].reshape(-1, day), _THREE_DAYS):
        yield row[past.column]
    for span, levels in ((day, _WIDE), (past.n, _WIDE), (6 * past.hour, (0.1, 0.9))):
        yield from ranked(past.values[-span:], levels)


@lru_cache(maxsize=1024)
def _lags(most: int, n: int) -> Places:
    """Nine steps or fewer, from one to ``most``, each further than the one before by the same factor; less than ``n``."""
    return np.unique(np.clip(np.round(np.geomspace(1, most, 9)).astype(np.int64), 1, n - 1))


def _walks(past: _Past) -> Iterator[Floats]:
    """How far the series wandered in as many steps before, from now, from yesterday and from the usual."""
    values, day, n, steps = past.values, past.day, past.n, len(past.ahead)
    lags = _lags(min(steps, max(n - day // 2, 1)), n)
    moves = np.array([ranked(values[lag:] - values[:-lag], _SPREAD) for lag in lags])
    walks = [np.interp(past.ahead + 1, lags, move) for move in moves.T]
    for start in (values[-1], past.last_hours):
        for walk in walks:
            yield start + walk
    moves = np.empty((steps, len(_SPREAD)))
    for first in range(0, steps, day):
        lag = min(first + day, max((n - 1) // day * day, 1))
        moves[first : first + day] = ranked(values[lag:] - values[:-lag], _SPREAD)
    for move in moves.T:
        yield past.yesterday + move
    for off in ranked(values - past.usual[np.arange(-n, 0) % day], _SPREAD):
        yield past.moved_briefly + off


def _returning(past: _Past) -> Iterator[Floats]:
    """The usual, and as much of the present distance from it as used to be left after as many steps."""
    values, day, n, steps = past.values, past.day, past.n, len(past.ahead)
    off = values - past.usual[np.arange(-n, 0) % day]
    off = np.clip(off, *ranked(off, (0.01, 0.99)))
    lags = _lags(min(steps, max(n - day // 2, 1)), n)
    kept, moves = np.empty(len(lags)), np.empty((len(lags), len(_SPREAD)))
    for place, lag in enumerate(lags):
        before, after = off[:-lag], off[lag:]
        size = float(before @ before)
        kept[place] = min(max(float(before @ after) / size, 0.0), 1.0) if size > 0 else 0.0
        moves[place] = ranked(after - kept[place] * before, _SPREAD)
    middle_way = past.usual[past.column] + off[-1] * np.interp(past.ahead + 1, lags, kept)
    yield middle_way
    for move in moves.T:
        yield middle_way + np.interp(past.ahead + 1, lags, move)


def _analogue(past: _Past) -> Iterator[Floats]:
    """What followed the five half days most like the last one; yesterday where there is no past day to search."""
    values, day, n, hour = past.values, past.day, past.n, past.hour
    width = max(day // 2, 1)
    if n < day + width + 1:
        for _ in range(3):
            yield past.yesterday
        return
    windows = np.lib.stride_tricks.sliding_window_view(values, width)[: n - day - width + 1]
    many = max(_AT_ONCE // width, 1)
    distance = np.concatenate(
        [
            np.abs(windows[first : first + many] - values[-width:]).mean(axis=1)
            for first in range(0, len(windows), many)
        ]
    )
    found = []
    for _ in range(5):
        best = int(np.argmin(distance))
        if not np.isfinite(distance[best]):
            break
        found.append(best + width)
        distance[max(best - 2 * hour, 0) : best + 2 * hour + 1] = np.inf
    at = np.array(found)[:, None] + past.ahead
    at -= day * np.maximum(-(-(at - n + 1) // day), 0)  # what has not come yet is taken from the day before
    rows = values[at]
    yield middle(rows)
    yield from ranked(rows, (0.1, 0.9))


def _three_days(past: _Past) -> Iterator[Floats]:
    """Quantiles of the last three days."""
    yield from ranked(past.values[-3 * past.day :], _SPREAD)
