"""``farwatch rules test FILE --history HOST``: an installation's own samples against rules that are not saved yet."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path

import numpy as np
import pytest

from farwatch.adapters.postgres.database import Database
from farwatch.adapters.postgres.samples import PostgresMetricStore
from farwatch.domain.samples import SampleBlock, SeriesKey
from infra.local.rules_test import PASSED, UNUSABLE, main

RULES = """
rules:
  - name: CPU is busy
    severity: warning
    for_s: 60
    keep_firing_for_s: 0
    conditions: [{metric: cpu.percent, comparison: above, enter: 90, leave: 80}]
  - name: Databases swap
    severity: warning
    for_s: 0
    host_labels: {role: db}
    conditions: [{metric: swap.used_percent, comparison: above, enter: 50}]
  - name: Fans stand still
    severity: warning
    for_s: 0
    conditions: [{metric: fan.rpm, comparison: below, enter: 100}]
"""
CPU, SWAP = SeriesKey.of("cpu.percent"), SeriesKey.of("swap.used_percent")


@pytest.fixture
def file(tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file of rules, beside an installation: minutes of a day, and samples of the last hour only."""
    keys = {
        "jwt_keys": {"k1": base64.b64encode(bytes(32)).decode()},
        "jwt_active_kid": "k1",
        "pepper": "p" * 32,
    }
    secrets = {"database_url": postgres_url, "redis_url": "redis://127.0.0.1:1/0", **keys}
    (tmp_path / "secrets.json").write_text(json.dumps(secrets))
    monkeypatch.setenv("SECRETS_FILE", str(tmp_path / "secrets.json"))
    database = Database(postgres_url)
    store = PostgresMetricStore(database)
    with database.transaction() as connection:
        connection.execute(
            "INSERT INTO hosts (id, name) VALUES ('host_a', 'web-1'), ('host_b', 'twin'), ('host_c', 'twin')"
        )
    now = int(time.time()) // 60 * 60_000
    minutes = now - 86_400_000 + np.arange(23 * 60) * 60_000
    older = np.column_stack([np.full(len(minutes), 20.0), np.full(len(minutes), 10.0)])
    older[600:630, 0] = 97.0
    store.write_history("host_a", SampleBlock(minutes, (CPU, SWAP), older), 60)
    times = now - 3_600_000 + np.arange(720) * 5000
    newer = np.column_stack([np.full(720, 20.0), np.full(720, 60.0)])
    newer[400:424, 0] = 99.0
    store.write("host_a", SampleBlock(times, (CPU, SWAP), newer), now)
    database.close()
    (tmp_path / "rules.yaml").write_text(RULES)
    return str(tmp_path / "rules.yaml")


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main(list(arguments)) == PASSED
    return capsys.readouterr().out.splitlines()


def test_every_sample_is_replayed_where_samples_are_there(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = said(capsys, file, "--history", "web-1", "--days", "0.03")
    assert lines[0].startswith("web-1 from ")
    assert lines[1].startswith("CPU is busy: would have fired once (1 series, ")
    assert lines[1].endswith("every sample)")
    assert lines[2].endswith("cpu.percent, for 1 min")


def test_a_day_that_is_there_as_minutes_only_is_replayed_by_minutes(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = said(capsys, file, "--history", "host_a")
    assert lines[1].startswith("CPU is busy: would have fired 2 times")
    assert lines[1].endswith("minute by minute)")
    assert [line.partition(", ")[2] for line in lines[2:4]] == ["for 29 min", "for 1 min"]


def test_a_rule_for_other_hosts_and_one_without_samples_say_so(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = said(capsys, file, "--history", "web-1", "--days", "0.03")
    about_swap = lines.index(next(line for line in lines if line.startswith("Databases swap")))
    assert "do not choose this host" in lines[about_swap + 1]
    assert lines[about_swap + 2].endswith("swap.used_percent, and still")
    assert lines[-1].startswith("Fans stand still: nothing to replay, the host has no samples of fan.rpm")


def test_a_rule_that_is_switched_off_is_replayed_and_said_to_be_off(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(file).write_text(RULES.replace("name: CPU is busy", "name: CPU is busy\n    enabled: false"))
    lines = said(capsys, file, "--history", "web-1", "--days", "0.03")
    assert lines[1].startswith("CPU is busy: would have fired once")
    assert lines[2] == "  it is switched off: once saved, it would watch nothing"


@pytest.mark.parametrize(
    ("host", "words"), [("wbe-1", "there are: twin, twin, web-1"), ("twin", "host_b, host_c")]
)
def test_a_host_that_is_not_there_or_there_twice_is_told_with_what_there_is(
    file: str, capsys: pytest.CaptureFixture[str], host: str, words: str
) -> None:
    assert main([file, "--history", host]) == UNUSABLE
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("days", ["0", "8", "nan", "-1", "a week"])
def test_a_range_that_is_none_is_refused_before_anything_is_read(days: str) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["rules.yaml", "--history", "web-1", "--days", days])
    assert refused.value.code == UNUSABLE


def test_a_database_that_is_down_is_said_in_one_line(
    file: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = Path(file).with_name("secrets.json")
    document = json.loads(secrets.read_text()) | {"database_url": "postgresql://x@127.0.0.1:1/x"}
    secrets.write_text(json.dumps(document))
    assert main([file, "--history", "web-1"]) == UNUSABLE
    (line,) = capsys.readouterr().err.splitlines()
    assert "the samples cannot be read" in line
    assert line.endswith("does ./farwatch up run?")
