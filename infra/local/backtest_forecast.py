"""`farwatch backtest forecast`: forecast windows of recorded series, and say how good the forecasts were.

``DIR`` holds ``<series>.csv`` files with the columns ``timestamp,value`` on an even grid; a timestamp is ISO 8601, or
the time since 1970 in seconds, milli-, micro- or nanoseconds. With ``--windows`` (a CSV of ``series,origin``; the origin
is the first step to forecast) exactly those windows are forecast; without, rolling origins are picked: one a day from
the eighth day on, as long as the whole horizon was recorded. The forecasts go to ``--out`` as
``series,origin,timestamp,q025,q10,q50,q90,q975``; the figures go to standard output.
"""

from __future__ import annotations

import argparse
import csv
import math
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from farwatch.forecasting import DEFAULT, Forecast, ForecastError, History, get, names
from farwatch.forecasting.accuracy import pinball
from farwatch.forecasting.history import MAX_DAYS, Floats
from farwatch.forecasting.seasonal_naive import yesterday_with_normal_errors
from infra.local.timestamps import seconds_since_1970, units_per_second

COLUMNS = ("q025", "q10", "q50", "q90", "q975")
_HORIZON = re.compile(r"(\d+(?:\.\d+)?)\s*([mhd])")
_UNIT_S = {"m": 60.0, "h": 3600.0, "d": 86_400.0}


class BacktestError(Exception):
    """The input cannot be used; the message says which file and why."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One series as read: its name, the text of each timestamp, and the values with their grid."""

    name: str
    stamps: list[str]
    whole: Floats
    start: float
    step: float

    def history(self, at: int) -> History:
        """The seven days before position ``at``; what was not recorded of them is a hole."""
        first = max(at - round(MAX_DAYS * 86_400 / self.step), 0)
        values = np.full(max(at - first, 0), np.nan)
        recorded = self.whole[first:at]
        values[: len(recorded)] = recorded
        return History(self.start + first * self.step, self.step, values)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0, or 1 when every window was refused, or 2 for input it cannot use."""
    parser = argparse.ArgumentParser(prog="farwatch backtest forecast", description=__doc__)
    parser.add_argument("folder", metavar="DIR", type=Path, help="folder with <series>.csv (timestamp,value)")
    parser.add_argument("--windows", type=Path, help="CSV with series,origin: the windows to forecast")
    parser.add_argument("--horizon", default="48h", help="how far to forecast: 90m, 48h, 2d (default 48h)")
    parser.add_argument("--out", type=Path, help="write the forecasts to this CSV")
    parser.add_argument("--model", default=DEFAULT, choices=names(), help=f"default: {DEFAULT}")
    args = parser.parse_args(argv)
    try:
        return _run(args.folder, args.windows, _seconds(args.horizon), args.out, args.model)
    except (BacktestError, ForecastError, OSError) as error:
        print(f"farwatch backtest forecast: {error}", file=sys.stderr)
        return 2


def _run(folder: Path, windows: Path | None, horizon: float, out: Path | None, model: str) -> int:
    recordings = _Recordings(folder)
    chosen = _read_windows(windows) if windows else _rolling(recordings, horizon)
    forecaster, scores, refused, spent = get(model), [], 0, 0.0
    rows: list[tuple[str, ...]] = []
    for name, origin in chosen:
        recording = recordings[name]
        at = _position(recording, origin)
        steps = max(round(horizon / recording.step), 1)
        began = time.process_time()
        try:
            forecast = forecaster.forecast(recording.history(at), steps)
        except ForecastError as error:
            refused += 1
            print(f"{name} from {origin}: {error}", file=sys.stderr)
            continue
        spent += time.process_time() - began
        if out:
            rows.extend(_rows(recording, origin, at, forecast))
        judged = score(recording, at, forecast)
        if judged is not None:
            scores.append(judged)
    if out:
        with out.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("series", "origin", "timestamp", *COLUMNS))
            writer.writerows(rows)
    made = len(chosen) - refused
    print(f"{model}: {made} windows of {horizon / 3600:g} h, {1000 * spent / max(made, 1):.1f} ms CPU each")
    if refused:
        print(f"refused   {refused}")
    for line in figures(scores):
        print(line)
    return 0 if made else 1


def _seconds(text: str) -> float:
    match = _HORIZON.fullmatch(text.strip().lower())
    seconds = float(match[1]) * _UNIT_S[match[2]] if match else 0.0
    if not 0 < seconds < math.inf:
        raise BacktestError(f"--horizon {text!r} is not a time such as 48h, 90m or 2d")
    return seconds


class _Recordings:
    """The series of a folder, read when first asked for."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise BacktestError(f"{folder} is not a folder")
        self.folder = folder
        self._read: dict[str, Recording] = {}

    def __getitem__(self, name: str) -> Recording:
        if name not in self._read:
            path = self.folder / f"{name}.csv"
            if Path(name).name != name or not path.is_file():
                raise BacktestError(f"there is no series {name!r} in {self.folder}")
            self._read[name] = read_series(path)
        return self._read[name]

    def names(self) -> list[str]:
        """Every series of the folder, sorted."""
        found = sorted(path.stem for path in self.folder.glob("*.csv"))
        if not found:
            raise BacktestError(f"{self.folder} holds no .csv files")
        return found


def read_series(path: Path) -> Recording:
    """Read ``timestamp,value`` on an even grid; an empty or unreadable value is a hole, a missing row too."""
    pairs = _read(path, "timestamp", "value")
    if len(pairs) < 2:
        raise BacktestError(f"{path} has fewer than two rows")
    times = np.array([_epoch(stamp, path) for stamp, _ in pairs])
    gaps = np.diff(times)
    if (gaps <= 0).any():
        raise BacktestError(
            f"{path}: the timestamps do not rise at {pairs[int(np.argmax(gaps <= 0)) + 1][0]}"
        )
    step = float(np.median(gaps))
    places = np.round((times - times[0]) / step).astype(np.int64)
    if np.abs(times - times[0] - places * step).max() > step / 10 or (np.diff(places) <= 0).any():
        raise BacktestError(f"{path} is not on an even grid of {step:g} s")
    whole = np.full(int(places[-1]) + 1, np.nan)
    whole[places] = [_number(value) for _, value in pairs]
    stamps = [""] * len(whole)
    for place, (stamp, _) in zip(places, pairs, strict=True):
        stamps[place] = stamp
    return Recording(path.stem, stamps, whole, float(times[0]), step)


def _read(path: Path, one: str, two: str) -> list[tuple[str, str]]:
    """The cells of two columns, empty where a row ends early."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            if not {one, two} <= set(reader.fieldnames or ()):
                raise BacktestError(f"{path} has no columns {one} and {two}")
            return [(row[one], row[two]) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise BacktestError(f"{path} is no CSV file in UTF-8: {error}") from None


def _epoch(stamp: str, path: Path) -> float:
    try:
        return seconds_since_1970(stamp)
    except ValueError:
        raise BacktestError(f"{path}: {stamp!r} is not a timestamp") from None


def _number(text: str) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def _read_windows(path: Path) -> list[tuple[str, str]]:
    return _read(path, "series", "origin")


def _rolling(recordings: _Recordings, horizon: float) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name in recordings.names():
        recording = recordings[name]
        day, steps = round(86_400 / recording.step), round(horizon / recording.step)
        origins = range(max(MAX_DAYS * day, 1), len(recording.whole) - steps + 1, max(day, 1))
        found.extend((name, _stamp(recording, at)) for at in origins)
    if not found:
        raise BacktestError(
            f"no series is longer than {MAX_DAYS} days and the horizon of {horizon / 3600:g} h"
        )
    return found


def _position(recording: Recording, origin: str) -> int:
    moment = _epoch(origin, Path(recording.name))
    at = round((moment - recording.start) / recording.step)
    if abs(recording.start + at * recording.step - moment) > recording.step / 10:
        raise BacktestError(f"{recording.name}: the origin {origin} is not on the grid of its values")
    return at


def _stamp(recording: Recording, at: int) -> str:
    """The text of the timestamp at a position, written as the file writes its own."""
    if at < len(recording.stamps) and recording.stamps[at]:
        return recording.stamps[at]
    like, seconds = recording.stamps[0].strip(), recording.start + at * recording.step
    per_second = units_per_second(like)
    if per_second is not None:
        return f"{seconds * per_second:.0f}"
    zone = datetime.fromisoformat(like).tzinfo
    moment = datetime.fromtimestamp(seconds, zone or UTC).replace(tzinfo=zone)
    text = moment.isoformat(sep="T" if "T" in like else " ")
    return text.replace("+00:00", "Z") if like.endswith("Z") else text


def _rows(recording: Recording, origin: str, at: int, forecast: Forecast) -> Iterator[tuple[str, ...]]:
    for ahead, quantiles in enumerate(forecast.quantiles):
        yield (
            recording.name,
            origin,
            _stamp(recording, at + ahead),
            *(f"{quantile:.9g}" for quantile in quantiles),
        )


def score(
    recording: Recording, at: int, forecast: Forecast
) -> tuple[float, float, float, float, float] | None:
    """MASE, MAE and quantile loss relative to yesterday again, and the shares inside the intervals.

    None where there is nothing to compare with: no value came, or the history is shorter than a day.
    """
    past = recording.history(at)
    actual = recording.whole[at : at + len(forecast.times)]
    known = np.isfinite(actual)
    if not known.any() or len(past.values) <= past.day:
        return None
    ours = forecast.quantiles[: len(actual)][known]
    truth = actual[known]
    naive = yesterday_with_normal_errors(past, len(forecast.times))[: len(actual)][known]
    filled = past.filled()
    scale = float(np.mean(np.abs(filled[past.day :] - filled[: -past.day])))
    scale += 1e-9 * (1 + float(np.abs(filled).max()))
    floor = 1e-3 * scale
    mae, naive_mae = (float(np.mean(np.abs(truth - quantiles[:, 2]))) for quantiles in (ours, naive))
    loss, naive_loss = pinball(truth, ours), pinball(truth, naive)
    return (
        mae / scale,
        (mae + floor) / (naive_mae + floor),
        (loss + floor) / (naive_loss + floor),
        float(np.mean((truth >= ours[:, 1]) & (truth <= ours[:, 3]))),
        float(np.mean((truth >= ours[:, 0]) & (truth <= ours[:, 4]))),
    )


def figures(scores: Sequence[tuple[float, ...]]) -> Iterator[str]:
    """The lines of a report on `score` of many windows: medians, geometric means and mean coverage."""
    if not scores:
        yield "nothing to compare the forecasts with"
        return
    table = np.array(scores)
    yield f"MASE      {np.median(table[:, 0]):.4f}"
    yield f"relMAE    {np.exp(np.mean(np.log(table[:, 1]))):.4f}   (1 is yesterday again)"
    yield f"relPL     {np.exp(np.mean(np.log(table[:, 2]))):.4f}"
    yield f"cov80     {np.mean(table[:, 3]):.4f}"
    yield f"cov95     {np.mean(table[:, 4]):.4f}"


if __name__ == "__main__":
    sys.exit(main())
