"""What kind of series this is, in numbers without a unit: the other input of the default model."""

from __future__ import annotations

import numpy as np

from farwatch.forecasting.candidates import NAMES, hour_of, main_period, ranked
from farwatch.forecasting.history import Floats

_PLACE = {name: index for index, name in enumerate(NAMES)}
_COMPARED = (
    *("last", "six_hours", "day", "near_yesterday", "near_week_ago"),
    *("usual_three_days", "usual_moved", "week"),
)
_WIDTHS = (
    ("usual_q0.9", "usual_q0.1"),
    ("usual_q0.975", "usual_q0.025"),
    ("day_q0.9", "day_q0.1"),
    ("six_hours_q0.9", "six_hours_q0.1"),
    ("walk_q0.9", "walk_q0.1"),
    ("yesterday_q0.9", "yesterday_q0.1"),
    ("usual_q0.9", "usual"),
    ("usual", "usual_q0.1"),
)


def series_traits(values: Floats, day: int) -> Floats:
    """Thirty-four traits of a series, gaps filled: roughness, rhythm, skew, how often it stands still.

    Sizes are logarithms of ratios, positions squashed to [-1, 1], shares plain.
    """
    n, hour = len(values), hour_of(day)
    quantiles = ranked(values, (0.0, 0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975, 1.0))
    low, _, tenth, quarter, middle, three_quarters, ninetieth, _, high = (float(q) for q in quantiles)
    top = float(np.abs(values).max())
    tiny = 1e-9 * top + 1e-300
    wide = float(np.mean(np.abs(values - middle))) + tiny

    def size(part: float, whole: float) -> float:
        return float(np.clip(np.log((part + 1e-3 * wide) / (whole + 1e-3 * wide)), -6, 6))

    def move(lag: int, of: Floats = values) -> float:
        return float(np.mean(np.abs(of[lag:] - of[:-lag]))) if len(of) > lag else 0.0

    def mean_size(of: Floats) -> float:
        return float(np.mean(np.abs(of)))

    by_day = move(day)
    found = [size(move(lag), wide) for lag in (1, hour, 6 * hour)]
    found += [size(by_day, wide), size(move(2 * day) if n > 2 * day else by_day, wide)]
    found += [
        float(np.mean(np.diff(values) == 0)),
        *(float(np.mean(values == at)) for at in (low, high, middle)),
    ]
    spread = ninetieth - tenth
    found += [size(spread, high - low), size(ninetieth - middle, middle - tenth)]
    found += [size(high - middle, middle - low), size(three_quarters - quarter, spread)]

    last_day, last_hours = values[-day:], values[-6 * hour :]
    now = float(np.median(last_day))
    wide_now = mean_size(last_day - now)
    found += [size(wide_now, wide), float(np.tanh((now - middle) / wide)), size(abs(now - middle), wide)]
    apart = float(values[-1]) - now
    found += [float(np.tanh(apart / (wide_now + 1e-3 * wide + tiny))), size(abs(apart), wide)]
    found += [size(move(1, last_day), move(1)), size(float(np.ptp(last_hours)), wide)]
    found += [size(move(1, last_hours), move(1))]

    days = n // day
    table = values[n - days * day :].reshape(days, day)
    if days > 1:
        steps = np.diff(np.median(table, axis=1))
        off = table - np.median(table, axis=0)
        found += [size(mean_size(steps), wide), float(np.sign(steps).mean())]
        found += [size(mean_size(off), wide), size(mean_size(off[-1]), mean_size(off))]
    else:
        found += [size(0.0, wide), 0.0, 0.0, 0.0]
    period, at_period, at_day = main_period(values, day)
    found += [float(np.log(period / day)), at_period, at_day, at_period - at_day]
    found += [low / (top + tiny), tenth / (top + tiny), float(low >= 0), days / 7, float(np.log(day / 96))]
    return np.array(found)


def step_traits(made: Floats, day: int, unit: float) -> Floats:
    """Twenty traits of each step ahead (H, 20): how far it is, and where the candidates (91, H) lie there.

    Distances are in units of half the spread of the week, ``unit`` being the mean day-to-day difference.
    """
    days = np.minimum((np.arange(made.shape[1]) + 0.5) / day, 2.0)
    hours = days * 24
    found = [days, np.log(hours + 0.25), np.exp(-hours / 2), (days > 1).astype(np.float64)]

    def at(name: str) -> Floats:
        return np.asarray(made[_PLACE[name]])

    half = np.abs(at("week_q0.9") - at("week_q0.1")) / 2 + 1e-2 * unit
    found += [np.arcsinh((at(name) - at("usual")) / half) for name in _COMPARED]
    found += [np.log(np.maximum((at(high) - at(low)) / half, 0.0) + 0.02) for high, low in _WIDTHS]
    return np.stack(found, axis=1)
