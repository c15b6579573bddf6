"""From a queued batch to stored samples, signals and pushes, over a real PostgreSQL and Valkey."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from farwatch.adapters.postgres.anomalies import PostgresAnomalies
from farwatch.adapters.postgres.database import Database
from farwatch.adapters.postgres.hosts import PostgresHosts
from farwatch.adapters.postgres.rules import PostgresRules
from farwatch.adapters.postgres.samples import PostgresMetricStore
from farwatch.adapters.redis.agents import RedisAgentCache, RedisHostMemory
from farwatch.adapters.redis.client import connect
from farwatch.domain.pushes import Push
from farwatch.domain.retention import RAW, Resolution
from farwatch.domain.rules import Comparison, Condition, Rule
from farwatch.domain.samples import Batch, SampleBlock, SeriesKey, TopProcess
from farwatch.domain.severity import Severity
from farwatch.domain.signals import Signal, SignalState
from farwatch.errors import Unavailable
from farwatch.services.process import Process, Standing

HOST, SPOOL = "host_a", "spool-1"
NOW = 1_790_000_000_000
RULE = Rule(
    "rule_cpu",
    "CPU is busy",
    (Condition("cpu.percent", Comparison.ABOVE, 90, 80),),
    Severity.HIGH,
    for_s=10,
    keep_firing_for_s=10,
)


class Sent:
    """A queue that keeps what is sent, and refuses while ``down``."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.down = False

    def send(self, messages: Sequence[Signal] | Sequence[Push]) -> None:
        if self.down:
            raise Unavailable("sqs", "down for the test")
        self.messages.extend(messages)


class Bench:
    """Everything one test needs: the use case, and the world it works on."""

    def __init__(self, postgres_url: str, redis_url: str) -> None:
        self.database = Database(postgres_url)
        self.redis_url = redis_url
        self.store = PostgresMetricStore(self.database)
        self.hosts = PostgresHosts(self.database, 5.0)
        self.rules = PostgresRules(self.database)
        self.signals, self.pushes = Sent(), Sent()
        with self.database.transaction() as connection:
            connection.execute("INSERT INTO hosts (id, name) VALUES (%s, 'web-1')", (HOST,))
        self.rules.put(RULE)
        self.process = self.fresh_container()

    def fresh_container(self, redis_url: str | None = None) -> Process:
        redis = connect(redis_url or self.redis_url)
        return Process(
            self.store,
            self.hosts,
            self.rules,
            RedisAgentCache(redis),
            RedisHostMemory(redis),
            PostgresAnomalies(self.database),
            self.signals,
            self.pushes,
        )

    def batch(self, seq: int, value: float = 50.0, oldest: int = 1) -> Batch:
        at = NOW + seq * 5000
        block = SampleBlock(np.array([at]), (SeriesKey.of("cpu.percent"),), np.array([[value]]))
        return Batch(
            f"b-{seq}", HOST, SPOOL, seq, oldest, at, block, (TopProcess(42, "stress", 97.0, 1),), "0.1.0"
        )

    def handle(self, seq: int, value: float = 50.0, oldest: int = 1) -> Standing:
        return self.process.handle(self.batch(seq, value, oldest), NOW + seq * 5000)

    def stored(self) -> list[float]:
        found = self.store.read(HOST, ["cpu.percent"], NOW, NOW + 10**7, Resolution(RAW, 0))
        return [] if not found else found[0].mean.tolist()

    def firings(self) -> list[tuple[SignalState, int]]:
        return [(s.state, s.started_at) for s in self.signals.messages if s.source == RULE.id]


@pytest.fixture
def bench(postgres_url: str, redis_url: str) -> Iterator[Bench]:
    made = Bench(postgres_url, redis_url)
    yield made
    made.database.close()


def test_batches_in_order_are_stored_confirmed_and_shown(bench: Bench) -> None:
    assert [bench.handle(seq, float(seq)) for seq in (1, 2, 3)] == [Standing.STORED] * 3
    assert bench.stored() == [1.0, 2.0, 3.0]
    assert bench.hosts.stored_through(HOST, SPOOL) == 3
    topics = [push.topic for push in bench.pushes.messages]
    assert topics == [f"host:{HOST}", "fleet"] * 3
    host = bench.hosts.get(HOST)
    assert host is not None
    assert (host.last_seen_at, host.agent_version) == (NOW + 15_000, "0.1.0")


def test_a_batch_sent_twice_is_stored_once(bench: Bench) -> None:
    assert [bench.handle(seq) for seq in (1, 1, 2, 1)] == [
        Standing.STORED,
        Standing.DUPLICATE,
        Standing.STORED,
        Standing.DUPLICATE,
    ]
    assert len(bench.stored()) == 2


def test_a_batch_ahead_of_its_turn_is_left_to_the_agent(bench: Bench) -> None:
    assert bench.handle(1) is Standing.STORED
    assert bench.handle(3) is Standing.OUT_OF_ORDER
    assert bench.hosts.stored_through(HOST, SPOOL) == 1
    assert [bench.handle(seq) for seq in (2, 3)] == [Standing.STORED] * 2
    assert len(bench.stored()) == 3


def test_what_the_agent_dropped_for_good_does_not_hold_up_the_rest(bench: Bench) -> None:
    assert bench.handle(1) is Standing.STORED
    assert bench.handle(6, oldest=5) is Standing.OUT_OF_ORDER
    assert bench.handle(5, oldest=5) is Standing.STORED
    assert bench.handle(6, oldest=5) is Standing.STORED
    assert bench.hosts.stored_through(HOST, SPOOL) == 6


def test_a_new_spool_starts_a_new_count(bench: Bench) -> None:
    bench.handle(1)
    other = bench.batch(1, 7.0)
    moved = Batch(
        "x",
        HOST,
        "spool-2",
        1,
        1,
        NOW,
        SampleBlock(other.samples.times + 1, other.samples.series, other.samples.values),
    )
    assert bench.process.handle(moved, NOW) is Standing.STORED
    assert bench.hosts.stored_through(HOST, SPOOL) == 1


def test_load_fires_once_refreshes_each_minute_and_resolves_once(bench: Bench) -> None:
    for seq in range(1, 31):
        bench.handle(seq, 97.0 if seq <= 24 else 20.0)
    fired = (SignalState.FIRING, NOW + 5000)
    assert bench.firings() == [fired, fired, (SignalState.RESOLVED, NOW + 5000)]
    first = next(s for s in bench.signals.messages if s.source == RULE.id)
    assert first.reason == "cpu.percent has been above 90 % for 10 s; it is 97 % now."
    assert first.top_processes[0].name == "stress"


@pytest.mark.parametrize("step", ["write", "signals", "record_stored"])
def test_a_crash_at_any_step_loses_nothing_and_doubles_nothing(
    bench: Bench, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seq in (1, 2):
        bench.handle(seq, 97.0)
    with monkeypatch.context() as patch:
        if step == "signals":
            bench.signals.down = True
        else:
            owner: Any = bench.store if step == "write" else bench.hosts
            patch.setattr(owner, step, _crash)
        with pytest.raises(Unavailable):
            bench.handle(3, 97.0)
    assert bench.hosts.stored_through(HOST, SPOOL) == 2
    bench.signals.down = False
    bench.process = bench.fresh_container()
    assert bench.handle(3, 97.0) is Standing.STORED
    assert bench.stored() == [97.0] * 3
    assert set(bench.firings()) == {(SignalState.FIRING, NOW + 5000)}


def _crash(*_: object, **__: object) -> None:
    raise Unavailable("postgres", "killed for the test")


def test_without_redis_samples_are_stored_and_rules_still_fire(bench: Bench) -> None:
    bench.process = bench.fresh_container("redis://127.0.0.1:1/0")
    for seq in (1, 2, 3):
        assert bench.handle(seq, 97.0) is Standing.STORED
    assert len(bench.stored()) == 3
    assert bench.firings() == [(SignalState.FIRING, NOW + 5000)]


def test_a_push_queue_that_is_down_holds_up_nothing(bench: Bench) -> None:
    bench.pushes.down = True
    assert bench.handle(1) is Standing.STORED


def test_a_fault_in_evaluation_does_not_hold_up_storing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farwatch.services.process.evaluate", lambda *_: 1 / 0)
    assert bench.handle(1) is Standing.STORED
    assert len(bench.stored()) == 1


def test_a_rule_that_is_deleted_while_firing_resolves(bench: Bench) -> None:
    for seq in (1, 2, 3):
        bench.handle(seq, 97.0)
    bench.rules.delete(RULE.id)
    bench.process = bench.fresh_container()
    bench.handle(4, 97.0)
    assert bench.firings()[-1] == (SignalState.RESOLVED, NOW + 5000)


def test_old_samples_are_stored_but_fire_nothing(bench: Bench) -> None:
    for seq in range(1, 6):
        bench.process.handle(bench.batch(seq, 97.0), NOW + 3_600_000)
    assert len(bench.stored()) == 5
    assert bench.firings() == []


def test_a_retired_host_is_not_stored(bench: Bench) -> None:
    with bench.database.transaction() as connection:
        connection.execute("UPDATE hosts SET retired_at = now()")
    assert bench.handle(1) is Standing.UNKNOWN_HOST
    assert bench.stored() == []
