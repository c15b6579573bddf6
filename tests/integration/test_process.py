"""From a queued batch to stored samples, signals and pushes, over a real PostgreSQL and Valkey."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Sequence
from dataclasses import replace
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
from farwatch.detection import DEFAULT_THRESHOLD, registry, unpack
from farwatch.domain.pushes import Push
from farwatch.domain.retention import RAW, Resolution
from farwatch.domain.rules import Comparison, Condition, Measure, Rule
from farwatch.domain.samples import Batch, SampleBlock, SeriesKey, TopProcess
from farwatch.domain.severity import Severity
from farwatch.domain.signals import Signal, SignalState
from farwatch.errors import Unavailable
from farwatch.ports.anomalies import AnomalyFilter, Verdict
from farwatch.services.anomalies import sensitivity_of
from farwatch.services.evaluation import Memory, decode_memory
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

    def fresh_container(self, redis_url: str | None = None, **more: Any) -> Process:
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
            Sent(),
            **more,
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


def test_a_batch_that_waited_in_the_queue_says_when_its_host_was_heard_not_when_it_was_stored(
    bench: Bench,
) -> None:
    assert bench.process.handle(bench.batch(1), NOW + 600_000, NOW + 5000) is Standing.STORED
    host = bench.hosts.get(HOST)
    assert host is not None
    assert host.last_seen_at == NOW + 5000


def test_an_agent_whose_confirmation_the_cache_lost_is_confirmed_when_it_sends_again(bench: Bench) -> None:
    """The last batch of a spool: nothing after it will bring the cache up to date, and the agent waits for ever."""
    cache = RedisAgentCache(connect(bench.redis_url))
    bench.handle(1)
    bench.handle(2)
    cache.note_stored(HOST, SPOOL, 1)  # Valkey was killed: its file has all but the last second
    assert bench.handle(2) is Standing.DUPLICATE
    assert cache.stored_through(HOST, SPOOL) == 2


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


def test_a_redis_that_does_not_answer_is_waited_for_once_and_then_left_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "farwatch.adapters.redis.client._Rest.until", float("-inf")
    )  # and put back after the test
    with socket.create_server(("127.0.0.1", 0)) as silent:
        bench.process = bench.fresh_container(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        for seq in range(1, 6):
            assert bench.handle(seq, 97.0) is Standing.STORED
        silent.settimeout(0.1)
        asked = 0
        with contextlib.suppress(TimeoutError):
            while silent.accept():
                asked += 1
    assert asked == 1
    assert len(bench.stored()) == 5


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


def test_a_wiped_cache_warms_up_from_stored_history_without_alarming(bench: Bench) -> None:
    rng = np.random.default_rng(3)
    bench.hosts.set_fleet_config("default_interval_s", 5.0, "test")
    for seq in range(1, 4):
        _feed(bench, seq, rng)
    assert _detector_series(bench) == 3
    connect(bench.redis_url).flushall()
    bench.process = bench.fresh_container()
    before = len(bench.signals.messages)
    _feed(bench, 4, rng)
    assert _detector_series(bench) == 3
    assert _seen(bench) == 4 * 240
    assert [s for s in bench.signals.messages[before:] if s.source == "anomaly"] == []


def test_when_a_whole_fleet_is_forgotten_rules_go_on_at_once_and_detectors_learn_in_turn(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = [0.0]
    read = bench.store.read

    def slow_read(*arguments: Any) -> Any:
        seconds[0] += 0.05
        return read(*arguments)

    def other(seq: int) -> Standing:
        return bench.process.handle(replace(bench.batch(seq, 97.0), host_id="host_b"), NOW + seq * 5000)

    with bench.database.transaction() as connection:
        connection.execute("INSERT INTO hosts (id, name) VALUES ('host_b', 'web-2')")
    for seq in (1, 2):
        bench.handle(seq, 97.0)
        other(seq)
    connect(bench.redis_url).flushall()
    monkeypatch.setattr(bench.store, "read", slow_read)
    bench.process = bench.fresh_container(clock=lambda: seconds[0])
    bench.handle(3, 97.0)
    other(3)
    firing = {(s.host_id, s.state, s.started_at) for s in bench.signals.messages if s.source == RULE.id}
    assert firing == {(host, SignalState.FIRING, NOW + 5000) for host in (HOST, "host_b")}
    assert (_memory(bench).cold, _memory(bench, "host_b").cold) == (False, True)
    seconds[0] += 60.0
    other(4)
    assert not _memory(bench, "host_b").cold
    assert _seen(bench, "host_b") == 4


def test_a_wiped_cache_goes_on_with_the_same_episode(bench: Bench) -> None:
    for seq in range(1, 6):
        bench.handle(seq, 97.0)
    connect(bench.redis_url).flushall()
    bench.process = bench.fresh_container()
    for seq in range(6, 12):
        bench.handle(seq, 20.0)
    assert {began for _, began in bench.firings()} == {NOW + 5000}
    assert bench.firings()[-1] == (SignalState.RESOLVED, NOW + 5000)


def test_three_metrics_that_leave_their_range_together_are_one_signal_ranked_and_in_words(
    bench: Bench,
) -> None:
    rng = np.random.default_rng(4)
    for seq in range(1, 5):
        _feed(bench, seq, rng)
    assert bench.signals.messages == []
    _feed(bench, 5, rng, jump=60.0)
    found = [s for s in bench.signals.messages if s.source == "anomaly"]
    assert len(found) == 1
    (signal,) = found
    assert (signal.severity, signal.evidence["series"]) == (Severity.INFO, 3)
    assert signal.title.endswith("and 2 more")
    assert "expected" in signal.reason
    assert {"load.1m", "memory.used_percent", "net.bytes_sent_per_second"} <= signal.evidence.keys()


def test_one_metric_that_leaves_its_range_is_kept_as_an_anomaly_and_tells_nobody(bench: Bench) -> None:
    rng = np.random.default_rng(5)
    for seq in range(1, 5):
        _feed(bench, seq, rng)
    _feed(bench, 5, rng, jump=60.0, jumping=1)
    assert bench.signals.messages == []
    jumped_at = NOW + (5 * 240 - 11) * 5000
    kept = PostgresAnomalies(bench.database).find(AnomalyFilter(start=jumped_at), 10, None)
    assert {item.anomaly.key.metric for item in kept} == {"load.1m"}
    assert all(item.anomaly.since <= item.anomaly.at for item in kept)


def test_a_detector_that_is_off_raises_nothing(bench: Bench) -> None:
    bench.hosts.set_fleet_config("detectors", [["load.*", "off"], ["*", "zscore"]], "test")
    rng = np.random.default_rng(6)
    for seq in range(1, 5):
        _feed(bench, seq, rng)
    _feed(bench, 5, rng, jump=60.0)
    kept = PostgresAnomalies(bench.database).find(AnomalyFilter(), 50, None)
    assert {item.anomaly.detector for item in kept} == {"zscore"}
    assert "load.1m" not in {item.anomaly.key.metric for item in kept}


def test_a_false_alarm_raises_the_threshold_that_the_next_container_goes_by(bench: Bench) -> None:
    log = PostgresAnomalies(bench.database)
    rng = np.random.default_rng(7)
    for seq in range(1, 5):
        _feed(bench, seq, rng)
    _feed(bench, 5, rng, jump=60.0, jumping=1)
    kept = log.find(AnomalyFilter(metric="load.1m"), 50, None)
    assert kept
    for item in kept:
        log.judge(item.id, Verdict.FALSE_ALARM, "user_1")
    threshold = sensitivity_of(log, HOST).thresholds[SeriesKey.of("load.1m")]
    assert threshold > DEFAULT_THRESHOLD
    bench.process = bench.fresh_container()
    for seq in range(6, 9):
        _feed(bench, seq, rng, jump=30.0 * seq, jumping=1)
    later = log.find(AnomalyFilter(metric="load.1m", start=NOW + 5 * 240 * 5000 + 1), 50, None)
    assert all(item.anomaly.score >= threshold for item in later)


def test_a_series_that_stops_while_its_host_reports_fires_a_rule_on_silence(bench: Bench) -> None:
    silent = Condition("load.1m", Comparison.ABOVE, 60, measure=Measure.SILENT)
    rule = Rule("rule_gone", "Load is not sent", (silent,), Severity.WARNING, for_s=0, keep_firing_for_s=0)
    bench.rules.put(rule)
    bench.process = bench.fresh_container()
    rng = np.random.default_rng(8)
    _feed(bench, 1, rng)
    for seq in range(2, 20):
        at = NOW + 240 * 5000 + seq * 5000
        block = SampleBlock(np.array([at]), (SeriesKey.of("cpu.percent"),), np.array([[5.0]]))
        bench.process.handle(Batch(f"b-{seq}", HOST, SPOOL, seq, 1, at, block), at)
    (first, *_) = [s for s in bench.signals.messages if s.source == "rule_gone"]
    assert first.reason == "load.1m has sent nothing for 1 min 5 s, although its host reports."


METRICS = ("load.1m", "memory.used_percent", "net.bytes_sent_per_second")


def _feed(bench: Bench, seq: int, rng: np.random.Generator, jump: float = 0.0, jumping: int = 3) -> None:
    """Send 20 minutes of three quiet metrics; the first ``jumping`` move by ``jump`` for the last minute."""
    times = NOW + ((seq - 1) * 240 + np.arange(1, 241)) * 5000
    values = 50.0 + rng.normal(0, 1, (240, 3))
    values[-12:, :jumping] += jump
    block = SampleBlock(times, tuple(SeriesKey.of(name) for name in METRICS), values)
    batch = Batch(f"b-{seq}", HOST, SPOOL, seq, 1, int(times[-1]), block)
    assert bench.process.handle(batch, int(times[-1])) is Standing.STORED


def _memory(bench: Bench, host_id: str = HOST) -> Memory:
    return decode_memory(RedisHostMemory(connect(bench.redis_url)).load(host_id))


def _detector_series(bench: Bench) -> int:
    return len(_memory(bench).detectors["default"].series)


def _seen(bench: Bench, host_id: str = HOST) -> int:
    """Return how many samples of its first series the default detector has learned from."""
    detector = registry.get("default")
    state = unpack(detector, _memory(bench, host_id).detectors["default"].state)
    return int(state["calibration"]["seen"][0])
