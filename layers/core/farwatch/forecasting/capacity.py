"""When a bounded metric runs out: "full in 31 h, between 26 and 44 h, at the last day's rate".

Ten guesses of the coming growth are made from the growth of the past week: its mean over the last week,
three days, day and half day; the mean day, with old days fading at three speeds; the mean day scaled to the
pace of the last day and of the last six hours; and the last day again. Each starts from the last value, and
says when the threshold is crossed. What to believe differs from series to series – a log volume that fills by night needs
the daily shape, a steady leak the long mean, a runaway job the last hours – so each guess is tried on the
past: from twelve origins, half a day apart, it predicts the growth of the next day, and is off by
``|log(predicted / actual)|``. The answer is the median of the guesses weighted by ``exp(-mean error /
0.08)``.

The weighted mean error also says how far to trust the answer: the 80 % range is ``median * exp(-0.03 - 1.8
error)`` to ``median * exp(0.03 + 1.4 error)``. These constants are the 10 % and 90 % quantile regression
(Koenker & Bassett, *Regression quantiles*, Econometrica 1978) of the true log time on that error, over the
growth of some fifty real series; ``tests/bench/bench_capacity.py`` fits them, and says how they do on series
left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from farwatch.forecasting.errors import ForecastError
from farwatch.forecasting.history import DAY_S, LARGEST, Floats, History

NEVER_S = 366 * DAY_S
_ORIGINS = 12
_WORST = 2.0  # a guess off by more than e² is simply wrong


@dataclass(frozen=True, slots=True)
class Constants:
    """What was fitted: how fast trust falls with a guess's error, and the range around the answer.

    The range reaches from ``median * exp(low[0] + low[1] * error)`` to ``median * exp(high[0] + high[1] * error)``.
    """

    temperature: float
    low: tuple[float, float]
    high: tuple[float, float]


FITTED = Constants(temperature=0.08, low=(-0.03, -1.8), high=(0.03, 1.4))


@dataclass(frozen=True, slots=True)
class Capacity:
    """Time from ``now`` until a metric reaches a threshold, in seconds; None means not within a year.

    ``median_s`` is the best estimate; with probability 80 % the time lies between ``low_s`` and ``high_s``. A
    threshold that is reached already gives zero for all three. ``current`` is the last known value,
    ``per_day`` the signed rate of change the estimate rests on (units per day) and ``observed_s`` the span it
    was taken from.
    """

    threshold: float
    current: float
    per_day: float
    observed_s: float
    median_s: float | None
    low_s: float | None
    high_s: float | None


def time_to_threshold(
    history: History,
    threshold: float,
    now: float,
    *,
    rising: bool = True,
    constants: Constants = FITTED,
) -> Capacity:
    """When ``history`` reaches ``threshold``, from above if not ``rising``; the module says how.

    ``now`` (epoch seconds) may be later than the last value: the time since is taken off. Needs a day of
    history, else `InsufficientHistory`; a threshold that is not a number is a `ForecastError`.
    """
    if not abs(threshold) < LARGEST:
        raise ForecastError("the threshold is not a number")
    history.require("capacity", DAY_S)
    sign = 1.0 if rising else -1.0
    # What is not known yet has not stood still: the level ends with the last value, and the time since is late.
    heard = int(np.flatnonzero(np.isfinite(history.values))[-1])
    level = history.filled()[: heard + 1] * sign
    growth = _growth(level, history.day)
    room = threshold * sign - float(level[-1])
    late = max(now - float(history.times[heard]), 0.0)
    guesses = _guesses(growth, history.day)
    errors = _errors(growth, history.day)
    weights = np.exp(-(errors - errors.min()) / constants.temperature)
    weights /= weights.sum()
    times = np.array([_crossing(day, room) for day in guesses]) * history.step
    middle = _weighted_quantile(times, weights, 0.5)
    error = float(weights @ errors)
    low = middle * np.exp(constants.low[0] + constants.low[1] * error)
    high = middle * np.exp(constants.high[0] + constants.high[1] * error)
    if not np.isfinite(middle):
        low = _weighted_quantile(times, weights, 0.1)
    rate = _weighted_quantile(guesses.sum(axis=1), weights, 0.5)
    if room > 0 and 0 < middle < np.inf:
        rate = room / middle * DAY_S
    reached = room <= 0
    return Capacity(
        threshold=threshold,
        current=float(level[-1]) * sign,
        per_day=rate * sign,
        observed_s=(len(level) - 1) * history.step,
        median_s=0.0 if reached else _seconds(middle, late),
        low_s=0.0 if reached else _seconds(low, late),
        high_s=0.0 if reached else _seconds(high, late),
    )


def _seconds(time: float, late: float) -> float | None:
    return float(max(time - late, 0.0)) if time - late <= NEVER_S else None


def _growth(level: Floats, day: int) -> Floats:
    """Growth per step. A fall as deep as a day's usual growth is a cleanup; rare ones will not fill the disk.

    Up to two such falls in the history are replaced by the median growth; more of them are a habit (a nightly
    rotation) and stay.
    """
    growth = np.diff(level)
    usual = float(np.median(growth))
    gained = float(growth[growth > 0].sum()) / len(growth) * day
    cleanups = growth < -max(
        gained, 20 * float(np.median(np.abs(growth))), 1e-12 * float(np.abs(level).max())
    )
    if cleanups.sum() <= 2:
        growth[cleanups] = usual
    return growth


def _guesses(growth: Floats, day: int) -> Floats:
    """Ten guesses of the growth in each step of the coming day, (10, day), which then repeats."""
    n = len(growth)

    def mean(days: float) -> Floats:
        return np.full(day, growth[-max(int(days * day), 1) :].mean())

    guesses = [mean(7), mean(3), mean(1), mean(0.5)]
    if n < day:
        return np.array(guesses + [mean(7)] * 6)
    table = growth[-(n // day * day) :].reshape(-1, day)
    ages = np.arange(len(table))[::-1]
    for fading in (0.0, 0.3, 0.8):
        weights = np.exp(-fading * ages)
        guesses.append(weights @ table / weights.sum())
    shape = table.mean(axis=0)
    for days in (1.0, 0.25):
        last = growth[-max(int(days * day), 1) :]
        usual = float(shape[-len(last) :].sum())
        pace = float(last.sum()) / usual if usual > 0 else 1.0
        guesses.append(shape * np.clip(pace, 0.1, 10.0))
    guesses.append(table[-1])
    return np.array(guesses)


def _errors(growth: Floats, day: int) -> Floats:
    """How far each guess was off on the past, as a mean absolute logarithm (10,); equal without a past."""
    smallest = 0.02 * float(np.abs(growth).mean()) * day
    found = []
    for origin in range(len(growth) - day // 2, day - 1, -max(day // 2, 1)):
        actual = float(growth[origin : origin + day].sum())
        ahead = min(day, len(growth) - origin)
        said = _guesses(growth[:origin], day)[:, :ahead].sum(axis=1)
        if actual <= 0:
            found.append(np.where(said <= 0, 0.0, _WORST))
        else:
            ratio = (np.maximum(said, 0.0) + smallest) / (actual + smallest)
            found.append(np.abs(np.log(np.clip(ratio, np.exp(-_WORST), np.exp(_WORST)))))
        if len(found) == _ORIGINS:
            break
    return np.mean(found, axis=0) if found else np.full(10, 0.25)


def _crossing(day: Floats, room: float) -> float:
    """Steps until growth that repeats ``day`` after day first adds up to ``room``; infinity for never."""
    path = np.cumsum(day)
    total, peak = float(path[-1]), float(path.max())
    days = 0.0
    if peak < room:
        if total <= 0:
            return np.inf
        days = float(np.ceil((room - peak) / total))
    missing = room - days * total
    at = int(np.argmax(path >= missing)) if (path >= missing).any() else len(day) - 1
    before = float(path[at - 1]) if at else 0.0
    short = max(missing - before, 0.0)
    # Compared before it is divided: a growth may be too small to divide by.
    part = short / float(day[at]) if short < day[at] else 1.0
    return days * len(day) + at + part


def _weighted_quantile(values: Floats, weights: Floats, level: float) -> float:
    order = np.argsort(values)
    return float(values[order][int(np.argmax(np.cumsum(weights[order]) >= level - 1e-12))])
