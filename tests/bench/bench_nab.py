"""How good detection is on the Numenta Anomaly Benchmark, and how far to believe it.

``./farwatch bench nab DIR [--detector NAME …] [--copies] [--vary]``; DIR holds NAB's ``data`` and ``labels``. It prints,
for each detector, the three scores at the default threshold and at the best one, and those of a threshold that was
chosen on other series (five folds). Figures of series that constants were chosen on say little about the next ones, so
``--copies`` judges altered copies as well, and ``--vary`` the default detector with each constant 30 % larger and smaller.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from farwatch.detection import DEFAULT_THRESHOLD, calibration, novelty, registry
from infra.local.backtest_detect import read
from infra.local.nab_scoring import PROFILES, NabTotals, Windows

FloatArray = NDArray[np.float64]
FOLDS = 5
THRESHOLDS = np.arange(0.2, 0.96, 0.01)


@dataclass(frozen=True, slots=True)
class Series:
    """One file: times, values, and the times its labelled windows begin and end at."""

    times: FloatArray
    values: FloatArray
    spans: Sequence[Sequence[str]]


def load(folder: Path) -> list[Series]:
    """Return every labelled file below ``folder``/data."""
    labels = json.loads((folder / "labels" / "combined_windows.json").read_text(encoding="utf-8"))
    tables = {path.relative_to(folder / "data").as_posix(): path for path in (folder / "data").rglob("*.csv")}
    return [
        Series(table.times, table.values[:, 0], labels[name])
        for name, table in ((name, read(path)) for name, path in sorted(tables.items()))
        if name in labels
    ]


def _altered(change: Callable[[FloatArray, float, float, np.random.Generator], FloatArray]) -> Any:
    def alter(series: Series, rng: np.random.Generator) -> Series:
        low, middle, high = np.nanquantile(series.values, [0.05, 0.5, 0.95])
        spread = max(float(high - low), 1e-3 * float(np.nanstd(series.values)), 1e-9)
        return Series(series.times, change(series.values, float(middle), spread, rng), series.spans)

    return alter


def _some(keep: Callable[[int, np.random.Generator], NDArray[np.bool_]]) -> Any:
    def alter(series: Series, rng: np.random.Generator) -> Series:
        kept = keep(len(series.values), rng)
        return Series(series.times[kept], series.values[kept], series.spans)

    return alter


COPIES: dict[str, Callable[[Series, np.random.Generator], Series]] = {
    "as it is": lambda series, _: series,
    "0.5 % noise": _altered(lambda x, _, spread, rng: x + rng.normal(0, 0.005 * spread, len(x))),
    "1 % noise": _altered(lambda x, _, spread, rng: x + rng.normal(0, 0.01 * spread, len(x))),
    "2 % noise": _altered(lambda x, _, spread, rng: x + rng.normal(0, 0.02 * spread, len(x))),
    "3 % lost": _some(lambda n, rng: rng.random(n) > 0.03),
    "5 % lost": _some(lambda n, rng: rng.random(n) > 0.05),
    "begun 2 % later": _some(lambda n, _: np.arange(n) >= 0.02 * n),
    "upside down": _altered(lambda x, _, spread, rng: rng.normal(0, 0.01 * spread, len(x)) - x),
    "square root": _altered(
        lambda x, _, spread, __: np.sqrt(np.maximum(x - np.nanmin(x), 0.0) + 0.2 * spread)
    ),
    "peaks bent in": _altered(lambda x, middle, spread, _: np.arcsinh((x - middle) / (2.0 * spread))),
    "peaks bent out": _altered(
        lambda x, middle, spread, _: np.sinh(np.clip((x - middle) / (4.0 * spread), -8.0, 8.0))
    ),
}
"""Series like the given ones but not the same; the labels stay where they are in time."""

CONSTANTS: list[tuple[Any, str]] = [
    *(
        (calibration, name)
        for name in ("HALF", "HABIT", "EVIDENCE", "YOUNG", "WARM_UP", "COOL_DOWN", "HABIT_MEMORY", "PIVOT")
    ),
    *(
        (novelty, name)
        for name in ("GRAIN", "BEND", "FAST", "SLOW", "SPAN", "SEASON_RATE", "COMPARED", "STUCK", "WEIGHTS")
    ),
]


def scores(detector: Any, series: Sequence[Series]) -> list[FloatArray]:
    """Return each series' scores, all folded side by side."""
    rows = max(len(one.times) for one in series)
    times, values = np.full((2, rows, len(series)), np.nan)
    for column, one in enumerate(series):
        times[: len(one.times), column], values[: len(one.times), column] = one.times, one.values
    scored = detector.fold(detector.new_state(len(series)), times, values).score
    return [scored[: len(one.times), column] for column, one in enumerate(series)]


def judge(scored: Sequence[FloatArray], series: Sequence[Series], threshold: float) -> NabTotals:
    """Return the totals of the series at ``threshold``."""
    totals = NabTotals()
    for one, score in zip(series, scored, strict=True):
        totals.add(score, Windows.between(one.times, one.spans), threshold)
    return totals


def best(scored: Sequence[FloatArray], series: Sequence[Series]) -> float:
    """Return the threshold with the best standard score."""
    return float(max(THRESHOLDS, key=lambda threshold: judge(scored, series, threshold).score("standard")))


def held_out(scored: Sequence[FloatArray], series: Sequence[Series]) -> NabTotals:
    """Return the totals when each fold of the series is judged at the threshold that is best on the others."""
    totals = NabTotals()
    for fold in range(FOLDS):
        rest = [i for i in range(len(series)) if i % FOLDS != fold]
        threshold = best([scored[i] for i in rest], [series[i] for i in rest])
        for i in range(fold, len(series), FOLDS):
            totals.add(scored[i], Windows.between(series[i].times, series[i].spans), threshold)
    return totals


@contextmanager
def varied(module: Any, name: str, factor: float) -> Iterator[str]:
    """Set a constant to ``factor`` times its value, and what was computed from it anew; yield what it is then."""
    before = getattr(module, name)
    value = before * np.array([1.0, *[factor] * (len(before) - 1)]) if name == "WEIGHTS" else before * factor
    setattr(module, name, round(value) if isinstance(before, int) else value)
    try:
        yield f"{name} {getattr(module, name)}"
    finally:
        setattr(module, name, before)


def main(argv: Sequence[str] | None = None, say: Callable[[str], None] = print) -> None:
    """Judge and print."""
    parser = argparse.ArgumentParser(prog="farwatch bench nab", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="holds NAB's data and labels")
    parser.add_argument(
        "--detector", action="append", choices=registry.DETECTORS, help="may be repeated; default: all"
    )
    parser.add_argument("--copies", action="store_true", help="judge altered copies of the series too")
    parser.add_argument("--vary", action="store_true", help="the default detector with each constant ± 30 %%")
    options = parser.parse_args(argv)
    series = load(options.folder)
    say(f"{len(series)} series; standard / low FP / low FN")
    for name in options.detector or registry.DETECTORS:
        scored = scores(registry.get(name), series)
        threshold = best(scored, series)
        say(f"{name:17s} at {DEFAULT_THRESHOLD} {_line(judge(scored, series, DEFAULT_THRESHOLD))}")
        say(f"{'':17s} best, at {threshold:.2f} {_line(judge(scored, series, threshold))}")
        say(f"{'':17s} threshold held out {_line(held_out(scored, series))}")
        if options.copies:
            _copies(registry.get(name), series, say)
    if options.vary:
        for module, name in CONSTANTS:
            for factor in (0.7, 1.3):
                with varied(module, name, factor) as what:
                    say(f"{_line(_default(series))}  {what}")


def _default(series: Sequence[Series]) -> NabTotals:
    """Return the totals of the default detector, made anew: constants are read when it is made."""
    registry.get.cache_clear()
    return judge(scores(registry.get(), series), series, DEFAULT_THRESHOLD)


def _copies(detector: Any, series: Sequence[Series], say: Callable[[str], None]) -> None:
    totals = []
    for name, alter in COPIES.items():
        rng = np.random.default_rng(11)
        copies = [alter(one, rng) for one in series]
        totals.append(judge(scores(detector, copies), copies, DEFAULT_THRESHOLD))
        say(f"{'':17s} {name:17s} {_line(totals[-1])}")
    means = [np.mean([total.score(profile) for total in totals]) for profile in PROFILES]
    say(f"{'':17s} mean of those     {' / '.join(f'{mean:.1f}' for mean in means)}")


def _line(totals: NabTotals) -> str:
    return " / ".join(f"{totals.score(profile):.1f}" for profile in PROFILES)


if __name__ == "__main__":
    main(sys.argv[1:])
