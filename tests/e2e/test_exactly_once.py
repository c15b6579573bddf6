"""The promise under `kill -9`: every sample the agent took is in the metric store exactly once."""

from __future__ import annotations

import time
from typing import Any

import psycopg
import pytest

from tests.stack.running import RunningStack

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


def stored(stack: RunningStack, metric: str, since: int) -> list[int]:
    """Return the times (epoch ms) of the samples of a metric of this host, with repetition if there were any."""
    with psycopg.connect(stack.secrets["database_url"]) as connection:
        rows = connection.execute(
            """SELECT at FROM samples JOIN series ON series.id = series_id
               WHERE metric = %s AND at >= %s ORDER BY at""",
            (metric, since),
        ).fetchall()
    return [row[0] for row in rows]


def progress(stack: RunningStack) -> dict[str, Any]:
    with psycopg.connect(stack.secrets["database_url"]) as connection:
        row = connection.execute(
            "SELECT spool_id, stored_through FROM agent_progress ORDER BY updated_at DESC LIMIT 1"
        ).fetchone()
    assert row is not None
    return {"spool_id": row[0], "stored_through": row[1]}


def test_nothing_is_lost_or_doubled_when_parts_are_killed_one_after_another(stack: RunningStack) -> None:
    began = int(time.time() * 1000)
    spool = progress(stack)["spool_id"]
    for part in ("engine", "postgres", "valkey", "agent"):
        before = stack.pid(part)
        stack.kill(part)
        stack.wait_until_back(part, before)
    ended = int(time.time() * 1000)

    # The spool's numbers are the agent's own count of what it took: stored through the last of them means all of them.
    deadline = time.monotonic() + 120
    while not (times := stored(stack, "cpu.percent", began)) or times[-1] < ended + 5_000:
        assert time.monotonic() < deadline, stack.home.log("agent").read_text()[-3000:]
        time.sleep(0.5)
    assert progress(stack)["spool_id"] == spool
    assert len(times) == len(set(times))
    # A sample each five seconds but for the tick or two that the agent itself was dead.
    gaps = [later - earlier for earlier, later in zip(times, times[1:], strict=False)]
    assert sum(gap > 7_500 for gap in gaps) <= 1, gaps
    assert max(gaps) < 30_000, gaps
