"""How near the time to a threshold comes on recorded series, beside the usual straight lines.

``python tests/bench/bench_capacity.py DIR``, or ``./farwatch bench capacity DIR``; DIR holds ``<series>.csv`` files as
`farwatch backtest forecast` reads them. Every series that is never negative is taken as a write rate (a counter by its
growth), added up, and asked from eight origins after a week when it reaches a level that it did reach half a day to
seven days later. Two sets are reported: the cases in which the days of the week before wrote alike (their totals vary
by less than a fifth), which is what a disk that fills looks like, and all.

The constants of the method were fitted to such cases, so they are fitted again to all series but those of a group, five
times, and the row "series left out" is what to expect elsewhere.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from farwatch.forecasting.capacity import FITTED, Capacity, Constants, time_to_threshold
from farwatch.forecasting.history import MAX_DAYS, Floats, History
from infra.local.backtest_forecast import Recording, read_series

ORIGINS, GROUPS = 8, 5
SOONEST_DAYS, LATEST_DAYS = 0.5, 7.0
STEADY = 0.2
# The range with these is the median times exp(± error), from which the error can be read.
PLAIN = Constants(FITTED.temperature, (0.0, -1.0), (0.0, 1.0))


@dataclass(frozen=True, slots=True)
class Case:
    """A week of a level, the threshold, and when it was reached (in steps)."""

    series: str
    history: History
    threshold: float
    reached: int
    steady: bool

    def ask(self, constants: Constants) -> Capacity:
        """What the method says."""
        return time_to_threshold(
            self.history, self.threshold, self.history.end - self.history.step, constants=constants
        )


def cases(recordings: Sequence[Recording], rng: np.random.Generator) -> Iterator[Case]:
    """Every case of every series that can be a write rate."""
    for recording in recordings:
        day = round(86_400 / recording.step)
        known = np.flatnonzero(np.isfinite(recording.whole))
        rate = np.interp(np.arange(len(recording.whole)), known, recording.whole[known])
        if recording.name.startswith("counter"):
            rate = np.maximum(np.diff(rate), 0.0)
        first, last = MAX_DAYS * day, len(rate) - 2 * day
        if rate.min() < 0 or last <= first:
            continue
        level = np.concatenate([[0.0], np.cumsum(rate)])
        for at in np.linspace(first, last, ORIGINS).astype(int):
            latest = min(LATEST_DAYS * day, len(rate) - at)
            ahead = int(np.exp(rng.uniform(np.log(SOONEST_DAYS * day), np.log(latest))))
            if level[at + ahead] <= level[at]:
                continue  # nothing was written
            reached = int(np.argmax(level[at:] >= level[at + ahead]))
            days = rate[at - first : at].reshape(-1, day).sum(axis=1)
            steady = float(days.std()) < STEADY * float(days.mean())
            week = History(0.0, recording.step, level[at - first : at + 1])
            yield Case(recording.name, week, float(level[at + ahead]), reached, steady)


def lines(case: Case) -> dict[str, float]:
    """Steps to the threshold by the usual straight lines; infinity for never."""
    level, day = case.history.values, case.history.day
    room = case.threshold - float(level[-1])
    at = np.arange(len(level)) - (len(level) - 1.0)
    slope, height = np.polyfit(at, level, 1)
    hours = level[:: -max(day // 24, 1)][::-1]
    one, two = np.triu_indices(len(hours), 1)
    slopes = {
        "rate of the last day": (level[-1] - level[-1 - day]) / day,
        "first to last value": (level[-1] - level[0]) / (len(level) - 1),
        "least squares through the last value": at @ (level - level[-1]) / (at @ at),
        "Theil-Sen on hours": np.median((hours[two] - hours[one]) / (two - one)) / max(day // 24, 1),
    }
    found = {name: room / each if each > 0 else np.inf for name, each in slopes.items()}
    return found | {"least squares": (case.threshold - height) / slope if slope > 0 else np.inf}


def refit(found: Sequence[Case]) -> Constants:
    """The constants that suit these cases best: least median error, then the 10 % and 90 % quantile lines."""
    reached = np.array([case.reached * case.history.step for case in found])
    best: tuple[float, Constants, Floats, Floats] | None = None
    for temperature in (0.02, 0.03, 0.05, 0.08, 0.12):
        answers = [case.ask(replace(PLAIN, temperature=temperature)) for case in found]
        median = np.array([answer.median_s or np.inf for answer in answers])
        high = np.array([answer.high_s or np.inf for answer in answers])
        off = float(np.median(np.abs(median / reached - 1)))
        if best is None or off < best[0]:
            sure = np.isfinite(high)
            error = np.log(high[sure] / median[sure])
            best = off, replace(PLAIN, temperature=temperature), error, np.log(reached[sure] / median[sure])
    if best is None:
        raise ValueError("there is nothing to fit to")
    _, constants, error, true = best
    fitted = []
    for level in (0.1, 0.9):
        tried = [
            (a, b)
            for a in np.linspace(-0.05, 0.05, 11)
            for b in np.linspace(0.5, 3.0, 26) * (1 if level > 0.5 else -1)
        ]
        losses = []
        for a, b in tried:
            miss = true - (a + b * error)
            losses.append(float(np.mean(np.maximum(level * miss, (level - 1) * miss))))
        a, b = tried[int(np.argmin(losses))]
        fitted.append((float(a), float(b)))
    return replace(constants, low=fitted[0], high=fitted[1])


def _errors(found: Sequence[Case], constants: Sequence[Constants]) -> tuple[Floats, Floats]:
    """Relative error, and whether the range holds, of each case with its constants."""
    off, inside = [], []
    for case, each in zip(found, constants, strict=True):
        answer, true = case.ask(each), case.reached * case.history.step
        median, low, high = (
            np.inf if s is None else s for s in (answer.median_s, answer.low_s, answer.high_s)
        )
        off.append(abs(median / true - 1))
        inside.append(low <= true <= high)
    return np.array(off), np.array(inside)


def main(argv: Sequence[str] | None = None) -> int:
    """Print both tables; 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", metavar="DIR", type=Path)
    parser.add_argument("--seed", type=int, default=3)
    args = parser.parse_args(argv)
    rng = np.random.default_rng(args.seed)
    found = list(cases([read_series(path) for path in sorted(args.folder.glob("*.csv"))], rng))
    names = sorted({case.series for case in found})
    group = {
        name: int(place) % GROUPS for name, place in zip(names, rng.permutation(len(names)), strict=True)
    }
    elsewhere = [refit([case for case in found if group[case.series] != out]) for out in range(GROUPS)]
    for title, chosen in (
        ("days that write alike", [case for case in found if case.steady]),
        ("all", found),
    ):
        print(f"{title}: {len(chosen)} cases of {len({case.series for case in chosen})} series")
        began = time.process_time()
        shipped = _errors(chosen, [FITTED] * len(chosen))
        spent = 1000 * (time.process_time() - began) / len(chosen)
        left_out = _errors(chosen, [elsewhere[group[case.series]] for case in chosen])
        for name, (off, inside) in (("as shipped", shipped), ("series left out", left_out)):
            print(f"  {name:38} {100 * np.median(off):5.1f} %   80 % range holds {100 * inside.mean():.0f} %")
        straight = [lines(case) for case in chosen]
        for name in straight[0]:
            apart = [abs(line[name] / case.reached - 1) for line, case in zip(straight, chosen, strict=True)]
            print(f"  {name:38} {100 * np.median(apart):5.1f} %")
        print(f"  {spent:.1f} ms CPU each\n")
    print("fitted without each group:", *elsewhere, sep="\n  ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
