"""`farwatch backtest forecast`, through its command line."""

import csv
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from infra.local.backtest_forecast import main

HOURS = 12 * 24


def record(
    folder: Path, name: str, *, holes: bool = False, stamp: str = "2024-03-{:02d} {:02d}:00:00"
) -> Path:
    rng = np.random.default_rng(7)
    path = folder / f"{name}.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["timestamp", "value"])
        for hour in range(HOURS):
            if holes and hour in {30, 31, 200}:
                continue
            value = 50 + 20 * np.sin(2 * np.pi * hour / 24) + rng.normal()
            writer.writerow([stamp.format(1 + hour // 24, hour % 24), "" if holes and hour == 90 else value])
    return path


def windows(path: Path, *rows: tuple[str, str]) -> str:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("series", "origin"), *rows])
    return str(path)


def test_the_windows_asked_for_are_forecast_in_full(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(tmp_path, "cpu-1", holes=True)
    asked = windows(tmp_path / "w.txt", ("cpu-1", "2024-03-09 06:00:00"), ("cpu-1", "2024-03-12 00:00:00"))
    out = tmp_path / "out.txt"
    assert main([str(tmp_path), "--windows", asked, "--horizon", "48h", "--out", str(out)]) == 0
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["series", "origin", "timestamp", "q025", "q10", "q50", "q90", "q975"]
    assert len(rows) == 2 * 48
    assert rows[0]["timestamp"] == rows[0]["origin"] == "2024-03-09 06:00:00"
    assert rows[47]["timestamp"] == "2024-03-11 05:00:00"
    assert rows[-1]["timestamp"] == "2024-03-13 23:00:00"  # beyond the end of the file
    quantiles = np.array([[float(row[q]) for q in list(row)[3:]] for row in rows])
    assert (np.diff(quantiles, axis=1) >= 0).all()
    printed = capsys.readouterr().out
    assert "default: 2 windows of 48 h" in printed
    assert "relMAE" in printed


def test_without_windows_it_rolls_through_the_series_and_prints_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(tmp_path, "cpu-1")
    record(tmp_path, "cpu-2")
    assert main([str(tmp_path), "--horizon", "1d", "--model", "seasonal_naive"]) == 0
    printed = capsys.readouterr().out
    assert "seasonal_naive: 10 windows of 24 h" in printed  # 12 days less 7 and the horizon, for two series
    assert "relMAE    1.0000" in printed


def test_the_history_ends_where_the_window_begins(tmp_path: Path) -> None:
    path = record(tmp_path, "cpu-1")
    asked = windows(tmp_path / "w.txt", ("cpu-1", "2024-03-09 06:00:00"))
    found = []
    for spoiled in (False, True):
        if spoiled:
            lines = path.read_text().splitlines()
            path.write_text("\n".join(lines[:199] + [line.split(",")[0] + ",1e6" for line in lines[199:]]))
        out = tmp_path / f"out-{spoiled}.txt"
        assert main([str(tmp_path), "--windows", asked, "--out", str(out)]) == 0
        found.append(out.read_text())
    assert found[0] == found[1]


def forecast_at(folder: Path, origin: str, *options: str) -> list[dict[str, str]]:
    """The rows forecast from one origin of ``cpu-1``."""
    asked, out = windows(folder / "w.txt", ("cpu-1", origin)), folder / "out.txt"
    assert main([str(folder), "--windows", asked, "--out", str(out), *options]) == 0
    with out.open() as file:
        return list(csv.DictReader(file))


def test_timestamps_are_read_in_any_common_form_and_written_as_the_file_writes_its_own(
    tmp_path: Path,
) -> None:
    moments = [datetime(2024, 3, 26, tzinfo=UTC) + timedelta(hours=hour) for hour in range(HOURS)]
    last, beyond, quantiles = moments[-1], moments[-1] + timedelta(hours=47), set()
    eastern = timezone(timedelta(hours=-5))
    for write in (
        lambda at: f"{at:%Y-%m-%d %H:%M:%S}",
        lambda at: f"{at:%Y-%m-%dT%H:%M:%SZ}",
        lambda at: at.astimezone(eastern).isoformat(),
        lambda at: f"{at.timestamp():.0f}",
        lambda at: f"{at.timestamp() * 1000:.0f}",  # 1712…: a date of the year 1712 to a parser of ISO 8601
    ):
        rows = "".join(f"{write(at)},{50 + at.hour + i % 7}\n" for i, at in enumerate(moments))
        (tmp_path / "cpu-1.csv").write_text("\ufefftimestamp,value\n" + rows, encoding="utf-8")
        found = forecast_at(tmp_path, last.isoformat())
        assert [found[0]["timestamp"], found[-1]["timestamp"]] == [write(last), write(beyond)]
        quantiles.add(tuple(row["q50"] for row in found))
    assert len(quantiles) == 1


def test_an_origin_after_the_last_value_is_forecast_from_there_or_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(tmp_path, "cpu-1")
    rows = forecast_at(tmp_path, "2024-03-14 06:00:00")
    assert [rows[0]["timestamp"], rows[-1]["timestamp"]] == ["2024-03-14 06:00:00", "2024-03-16 05:00:00"]
    assert main([str(tmp_path), "--windows", windows(tmp_path / "w.txt", ("cpu-1", "2030-01-01"))]) == 1
    assert "default needs 24 h of samples and has 0 h" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["series,origin\ncpu-1\n", "origin,series\n2024-03-09\n", "s\xe9ries"])
def test_windows_that_cannot_be_read_are_refused_in_words(tmp_path: Path, content: str) -> None:
    record(tmp_path, "cpu-1")
    (tmp_path / "w.txt").write_text(content, encoding="latin-1")
    assert main([str(tmp_path), "--windows", str(tmp_path / "w.txt")]) == 2


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("time,value\n1,2\n", "no columns timestamp and value"),
        ("timestamp,value\n2024-01-01,2\n", "fewer than two rows"),
        ("timestamp,value,caf\xe9\n", "no CSV file in UTF-8"),
        ("timestamp,value\n2024-01-01,2\nyesterday,3\n", "'yesterday' is not a timestamp"),
        ("timestamp,value\n2024-01-02,2\n2024-01-01,3\n", "do not rise"),
        ("timestamp,value\n2024-01-01,1\n2024-01-02,1\n2024-01-03 07:00,1\n2024-01-04,1\n", "even grid"),
    ],
)
def test_a_file_it_cannot_use_is_named_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, complaint: str
) -> None:
    (tmp_path / "odd.csv").write_text(content, encoding="latin-1")
    assert main([str(tmp_path)]) == 2
    printed = capsys.readouterr().err
    assert "odd.csv" in printed
    assert complaint in printed


def test_a_series_that_is_not_there_an_odd_horizon_and_no_folder_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(tmp_path, "cpu-1")
    asked = windows(tmp_path / "w.txt", ("../cpu-1", "2024-03-09 06:00:00"))
    assert main([str(tmp_path), "--windows", asked]) == 2
    assert main([str(tmp_path), "--horizon", "soon"]) == 2
    assert main([str(tmp_path), "--horizon", "9" * 400 + "d"]) == 2
    assert main([str(tmp_path / "nowhere")]) == 2
    printed = capsys.readouterr().err
    assert "no series '../cpu-1'" in printed
    assert "'soon' is not a time" in printed
    assert "not a folder" in printed


def test_a_window_with_too_little_history_is_refused_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(tmp_path, "cpu-1")
    early = [("cpu-1", f"{day} 05:00:00") for day in ("2024-03-01", "2024-02-01", "1970-01-01")]
    asked = windows(
        tmp_path / "w.txt", *early, ("cpu-1", "2024-03-01 00:00:00"), ("cpu-1", "2024-03-09 00:00:00")
    )
    assert main([str(tmp_path), "--windows", asked]) == 0
    printed = capsys.readouterr()
    assert "default needs 24 h" in printed.err
    assert "refused   4" in printed.out
