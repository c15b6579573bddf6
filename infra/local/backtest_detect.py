"""``farwatch backtest detect``: run a detector over CSV files as if their rows had arrived one by one."""

import argparse
import csv
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from farwatch.detection import DEFAULT_THRESHOLD, registry
from farwatch.detection.host import HostDetector
from infra.local.nab_scoring import PROFILES, NabTotals, Windows
from infra.local.timestamps import seconds_since_1970

FloatArray = NDArray[np.float64]

BLOCK_COLUMNS = 256
"""Columns scored side by side: files are independent, and many columns at once cost little more than one."""


class UnreadableError(ValueError):
    """A file cannot be scored; the message names the file and the line."""


@dataclass(frozen=True, slots=True)
class Table:
    """One CSV file: texts as they were, and numbers."""

    path: Path
    stamps: list[str]
    cells: list[list[str]]
    columns: list[str]
    times: FloatArray
    values: FloatArray


def read(path: Path) -> Table:
    """Return the file's timestamps and value columns; raise ``UnreadableError`` naming the line that is
    wrong.

    The first column is the time (ISO 8601, with a space or a T, or the time since 1970 in seconds, milli-, micro-
    or nanoseconds), a column called ``label`` or ``anomaly_score``, or not called anything, is not a value. An empty
    cell or ``NaN`` is a sample that was not taken. Without a header the columns are ``value``, or ``value_1`` and so on.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return _parse(path, csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UnreadableError(f"{path}: {error}") from error


def _parse(path: Path, rows: Iterator[list[str]]) -> Table:
    first = next(rows, [])
    if len(first) < 2:
        raise UnreadableError(
            f"{path}:1: expected a header with a time column and at least one value column, separated by commas"
        )
    header, numbered = first, enumerate(rows, start=2)
    if _is_sample(first):
        several = len(first) > 2
        header = ["timestamp", *(f"value_{i}" if several else "value" for i in range(1, len(first)))]
        numbered = enumerate(chain([first], rows), start=1)
    keep = [i for i, name in enumerate(header) if i and _is_value(name.strip().lower())]
    if not keep:
        raise UnreadableError(f"{path}:1: no value column among {', '.join(header)}")
    stamps: list[str] = []
    cells: list[list[str]] = []
    times: list[float] = []
    values: list[list[float]] = []
    for line, row in numbered:
        if not any(cell.strip() for cell in row):
            continue
        if len(row) < len(header):
            raise UnreadableError(f"{path}:{line}: {len(row)} cells under a header of {len(header)}")
        stamps.append(row[0])
        times.append(_seconds(path, line, row[0]))
        cells.append([row[i] for i in keep])
        values.append([_number(path, line, row[i]) for i in keep])
    names = [header[i] for i in keep]
    return Table(path, stamps, cells, names, np.array(times), np.array(values).reshape(len(times), len(keep)))


def _is_value(name: str) -> bool:
    return name not in {"", "label", "anomaly_score"} and not name.startswith("anomaly_score.")


def _is_sample(row: Sequence[str]) -> bool:
    """Return whether what should be the header is a sample already: a time, and numbers."""
    try:
        _seconds(Path(), 1, row[0])
        return not any(math.isnan(_number(Path(), 1, cell)) for cell in row[1:])
    except UnreadableError:
        return False


def _seconds(path: Path, line: int, text: str) -> float:
    try:
        return seconds_since_1970(text)
    except ValueError:
        raise UnreadableError(f"{path}:{line}: {text!r} is not a time") from None


def _number(path: Path, line: int, text: str) -> float:
    if not text.strip():
        return math.nan
    try:
        return float(text)
    except ValueError:
        raise UnreadableError(f"{path}:{line}: {text!r} is not a number") from None


def read_labels(path: Path) -> dict[str, list[tuple[str, str]]]:
    """Return the labelled windows of each file, (first, last) times as text; raise ``UnreadableError`` for anything else."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=dict[str, list[tuple[str, str]]])
        for text in chain.from_iterable(chain.from_iterable(found.values())):
            datetime.fromisoformat(text)
    except (OSError, ValueError) as error:
        raise UnreadableError(f"{path}: {error}") from error
    return found


def score(tables: Sequence[Table], detector_name: str) -> list[tuple[FloatArray, FloatArray]]:
    """Return, for each table, the score of its host or single series (rows,) and of each column (rows,
    columns).

    Columns of all tables are folded side by side, the shorter ones padded with samples not taken.
    """
    detector = registry.get(detector_name)
    answers: list[tuple[FloatArray, FloatArray]] = []
    rows = max((len(table.times) for table in tables), default=0)
    width = sum(len(table.columns) for table in tables)
    times, values = np.full((rows, width), np.nan), np.full((rows, width), np.nan)
    place = 0
    for table in tables:
        span = slice(place, place + len(table.columns))
        times[: len(table.times), span] = table.times[:, None]
        values[: len(table.times), span] = table.values
        place = span.stop
    scored = detector.fold(detector.new_state(width), times, values).score
    place = 0
    for table in tables:
        columns = scored[: len(table.times), place : place + len(table.columns)]
        place += len(table.columns)
        if len(table.columns) == 1:
            answers.append((columns[:, 0], columns))
        else:
            host = HostDetector(len(table.columns))
            answers.append((host.fold(host.new_state(), table.times, table.values).score, columns))
    return answers


def write(table: Table, whole: FloatArray, columns: FloatArray, path: Path) -> None:
    """Write the table with its scores: ``anomaly_score``, and one per column when there are several."""
    path.parent.mkdir(parents=True, exist_ok=True)
    several = len(table.columns) > 1
    extra = [f"anomaly_score.{name}" for name in table.columns] if several else []
    scores = np.column_stack([whole, columns]) if several else whole[:, None]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["timestamp", *table.columns, "anomaly_score", *extra])
        for stamp, cells, numbers in zip(table.stamps, table.cells, scores, strict=True):
            writer.writerow([stamp, *cells, *(f"{number:.6f}" for number in numbers)])


def _blocks(tables: Sequence[Table]) -> Iterator[list[Table]]:
    """Group tables of similar length, so that little is padding, into blocks of ``BLOCK_COLUMNS`` columns."""
    block: list[Table] = []
    for table in sorted(tables, key=lambda table: len(table.times)):
        width = sum(len(held.columns) for held in block)
        if block and (
            width + len(table.columns) > BLOCK_COLUMNS or len(table.times) > 2 * len(block[0].times)
        ):
            yield block
            block = []
        block.append(table)
    if block:
        yield block


def backtest(
    source: Path, out: Path, detector: str = "default", report: bool = False, labels: Path | None = None
) -> int:
    """Score every ``*.csv`` below ``source`` into the same place below ``out``; return the exit code.

    It is 0 when every file was scored and 1 when some were not; those are named on standard error with the
    line.
    """
    registry.get(detector)
    windows = read_labels(labels) if labels else {}
    written = out.resolve()
    found = sorted(
        path
        for path in source.rglob("*")
        if path.suffix.lower() == ".csv" and path.is_file() and written not in path.resolve().parents
    )
    if not found:
        print(f"no *.csv below {source}", file=sys.stderr)
        return 1
    tables, failed = [], 0
    for path in found:
        try:
            tables.append(read(path))
        except UnreadableError as error:
            failed += 1
            print(error, file=sys.stderr)
    began, samples, lines, totals = time.perf_counter(), 0, [], NabTotals()
    for block in _blocks(tables):
        for table, (whole, columns) in zip(block, score(block, detector), strict=True):
            name = table.path.relative_to(source)
            write(table, whole, columns, out / name)
            samples += table.values.size
            lines.append(_alarms(str(name), table, whole))
            spans = windows.get(name.as_posix())
            if spans is not None:
                totals.add(whole, Windows.between(table.times, spans), DEFAULT_THRESHOLD)
    spent = time.perf_counter() - began
    print(f"{len(tables)} files, {samples:,} samples scored in {spent:.1f} s")
    if report:
        print("\n".join(sorted(lines)))
        if labels and not totals.windows:
            print(f"no window of {labels} lies in the judged part of these files: no NAB score")
        for profile in PROFILES if totals.windows else ():
            print(f"NAB {profile} at threshold {DEFAULT_THRESHOLD}: {totals.score(profile):.1f}")
    return 1 if failed else 0


def _alarms(name: str, table: Table, whole: FloatArray) -> str:
    """Return one line of the report: alarms are runs of samples at or above the threshold."""
    above = whole >= DEFAULT_THRESHOLD
    alarms = int(np.count_nonzero(above & ~np.r_[False, above[:-1]]))
    days = (np.max(table.times) - np.min(table.times)) / 86400.0 if len(table.times) > 1 else 0.0
    rate = f"{alarms / days:8.2f} a day" if days > 0 else "       - a day"
    return f"{rate} {alarms:6d} alarms  {name}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with ``argv`` (the process's own by default) and return its exit code."""
    parser = argparse.ArgumentParser(prog="farwatch backtest detect", description=__doc__)
    parser.add_argument("source", type=Path, metavar="DIR", help="folder of *.csv files, at any depth")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the scored files go")
    parser.add_argument("--detector", choices=registry.DETECTORS, default="default")
    parser.add_argument(
        "--report", action="store_true", help="print alarms per day, and NAB scores with --labels"
    )
    parser.add_argument(
        "--labels", type=Path, metavar="FILE", help="NAB's combined_windows.json or one like it"
    )
    options = parser.parse_args(argv)
    if not options.source.is_dir():
        print(f"{options.source} is not a folder", file=sys.stderr)
        return 1
    if options.out.resolve() == options.source.resolve():
        print(
            f"--out {options.out} would overwrite the files that are read: choose another folder",
            file=sys.stderr,
        )
        return 1
    try:
        return backtest(options.source, options.out, options.detector, options.report, options.labels)
    except (UnreadableError, OSError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
