"""The windows the default forecasting model is fitted to: recorded series, variants of them, and made-up ones.

A window is a week and the two days after, with the candidates, trial losses and traits the model makes of the week.
"""

from __future__ import annotations

import csv
import pickle
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from bench_forecast import DAY
from made_up_metrics import deployed, made_up

from farwatch.forecasting.accuracy import pinball
from farwatch.forecasting.default import evidence
from farwatch.forecasting.history import MAX_DAYS, Floats, History
from farwatch.forecasting.seasonal_naive import yesterday_with_normal_errors
from farwatch.forecasting.trial import lead_class
from infra.local.backtest_forecast import Recording

STEPS = 192  # of a window: two days of quarters of an hour; coarser series repeat theirs
THIN = 2  # of those, one in so many is fitted
MADE_UP, DEPLOYED = 500, 500


@dataclass(frozen=True, slots=True)
class Window:
    """One week and what followed: the series it comes from, and all a fit needs, in units of ``unit``.

    ``kind`` is "recorded", "variant", "made up" or "asked": a window to report on and not to fit.
    """

    sources: frozenset[str]
    weight: float
    kind: str
    made: Floats
    losses: Floats
    inputs: Floats
    classes: Floats
    actual: Floats
    naive: Floats

    def thinned(self) -> Window:
        """The same window with one step in `THIN`."""
        every = slice(THIN // 2, None, THIN)
        return replace(
            self,
            made=self.made[every],
            inputs=self.inputs[every],
            classes=self.classes[every],
            actual=self.actual[every],
        )


def window(
    values: Floats,
    at: int,
    day: int,
    sources: frozenset[str],
    weight: float,
    days: float,
    kind: str,
) -> Window | None:
    """The window with its origin at position ``at`` and ``days`` of history; None if too much is missing."""
    whole = History(0.0, 86_400 / day, values[max(at - MAX_DAYS * day, 0) : at])
    history = History(0.0, 86_400 / day, whole.values[-round(days * day) :])
    actual = values[at : at + 2 * day]
    known = np.isfinite(actual)
    if known[:day].mean() < 0.5 or known[day:].mean() < 0.5 or np.isfinite(history.values).mean() < 0.8:
        return None
    past = history.filled()
    filled = whole.filled()
    unit = float(np.mean(np.abs(filled[day:] - filled[:-day]))) + 1e-9 * (1 + float(np.abs(filled).max()))
    largest = float(np.abs(past).max())
    if largest == 0:
        return None  # the model does not ask the judge either
    made, losses, inputs = evidence(past / largest, np.isfinite(history.values), day, 2 * day)
    naive = yesterday_with_normal_errors(whole, 2 * day)
    yardsticks = []
    for end in (day, 2 * day):
        seen, said = actual[:end][known[:end]], naive[:end][known[:end]]
        yardsticks.append([float(np.mean(np.abs(seen - said[:, 2]))), pinball(seen, said)])
    take = np.arange(STEPS) * 2 * day // STEPS
    centre = float(np.median(past))
    return Window(
        sources,
        weight,
        kind,
        ((made[:, take].T * largest - centre) / unit).astype(np.float32),
        losses.astype(np.float32),
        inputs[take].astype(np.float32),
        lead_class(day, 2 * day)[take],
        ((actual[take] - centre) / unit).astype(np.float32),
        np.array(yardsticks, dtype=np.float32) / unit,
    )


def unit_range(values: Floats) -> Floats:
    """A series, its holes bridged, moved and scaled to lie mostly in [0, 1]."""
    known = np.flatnonzero(np.isfinite(values))
    values = np.interp(np.arange(len(values)), known, values[known])
    low, high = np.quantile(values, [0.0, 0.99])
    return np.asarray((values - low) / (high - low + 1e-9 * (1 + abs(high))))


def variant(
    name: str, pool: dict[str, tuple[Floats, int]], rng: np.random.Generator
) -> tuple[Floats, int, set[str]]:
    """A series that might have been: ``name`` bent, mixed, clipped, inverted, made noisy, counted or averaged."""
    values, day = pool[name]
    made, sources = unit_range(values), {name}
    if rng.random() < 0.35:
        made = np.maximum(made, 0) ** rng.choice([0.4, 0.6, 1.6, 2.2])
    other = str(rng.choice([other for other in pool if other != name]))
    if rng.random() < 0.45 and pool[other][1] == day:
        second = np.roll(unit_range(pool[other][0]), rng.integers(day))
        size, share = min(len(made), len(second)), rng.uniform(0.15, 0.85)
        made = (1 - share) * made[:size] + share * second[:size]
        sources.add(other)
    if rng.random() < 0.2:
        made = np.minimum(made, np.quantile(made, rng.uniform(0.5, 0.95)))
    if rng.random() < 0.2:
        made = np.maximum(made, np.quantile(made, rng.uniform(0.1, 0.8)))
    if rng.random() < 0.25:
        made = made.max() - made
    if rng.random() < 0.25:
        made = made * np.exp(rng.normal(0, rng.uniform(0.02, 0.3), len(made)))
    if rng.random() < 0.15:
        made = np.round(made * rng.choice([10, 30, 100]))
    if rng.random() < 0.25 and day == DAY:
        made, day = made[: len(made) // 4 * 4].reshape(-1, 4).mean(axis=1), day // 4
    return made, day, sources


Work = tuple[Floats, int, int, frozenset[str], float, float, str]
"""The arguments of `window`."""


def work(pool: dict[str, tuple[Floats, int]], variants: int, rng: np.random.Generator) -> Iterator[Work]:
    """Windows of every series four times a day or thereabouts, of its variants, and of made-up series.

    Real series weigh one each; all variants together weigh 1.2 times as much, the made-up ones 0.95 times.
    """
    share = 1.2 / (variants * 10)
    for name, (values, day) in pool.items():
        last = len(values) - 2 * day
        origins = range(MAX_DAYS * day, last + 1, max(min(day // 4, (last - MAX_DAYS * day) // 24), 1))
        for at in origins:
            yield values, at, day, frozenset({name}), 1 / len(origins), MAX_DAYS, "recorded"
        for _ in range(variants):
            made, its_day, sources = variant(name, pool, rng)
            yield from _random(made, its_day, frozenset(sources), share, 10, "variant", rng)
    share = 0.8 * len(pool) / (MADE_UP * 8)
    for _ in range(MADE_UP):
        values, day = made_up(rng, 14), DAY
        if rng.random() < 0.2:
            values, day = values.reshape(-1, 4).mean(axis=1), DAY // 4
        yield from _random(values, day, frozenset(), share, 8, "made up", rng)
    for _ in range(DEPLOYED):
        values, at = deployed(rng)
        yield values, at, DAY, frozenset(), 0.15 * len(pool) / DEPLOYED, MAX_DAYS, "made up"


def _random(
    values: Floats,
    day: int,
    sources: frozenset[str],
    weight: float,
    count: int,
    kind: str,
    rng: np.random.Generator,
) -> Iterator[Work]:
    days = rng.uniform(1, MAX_DAYS - 1) if rng.random() < 0.2 else MAX_DAYS
    if len(values) <= (MAX_DAYS + 2) * day:
        return
    for at in rng.integers(MAX_DAYS * day, len(values) - 2 * day + 1, count):
        yield values, int(at), day, sources, weight, days, kind


def asked(recordings: dict[str, Recording], path: Path) -> Iterator[Work]:
    """The windows a file names."""
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            recording = recordings[row["series"]]
            at, day = recording.stamps.index(row["origin"]), round(86_400 / recording.step)
            yield recording.whole, at, day, frozenset({recording.name}), 1.0, MAX_DAYS, "asked"


def done(task: Work) -> Window | None:
    """The window of this work; of one that is only fitted, the thinned one."""
    found = window(*task)
    return found.thinned() if found is not None and task[-1] in {"variant", "made up"} else found


def prepared(tasks: Sequence[Work], processes: int, cache: Path | None) -> list[Window]:
    """The windows of some work, or those that an earlier run with the same arguments kept."""
    if cache is not None and cache.is_file():
        with cache.open("rb") as file:
            return list(pickle.load(file))
    with ProcessPoolExecutor(processes) as pool:
        found = [one for one in pool.map(done, tasks, chunksize=50) if one is not None]
    if cache is not None:
        with cache.open("wb") as file:
            pickle.dump(found, file)
    return found
