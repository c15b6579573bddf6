"""``farwatch backtest detect``: files in, the same files with scores out."""

import csv
import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from infra.local import backtest_detect
from infra.local.backtest_detect import main
from infra.local.nab_scoring import NabTotals, Windows

START = datetime(2024, 3, 1, tzinfo=UTC)


def write(path, columns, rows=400, seed=1):
    rng = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["timestamp", *columns])
        for i in range(rows):
            stamp = (START + timedelta(minutes=5 * i)).strftime("%Y-%m-%d %H:%M:%S")
            writer.writerow([stamp, *(f"{value:.3f}" for value in rng.normal(50, 5, len(columns)))])


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_csv_at_any_depth_comes_out_at_the_same_place_with_a_score_per_row(tmp_path):
    write(tmp_path / "in" / "a.csv", ["value"])
    write(tmp_path / "in" / "deep" / "er" / "b.csv", ["value"], rows=150)
    assert main([str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 0
    for name, rows in (("a.csv", 400), ("deep/er/b.csv", 150)):
        scored, given = read(tmp_path / "out" / name), read(tmp_path / "in" / name)
        assert list(scored[0]) == ["timestamp", "value", "anomaly_score"]
        assert [(row["timestamp"], row["value"]) for row in scored] == [tuple(row.values()) for row in given]
        assert len(scored) == rows
        assert all(0 <= float(row["anomaly_score"]) <= 1 for row in scored)


def test_a_file_with_several_columns_is_a_host_with_a_score_of_its_own_beside_one_per_column(tmp_path):
    write(tmp_path / "in" / "host.csv", ["cpu", "memory"])
    assert main([str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 0
    header = list(read(tmp_path / "out" / "host.csv")[0])
    assert header == [
        "timestamp",
        "cpu",
        "memory",
        "anomaly_score",
        "anomaly_score.cpu",
        "anomaly_score.memory",
    ]


def test_scores_of_the_first_rows_do_not_change_when_the_file_grows(tmp_path):
    write(tmp_path / "in" / "host.csv", ["cpu", "memory", "disk"], rows=700)
    lines = (tmp_path / "in" / "host.csv").read_text().splitlines()
    (tmp_path / "short").mkdir()
    (tmp_path / "short" / "host.csv").write_text("\n".join(lines[:501]) + "\n")
    main([str(tmp_path / "in"), "--out", str(tmp_path / "long-out")])
    main([str(tmp_path / "short"), "--out", str(tmp_path / "short-out")])
    assert read(tmp_path / "long-out" / "host.csv")[:500] == read(tmp_path / "short-out" / "host.csv")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("timestamp,value\n2024-01-01,1\nyesterday,2\n", 3),
        ("timestamp,value\n2024-01-01,one\n", 2),
        ("timestamp,value\n2024-01-01\n", 2),
        ("timestamp,value\n2024-01-01,1\n1e300,2\n", 3),
        ("value\n1\n", 1),
        ("", 1),
    ],
)
def test_an_unreadable_file_is_named_with_its_line_and_the_others_are_scored(tmp_path, capsys, text, line):
    write(tmp_path / "in" / "good.csv", ["value"])
    (tmp_path / "in" / "bad.csv").write_text(text)
    assert main([str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 1
    assert f"bad.csv:{line}:" in capsys.readouterr().err
    assert (tmp_path / "out" / "good.csv").exists()
    assert not (tmp_path / "out" / "bad.csv").exists()


def test_empty_cells_are_samples_not_taken(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "gaps.csv").write_text("timestamp,value\n2024-01-01,1\n2024-01-02,\n2024-01-03,NaN\n")
    assert main([str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--detector", "zscore"]) == 0
    assert [row["anomaly_score"] for row in read(tmp_path / "out" / "gaps.csv")] == ["0.000000"] * 3


SECONDS = [int((START + timedelta(minutes=5 * i)).timestamp()) for i in range(400)]


@pytest.mark.parametrize(
    "stamp",
    [
        lambda at: str(at * 1000),
        lambda at: str((at - SECONDS[0] + 1_512_121_200) * 1000),  # reads like 1512-12-12 and a time
        lambda at: f"{at}.0",
        lambda at: str(at * 1_000_000_000),
        lambda at: datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        lambda at: datetime.fromtimestamp(at, UTC).strftime(" %Y-%m-%dT%H:%M:%S+02:00"),
    ],
    ids=["milliseconds", "milliseconds like a date", "fractions", "nanoseconds", "zone", "offset"],
)
def test_times_are_understood_however_they_are_written(tmp_path, stamp):
    (tmp_path / "a.csv").write_text("timestamp,value\n" + "".join(f"{stamp(at)},1\n" for at in SECONDS))
    times = backtest_detect.read(tmp_path / "a.csv").times
    assert np.diff(times) == pytest.approx(300.0)
    assert 2015 < datetime.fromtimestamp(times[0], UTC).year < 2030


def test_a_date_of_eight_digits_is_a_date_and_a_number_of_eight_may_be_a_time(tmp_path):
    (tmp_path / "a.csv").write_text("day,value\n20240301,1\n20240302,2\n86400000,3\n")
    times = backtest_detect.read(tmp_path / "a.csv").times
    assert list(times) == [START.timestamp(), START.timestamp() + 86_400, 86_400_000]


def test_a_file_without_a_header_loses_no_row(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "one.csv").write_text("2024-01-01,1\n2024-01-02,2\n")
    (tmp_path / "in" / "two.csv").write_text("1700000000,1,5\n1700000010,2,\n")
    assert main([str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 0
    assert [(row["timestamp"], row["value"]) for row in read(tmp_path / "out" / "one.csv")] == [
        ("2024-01-01", "1"),
        ("2024-01-02", "2"),
    ]
    assert [(row["value_1"], row["value_2"]) for row in read(tmp_path / "out" / "two.csv")] == [
        ("1", "5"),
        ("2", ""),
    ]


def test_blank_lines_unnamed_columns_and_capitals_are_no_trouble(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "A.CSV").write_text("Time,Value,Label,\n2024-01-01,1,0,\n  \n,,,\n2024-01-02,2,0,\n")
    assert main([str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 0
    scored = read(tmp_path / "out" / "A.CSV")
    assert list(scored[0]) == ["timestamp", "Value", "anomaly_score"]
    assert [row["Value"] for row in scored] == ["1", "2"]


def test_what_was_written_before_is_not_read_again(tmp_path):
    write(tmp_path / "in" / "a.csv", ["value"], rows=20)
    for _ in range(2):
        assert main([str(tmp_path / "in"), "--out", str(tmp_path / "in" / "scored")]) == 0
    assert sorted(path.name for path in tmp_path.rglob("*.csv")) == ["a.csv", "a.csv"]


def test_files_are_not_overwritten_with_their_own_scores(tmp_path, capsys):
    write(tmp_path / "in" / "a.csv", ["value", "label"], rows=20)
    before = (tmp_path / "in" / "a.csv").read_text()
    assert main([str(tmp_path / "in"), "--out", str(tmp_path / "in" / ".." / "in")]) == 1
    assert "would overwrite" in capsys.readouterr().err
    assert (tmp_path / "in" / "a.csv").read_text() == before


def test_a_place_that_cannot_be_written_is_named(tmp_path, capsys):
    write(tmp_path / "in" / "a.csv", ["value"], rows=20)
    (tmp_path / "out").write_text("a file")
    assert main([str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 1
    assert str(tmp_path / "out") in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "[]", '{"a.csv": "2024"}', '{"a.csv": [["soon", "later"]]}', None])
def test_labels_that_cannot_be_used_are_named(tmp_path, capsys, text):
    write(tmp_path / "in" / "a.csv", ["value"], rows=20)
    labels = tmp_path / "labels.json"
    if text is not None:
        labels.write_text(text)
    arguments = [str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--report", "--labels", str(labels)]
    assert main(arguments) == 1
    assert str(labels) in capsys.readouterr().err


def test_labels_of_other_files_are_told_apart_from_a_score(tmp_path, capsys):
    write(tmp_path / "in" / "a.csv", ["value"], rows=20)
    (tmp_path / "labels.json").write_text('{"b.csv": [["2024-01-01", "2024-01-02"]]}')
    arguments = [str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--report"]
    assert main([*arguments, "--labels", str(tmp_path / "labels.json")]) == 0
    assert "no NAB score" in capsys.readouterr().out


def test_the_report_gives_alarms_a_day_and_the_nab_score_of_labelled_files(tmp_path, capsys):
    write(tmp_path / "in" / "a.csv", ["value"])
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps({"a.csv": [["2024-03-01 20:00:00", "2024-03-01 22:00:00"]]}))
    arguments = [str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--report", "--labels", str(labels)]
    assert main(arguments) == 0
    report = capsys.readouterr().out
    assert "alarms  a.csv" in report
    assert "NAB standard at threshold 0.5:" in report


def test_a_folder_without_files_is_an_error(tmp_path, capsys):
    assert main([str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert main([str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 1
    assert "is not a folder" in capsys.readouterr().err


def nab(flags, spans=((400, 499),), rows=1000):
    totals, scores = NabTotals(), np.zeros(rows)
    scores[list(flags)] = 1.0
    totals.add(scores, Windows(150, tuple(spans)), 0.5)
    return {profile: totals.score(profile) for profile in totals.raw}


def test_nab_gives_silence_nothing_and_an_alarm_at_the_start_of_the_window_everything():
    assert nab([]) == pytest.approx({"standard": 0.0, "reward_low_FP_rate": 0.0, "reward_low_FN_rate": 0.0})
    assert nab([400]) == pytest.approx(
        {"standard": 100.0, "reward_low_FP_rate": 100.0, "reward_low_FN_rate": 100.0}
    )


def test_nab_counts_only_the_earliest_alarm_of_a_window_and_charges_for_those_outside():
    assert nab([400, 450, 499]) == nab([400])
    assert nab([450])["standard"] < 100.0
    # One false alarm before any window costs 0.11 of a window whose finding is worth 2.
    assert nab([300, 400])["standard"] == pytest.approx(100.0 - 5.5)
    assert nab([300, 400])["reward_low_FP_rate"] == pytest.approx(100.0 - 11.0)
    assert nab([505, 400])["standard"] > nab([900, 400])["standard"]


def test_nab_does_not_judge_the_first_rows():
    assert nab([10, 149, 400])["standard"] == pytest.approx(100.0)


def test_windows_are_found_by_time():
    times = 1.7e9 + 300.0 * np.arange(100)
    text = [datetime.fromtimestamp(times[i], UTC).strftime("%Y-%m-%d %H:%M:%S.%f") for i in (20, 30)]
    assert Windows.between(times, [text]) == Windows(15, ((20, 30),))
