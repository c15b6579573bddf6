"""The whole agent, killed at random moments, against a server that misbehaves: every sample is counted."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.agent.backend import Backend
from tests.unit.agent.eventually import eventually

KILLS = 12


@pytest.mark.long
def test_an_agent_killed_a_dozen_times_delivers_every_spooled_sample_once(
    backend: Backend,
    farwatch_agent: Callable[..., subprocess.CompletedProcess[str]],
    start_agent: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
) -> None:
    chance = random.Random(20)
    done = farwatch_agent("enrol", "--server", backend.url, "--token", "fwe_good")
    assert done.returncode == 0, done.stderr
    backend.interval_s = 1.0
    backend.lag = 1
    backend.trouble = lambda _: chance.choice([None] * 6 + [(503, {}, {}), "cut", "cut after"])
    env = {"FARWATCH_AGENT_FLUSH_S": "1", "FARWATCH_AGENT_TIMEOUT_S": "1"}
    spooled: dict[tuple[str, int], bytes] = {}
    for round_ in range(KILLS):
        process = start_agent(**env)
        if round_ % 3:  # the others are killed while they start
            eventually(lambda: _has_sampled(tmp_path / "state", process.pid))  # noqa: B023 - waited for at once
        time.sleep(chance.uniform(0.0, 0.6))  # any moment will do
        process.kill()
        process.communicate()
        if round_ % 7 == 3:
            backend.lose_queue()
        spooled.update(_spooled(tmp_path / "state" / "spool.db"))
    backend.trouble = lambda _: None
    backend.lag = 0
    start_agent(**env)
    known = _samples(spooled)
    assert len(known) > 100, "the agent was never alive long enough to take samples"
    eventually(lambda: backend.flush() and known <= _stored(backend), within=60)
    assert set(backend.samples.values()) == {1}
    per_spool: dict[str, list[int]] = {}
    for message in backend.stored:
        per_spool.setdefault(message["spool_id"], []).append(message["seq"])
    for numbers in per_spool.values():
        assert numbers == list(range(1, len(numbers) + 1))
    stamps = [message["times"][0] for message in backend.stored]
    assert stamps == sorted(set(stamps))


def _has_sampled(state: Path, pid: int) -> bool:
    """Whether the agent with this process id says that it has spooled samples."""
    try:
        status = json.loads((state / "status.json").read_text())
    except FileNotFoundError:
        return False
    return bool(status["pid"] == pid and status["samples_taken"])


def _spooled(path: Path) -> dict[tuple[str, int], bytes]:
    """Read what a killed agent left behind."""
    if not path.exists():
        return {}
    db = sqlite3.connect(path)
    try:
        rows = db.execute(
            "SELECT spool_id, seq, payload FROM batches JOIN generations USING (gen)"
        ).fetchall()
    except sqlite3.OperationalError:  # killed before the tables were made
        rows = []
    db.close()
    return {(spool_id, seq): data for spool_id, seq, data in rows}


def _samples(spooled: dict[tuple[str, int], bytes]) -> set[tuple[Any, ...]]:
    return {
        (spool_id, series["metric"] + json.dumps(series["labels"], sort_keys=True), time_ms)
        for (spool_id, _), data in spooled.items()
        for body in [json.loads(zlib.decompress(data))]
        for series in body["series"]
        for time_ms, value in zip(body["times"], series["values"], strict=True)
        if value is not None
    }


def _stored(backend: Backend) -> set[tuple[Any, ...]]:
    with backend.lock:
        return set(backend.samples)
