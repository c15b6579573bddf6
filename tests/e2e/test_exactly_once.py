"""The promise under `kill -9`: every sample an agent took is in the metric store exactly once. Counted."""

from __future__ import annotations

import hashlib
import threading
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from collector_agent.batch import Builder
from collector_agent.delivery import Policy
from collector_agent.enrolment import describe_host, enrol
from collector_agent.log import Log
from collector_agent.sender import Sender
from collector_agent.spool import Spool
from collector_agent.transport import Transport
from tests.stack.running import RunningStack

pytestmark = pytest.mark.stack
AGENTS = 3
SERIES = 20
EVERY_S = 0.5
IN_BETWEEN = 5  # batches of each agent that are taken, and confirmed, between one killing and the next


class BusyAgent:
    """The agent's own spool, builder and sender, fed by a thread that takes twenty samples twice a second."""

    def __init__(self, stack: RunningStack, folder: Path, name: str, token: str) -> None:
        folder.mkdir()
        log = Log("error")
        transport = Transport(stack.api_url, timeout=10)
        machine = describe_host(name) | {"machine_id": hashlib.sha256(name.encode()).hexdigest()[:32]}
        me = enrol(transport, stack.api_url, token, machine, {"env": "test"})
        self.host_id = me.host_id
        self.taken: dict[int, float] = {}
        self.spool = Spool(folder, log)
        self._builder = Builder(version="test", started_at_ms=0)
        # It tries again sooner than others: each part that was killed would be waited for that long.
        policy = Policy(backoff_first=0.5, backoff_max=2.0)
        self._sender = Sender(
            self.spool, transport, log, host_id=me.host_id, credential=me.credential, own=dict, policy=policy
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def start(self) -> None:
        self._sender.start()
        self._thread.start()

    def _sample(self) -> None:
        while not self._stop.wait(EVERY_S):
            at, value = int(time.time() * 1000), len(self.taken) % 100 + 0.5
            self._builder.add(at, [("cpu.core_percent", (("core", str(i)),), value) for i in range(SERIES)])
            payload = self._builder.take(EVERY_S)
            assert payload is not None
            self.spool.append(payload)
            self.taken[at] = value
            self._sender.spooled()

    @property
    def confirmed(self) -> int:
        """How many batches are known to be stored: a batch holds what was taken at one moment."""
        return len(self.taken) - self.spool.batches

    def stop_sampling(self) -> None:
        self._stop.set()
        self._thread.join()

    def close(self) -> None:
        self._stop.set()
        self._sender.stop(1.0)
        self.spool.close()


def stored(stack: RunningStack, host_id: str) -> list[tuple[str, int, float]]:
    with psycopg.connect(stack.secrets["database_url"]) as connection:
        return connection.execute(
            """SELECT labels ->> 'core', at, value FROM samples JOIN series ON series.id = series_id
               WHERE host_id = %s AND metric = 'cpu.core_percent'""",
            (host_id,),
        ).fetchall()


def newest_own_samples(stack: RunningStack) -> dict[str, float]:
    """The newest value of each metric of this host's own agent, in the last minute."""
    with psycopg.connect(stack.secrets["database_url"]) as connection:
        rows = connection.execute(
            """SELECT DISTINCT ON (metric) metric, value
               FROM samples JOIN series ON series.id = series_id JOIN hosts ON hosts.id = host_id
               WHERE hosts.labels ->> 'env' = 'local' AND metric LIKE 'agent.%%' AND at > %s
               ORDER BY metric, at DESC""",
            (int(time.time() * 1000) - 60_000,),
        ).fetchall()
    return {"agent.spool_batches": 99.0} | dict(rows)


def test_nothing_is_lost_or_doubled_when_every_part_is_killed_under_load(
    stack: RunningStack, tmp_path: Path
) -> None:
    status, made = stack.call("POST", "/api/v1/enrolment-tokens", {"name": "load", "max_uses": AGENTS})
    assert status == 201, made
    agents = [BusyAgent(stack, tmp_path / f"a{i}", f"busy-{i}", made["token"]) for i in range(AGENTS)]
    try:
        for agent in agents:
            agent.start()
        for part in ("engine", "postgres", "valkey", "agent"):
            more = min(len(a.taken) for a in agents) + IN_BETWEEN
            _wait(lambda: min(len(a.taken) for a in agents) > more, 120, "load")  # noqa: B023 - waited for at once
            before = stack.pid(part)
            stack.kill(part)
            stack.wait_until_back(part, before)
            # The next one is killed while batches flow again, not while the whole is still getting up.
            wanted = {a: a.confirmed + IN_BETWEEN for a in agents}
            _wait(
                lambda: all(a.confirmed >= wanted[a] for a in agents),  # noqa: B023 - waited for at once
                180,
                f"samples to flow again after {part}",
            )
        for agent in agents:
            agent.stop_sampling()
        _wait(lambda: not any(a.spool.batches for a in agents), 180, "every spool to be confirmed")
    finally:
        for agent in agents:
            agent.close()
            # They will not be heard of again, and that is no trouble.
            stack.call("POST", f"/api/v1/agents/{agent.host_id}/retire")

    for agent in agents:
        taken = {(str(core), at, value) for at, value in agent.taken.items() for core in range(SERIES)}
        rows = stored(stack, agent.host_id)
        assert len(rows) == len(set(rows)) == len(taken) > SERIES * 30
        assert set(rows) == taken
        assert agent.spool.dropped_samples == agent.spool.quarantined_batches == 0

    # This host's own agent was killed too: what it had spooled is stored, and it goes on.
    _wait(
        lambda: newest_own_samples(stack)["agent.spool_batches"] <= 1, 120, "the host's own agent to catch up"
    )
    assert newest_own_samples(stack)["agent.dropped_samples"] == 0


def _wait(condition: Any, patience: float, what: str) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"waited {patience:.0f} s for {what}"
        time.sleep(0.1)
