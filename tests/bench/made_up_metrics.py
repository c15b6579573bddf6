"""Made-up metrics of hosts for fitting: a rhythm, a wander and a noise, then some of what happens to servers.

No two are alike: each effect is drawn with its own probability and size. What matters is that the fit sees many
combinations that a few dozen recorded series do not hold, not that any one of them is likely.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from bench_forecast import DAY, wander

from farwatch.forecasting.history import Floats

Rng = np.random.Generator


def made_up(rng: Rng, days: int) -> Floats:
    """Some days of one metric on a grid of a quarter of an hour."""
    steps = days * DAY
    noise = rng.standard_normal(steps) if rng.random() < 0.6 else rng.standard_t(2.5, steps)
    values = rng.choice([0.0, 0.1, 0.3, 1.0, 2.0]) * _rhythm(rng, steps)
    values = values + wander(
        rng, steps, rng.choice([0.5, 0.8, 0.95, 0.99, 0.999]), rng.choice([0, 0.05, 0.2, 0.5, 1])
    )
    values += rng.choice([0, 0.01, 0.05, 0.2, 0.5]) * noise
    if rng.random() < 0.25:  # deployments
        for _ in range(rng.integers(1, 5)):
            values[rng.integers(steps) :] += rng.normal(0, 1.5)
    if rng.random() < 0.12:
        values += rng.normal(0, 0.3) * np.arange(steps) / DAY
    if rng.random() < 0.12:
        values += np.cumsum(rng.normal(0, 0.1, steps)) * rng.choice([0.3, 1.0])
    values = _range(rng, values)
    size = float(np.std(values)) + 1e-3
    for chance, effect in EFFECTS:
        if rng.random() < chance:
            values = effect(rng, values, size)
    return values


def deployed(rng: Rng) -> tuple[Floats, int]:
    """Fourteen days of a steady metric whose level changes once, and a position in the day after, from where to forecast.

    Random windows hardly ever begin just after such a change, and what to do then has to be learned. Three times in four
    the new level stays, else it goes back after some hours.
    """
    steps, at = 14 * DAY, 10 * DAY
    hours = np.arange(steps) * 24 / DAY
    values = rng.choice([0.0, 0.0, 0.3, 2.0]) * np.sin(2 * np.pi * (hours - rng.uniform(0, 24)) / 24)
    values += rng.standard_normal(steps) + wander(rng, steps, 0.95, rng.choice([0.0, 0.5, 1.0]))
    begun = at - int(rng.integers(2, DAY))
    ended = steps if rng.random() < 0.75 else begun + 2 + int(rng.exponential(DAY / 3))
    values[begun:ended] += rng.choice([-1, 1, 1]) * np.exp(rng.uniform(np.log(2), np.log(100)))
    return values + rng.choice([0.0, 20.0, 200.0]), at


def _rhythm(rng: Rng, steps: int) -> Floats:
    """A day that repeats, none, a wave, office hours, a curve through some hours or one value an hour; weekends differ."""
    hour = np.arange(steps) / DAY % 1 * 24
    start = rng.uniform(0, 24)
    kind = rng.integers(5)
    day = np.zeros(steps)
    if kind == 1:
        second = rng.uniform(0, 0.6) * np.sin(4 * np.pi * (hour - rng.uniform(0, 24)) / 24)
        day = np.sin(2 * np.pi * (hour - start) / 24) + second
    elif kind == 2:
        length, ramp, since = rng.uniform(6, 14), rng.uniform(0.3, 2), (hour - start) % 24
        day = 2 * np.clip(since / ramp, 0, 1) * np.clip((length - since) / ramp, 0, 1) - 1
    elif kind == 3:
        knots = rng.normal(0, 1, rng.integers(3, 9))
        day = np.interp(hour, np.linspace(0, 24, len(knots) + 1), np.append(knots, knots[0]))
    elif kind == 4:
        day = np.resize(np.repeat(rng.normal(0, 1, 24), DAY // 24), steps)
    if rng.random() < 0.35:
        weekday = (np.arange(steps) // DAY + rng.integers(7)) % 7
        day = np.where(weekday < 2, rng.uniform(0, 0.8) * day, day)
    return day * np.exp(wander(rng, steps, 0.97, rng.choice([0.0, 0.1, 0.3])))


def _range(rng: Rng, values: Floats) -> Floats:
    """Any sign, lopsided, far from zero, or cut off at zero."""
    kind = rng.integers(4)
    if kind == 0:
        return np.exp(np.clip(rng.uniform(0.4, 1.5) * values, -8, 8))
    if kind == 1:
        return values - values.min() * rng.uniform(0.5, 1.5)
    if kind == 2:
        return np.maximum(values - np.quantile(values, rng.uniform(0, 0.6)), 0)
    return values


def _jobs(rng: Rng, values: Floats, size: float) -> Floats:
    """A job at a fixed interval, from an hour to a week, that is now and then left out or late."""
    period = int(rng.choice([4, 8, 12, 16, 24, 48, DAY, DAY, DAY, 2 * DAY, 7 * DAY]))
    late, length = int(rng.choice([0, 0, 1, 3])), int(rng.integers(1, max(2, min(24, period // 2))))
    height = size * rng.choice([1, 3, 10, 30])
    for start in range(int(rng.integers(period)), len(values), period):
        if rng.random() < 0.93:
            at = max(0, start + int(rng.integers(-late, late + 1)))
            values[at : at + length] += height * rng.uniform(0.8, 1.2)
    return values


def _bursts(rng: Rng, values: Floats, size: float) -> Floats:
    """Bursts at random, sometimes by day only, whose heights have a heavy tail."""
    at = np.flatnonzero(rng.random(len(values)) < rng.choice([0.003, 0.01, 0.03, 0.1]))
    if rng.random() < 0.4:
        at = at[rng.random(len(at)) < 0.5 + 0.5 * np.sin(2 * np.pi * at / DAY)]
    tail, longest, height = rng.choice([1.2, 2, 4]), rng.choice([0.3, 2, 8]), rng.choice([1, 4, 10])
    for start in at:
        length = 1 + int(rng.exponential(longest))
        values[start : start + length] += size * height * (rng.pareto(tail) + 0.3)
    return values


def _on_and_off(rng: Rng, values: Floats, size: float) -> Floats:
    """Work that starts and stops at any time, and hours of nearly nothing between."""
    del size
    mean, low = rng.uniform(8, 150), float(np.quantile(values, 0.05))
    at, off = 0, bool(rng.random() < 0.5)
    while at < len(values):
        end = at + 1 + int(rng.exponential(mean))
        if off:
            values[at:end] = low + 0.02 * (values[at:end] - low)
        at, off = end, not off
    return values


def _sawtooth(rng: Rng, values: Floats, size: float) -> Floats:
    """What grows until something empties it: a leak and its restarts, a log and its rotation."""
    period, unevenness = rng.uniform(0.1, 5) * DAY, rng.choice([0.0, 0.1, 0.3])
    at = 0.0
    while at < len(values):
        end = max(at + period * (1 + unevenness * rng.normal()), at + 2)
        tooth = np.arange(int(at), min(int(end), len(values)))
        values[tooth] += 4 * size * (tooth - at) / period
        at = end
    return values


def _added_up(rng: Rng, values: Floats, size: float) -> Floats:
    """A count of it all, half of the time one that wraps."""
    del size
    count = np.cumsum(np.maximum(values - values.min(), 0))
    return count % (count[-1] / rng.uniform(1.5, 10) + 1e-9) if rng.random() < 0.5 else count


def _rounded(rng: Rng, values: Floats, size: float) -> Floats:
    del size
    grain = (np.std(values) + 1e-9) * rng.choice([0.05, 0.2, 0.5, 1.0])
    return np.round(values / grain) * grain


EFFECTS: tuple[tuple[float, Callable[[Rng, Floats, float], Floats]], ...] = (
    (0.30, _jobs),
    (0.40, _bursts),
    (0.12, _on_and_off),
    (0.10, _sawtooth),
    (0.15, lambda rng, values, _: np.maximum(values - np.quantile(values, rng.uniform(0.5, 0.95)), 0)),
    (0.15, lambda rng, values, _: np.minimum(values, np.quantile(values, rng.uniform(0.6, 0.97)))),
    (0.20, _rounded),
    (0.06, _added_up),
    (0.15, lambda rng, values, _: np.convolve(values, np.ones(4) / 4, "same")),
)
"""How often something happens to a metric, and what."""
