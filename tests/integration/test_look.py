"""The slow detectors live: from a stored batch to a look and back into the host's episode, over PostgreSQL and Valkey."""

from __future__ import annotations

import subprocess
import sys
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
from farwatch.adapters.redis.looks import RedisLookMemory
from farwatch.domain.anomalies import Anomaly
from farwatch.domain.looks import LOOK_EVERY_S, Look, Watched
from farwatch.domain.samples import Batch, SampleBlock, SeriesKey
from farwatch.domain.signals import Signal, SignalState
from farwatch.errors import Unavailable
from farwatch.ports.anomalies import AnomalyFilter
from farwatch.services.look import Looks
from farwatch.services.process import Process, Standing

HOST = "host_a"
START = 1_790_000_000_000
STEP = 5000
METRICS = ("load.1m", "memory.used_percent", "net.bytes_sent_per_second")
LEARNED = 700


class Sent:
    """A queue that keeps what is sent, and refuses while ``down``."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.down = False

    def send(self, messages: Any) -> None:
        if self.down:
            raise Unavailable("sqs", "down for the test")
        self.messages.extend(messages if isinstance(messages, Sequence) else [messages])


class Bench:
    """A host whose load is watched by LOF, and the two functions that see its samples."""

    def __init__(self, postgres_url: str, redis_url: str) -> None:
        self.database = Database(postgres_url)
        self.redis_url = redis_url
        self.store = PostgresMetricStore(self.database)
        self.hosts = PostgresHosts(self.database, STEP / 1000)
        self.log = PostgresAnomalies(self.database)
        self.signals, self.pushes, self.looks = Sent(), Sent(), Sent()
        self.memory = RedisLookMemory(connect(redis_url))
        with self.database.transaction() as connection:
            connection.execute("INSERT INTO hosts (id, name) VALUES (%s, 'web-1')", (HOST,))
        self.choose(["load.*", "lof"])
        self.process = self.fresh_container()
        self.detect = self.looking()
        self.rng = np.random.default_rng(11)
        self.seq = 0
        self.sent_through = 0

    def choose(self, *choices: list[str]) -> None:
        self.hosts.set_fleet_config("detectors", list(choices), "test")

    def fresh_container(self) -> Process:
        redis = connect(self.redis_url)
        return Process(
            self.store,
            self.hosts,
            PostgresRules(self.database),
            RedisAgentCache(redis),
            RedisHostMemory(redis),
            self.log,
            self.signals,
            self.pushes,
            self.looks,
        )

    def looking(self, memory: Any = None, **more: Any) -> Looks:
        return Looks(self.store, self.hosts, self.log, memory or self.memory, **more)

    def at(self, number: int) -> int:
        """Return the time of the sample of that number, counted from 1."""
        return START + number * STEP

    def write(self, first: int, last: int, metrics: Sequence[str] = METRICS[:1], jump: float = 0.0) -> None:
        """Store the samples ``first`` to ``last``: quiet ones, all moved by ``jump``."""
        times = np.array([self.at(number) for number in range(first, last + 1)])
        values = 50.0 + jump + self.rng.normal(0, 1, (len(times), len(metrics)))
        self.store.write(HOST, SampleBlock(times, tuple(map(SeriesKey.of, metrics)), values), int(times[-1]))

    def look(self, after: int, through: int, detect: Looks | None = None, budget_s: float = 60.0) -> Watched:
        """Look at the samples of those numbers."""
        asked = Look(HOST, self.at(after), self.at(through), self.at(through))
        watched = (detect or self.detect).handle(asked, budget_s, self.at(through))
        assert watched is not None
        return watched

    def learned(self) -> None:
        """Have the detector know the first ``LEARNED`` samples."""
        self.write(1, LEARNED)
        self.look(LEARNED, LEARNED)

    def batch(self, times: Sequence[int], values: Any) -> Batch:
        self.seq += 1
        block = SampleBlock(np.array(times), tuple(SeriesKey.of(name) for name in METRICS), values)
        return Batch(f"b-{self.seq}", HOST, "spool-1", self.seq, 1, int(times[-1]), block)

    def send(self, first: int, last: int, jump: float = 0.0) -> Standing:
        """Have ``process`` handle one batch of all three metrics."""
        times = [self.at(number) for number in range(first, last + 1)]
        self.sent_through = last
        batch = self.batch(times, 50.0 + jump + self.rng.normal(0, 1, (len(times), 3)))
        return self.process.handle(batch, times[-1])

    def found(self) -> list[tuple[int, float]]:
        """Return (number of the sample, score) of each anomaly that LOF raised, in order."""
        kept = self.log.find(AnomalyFilter(detector="lof"), 500, None)
        return sorted(((item.anomaly.at - START) // STEP, item.anomaly.score) for item in kept)

    def numbers(self) -> list[int]:
        return [number for number, _ in self.found()]


@pytest.fixture
def bench(postgres_url: str, redis_url: str) -> Iterator[Bench]:
    made = Bench(postgres_url, redis_url)
    yield made
    made.database.close()


class Memory(RedisLookMemory):
    """A memory that fails to save ``failures`` times: the function is killed there."""

    failures = 0

    def save(self, host_id: str, memory: bytes, watched: Watched) -> None:
        if self.failures:
            self.failures -= 1
            raise Unavailable("redis", "killed for the test")
        super().save(host_id, memory, watched)


# ---- asking


def test_a_look_is_asked_for_every_half_minute_and_covers_what_was_stored_since(bench: Bench) -> None:
    every = LOOK_EVERY_S * 1000 // STEP
    for number in range(1, 2 * every + 2):
        assert bench.send(number, number) is Standing.STORED
    ranges = [(look.after, look.through) for look in bench.looks.messages]
    assert ranges == [
        (bench.at(1) - 1, bench.at(1)),
        (bench.at(1), bench.at(1 + every)),
        (bench.at(1 + every), bench.at(1 + 2 * every)),
    ]


def test_nobody_is_asked_to_look_at_a_host_without_slow_detectors(bench: Bench) -> None:
    bench.choose(["swap.*", "lof"], ["*", "zscore"])
    bench.process = bench.fresh_container()
    bench.send(1, 30)
    assert bench.looks.messages == []


def test_a_queue_that_is_down_holds_up_nothing_and_the_next_look_covers_the_gap(bench: Bench) -> None:
    bench.send(1, 1)
    bench.looks.down = True
    assert bench.send(2, 10) is Standing.STORED
    bench.looks.down = False
    assert bench.send(11, 11) is Standing.STORED
    last = bench.looks.messages[-1]
    assert (last.after, last.through) == (bench.at(1), bench.at(11))


def test_process_needs_no_scikit_learn() -> None:
    code = (
        "import sys, functions.process.handler, farwatch.services.process; sys.exit('sklearn' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}).returncode == 0
    )


# ---- looking


def test_what_is_new_is_judged_and_what_went_before_only_teaches(bench: Bench) -> None:
    bench.write(1, 300)
    bench.write(301, 302, jump=60.0)
    bench.write(303, LEARNED)
    bench.look(LEARNED, LEARNED)
    assert bench.found() == []
    bench.write(LEARNED + 1, LEARNED + 6, jump=-40.0)
    watched = bench.look(LEARNED, LEARNED + 6)
    assert LEARNED + 1 in bench.numbers()
    assert (watched.series, watched.through) == (1, bench.at(LEARNED + 6))
    kept = bench.log.find(AnomalyFilter(pattern="dip"), 10, None)
    assert {item.anomaly.pattern for item in kept} == {"dip"}
    assert bench.log.find(AnomalyFilter(pattern="drift"), 10, None) == []


def test_a_look_that_comes_twice_late_or_never_changes_nothing(bench: Bench) -> None:
    bench.learned()
    bench.write(LEARNED + 1, LEARNED + 6)
    bench.write(LEARNED + 7, LEARNED + 12, jump=60.0)
    bench.look(LEARNED + 6, LEARNED + 12)  # the look at the six before it was lost
    once = bench.found()
    assert once
    bench.look(LEARNED + 6, LEARNED + 12)
    bench.look(LEARNED, LEARNED + 6)
    assert bench.found() == once
    assert bench.memory.watched([HOST])[HOST].through == bench.at(LEARNED + 12)


def test_a_look_that_is_killed_before_it_could_remember_finds_the_same_again(bench: Bench) -> None:
    bench.learned()
    bench.write(LEARNED + 1, LEARNED + 6, jump=60.0)
    memory = Memory(connect(bench.redis_url))
    memory.failures = 1
    killed = bench.looking(memory)
    with pytest.raises(Unavailable):
        bench.look(LEARNED, LEARNED + 6, killed)
    before = bench.found()
    assert before
    bench.look(LEARNED, LEARNED + 6, killed)
    assert bench.found() == before


def test_a_wiped_cache_is_warmed_up_again_without_alarming(bench: Bench) -> None:
    bench.learned()
    bench.write(LEARNED + 1, LEARNED + 6, jump=60.0)
    bench.look(LEARNED, LEARNED + 6)
    before = bench.found()
    bench.write(LEARNED + 7, LEARNED + 400)
    connect(bench.redis_url).flushall()
    bench.look(LEARNED + 394, LEARNED + 400)
    assert bench.found() == before
    bench.write(LEARNED + 401, LEARNED + 406, jump=-90.0)
    bench.look(LEARNED + 400, LEARNED + 406)
    assert LEARNED + 401 in bench.numbers()
    assert bench.found()[: len(before)] == before


def test_an_outage_of_hours_is_caught_up_with_in_order(bench: Bench) -> None:
    bench.learned()
    bench.write(LEARNED + 1, LEARNED + 3000)
    bench.write(LEARNED + 3001, LEARNED + 3006, jump=60.0)
    first = bench.look(LEARNED + 3000, LEARNED + 3006)
    assert first.through == bench.at(LEARNED + 2000)
    second = bench.look(LEARNED + 3006, LEARNED + 3006)
    assert second.through == bench.at(LEARNED + 3006)
    assert LEARNED + 3001 in bench.numbers()


def test_a_host_that_is_sampled_each_minute_is_learned_from_further_back(bench: Bench) -> None:
    bench.hosts.set_fleet_config("default_interval_s", 60.0, "test")
    hosts = PostgresHosts(bench.database, 60.0)
    times = START + np.arange(1, LEARNED + 1) * 60_000
    values = 50.0 + bench.rng.normal(0, 1, (LEARNED, 1))
    values[-1] += 60.0
    bench.store.write(HOST, SampleBlock(times, (SeriesKey.of("load.1m"),), values), int(times[-1]))
    looks = Looks(bench.store, hosts, bench.log, bench.memory)
    looks.handle(Look(HOST, int(times[-2]), int(times[-1]), int(times[-1])), 60.0, int(times[-1]))
    (found,) = bench.log.find(AnomalyFilter(detector="lof"), 10, None)
    assert found.anomaly.at == int(times[-1])


def test_without_time_a_series_is_taken_up_by_the_next_look(bench: Bench) -> None:
    bench.choose(["*", "lof"])
    bench.write(1, LEARNED, METRICS)
    looks = [bench.look(LEARNED, LEARNED, budget_s=0.0) for _ in METRICS]
    assert [(watched.series, watched.waiting) for watched in looks] == [(1, 2), (2, 1), (3, 0)]


def test_without_the_cache_it_waits_and_goes_on_where_it_was(bench: Bench) -> None:
    bench.learned()
    bench.write(LEARNED + 1, LEARNED + 6, jump=60.0)
    without = bench.looking(RedisLookMemory(connect("redis://127.0.0.1:1/0")))
    with pytest.raises(Unavailable):
        bench.look(LEARNED, LEARNED + 6, without)
    assert bench.found() == []
    bench.look(LEARNED, LEARNED + 6)
    assert LEARNED + 1 in bench.numbers()


def test_bytes_of_another_release_are_as_good_as_none(bench: Bench) -> None:
    bench.learned()
    bench.memory.save(HOST, b"\x81\xa1x\x01", Watched(0, 0, 0))
    bench.write(LEARNED + 1, LEARNED + 6, jump=60.0)
    bench.look(LEARNED, LEARNED + 6)
    assert LEARNED + 1 in bench.numbers()


def test_a_choice_taken_back_is_forgotten(bench: Bench) -> None:
    bench.learned()
    bench.choose(["*", "default"])
    bench.write(LEARNED + 1, LEARNED + 6, jump=60.0)
    assert bench.look(LEARNED, LEARNED + 6).series == 0
    assert bench.found() == []


def test_a_host_that_is_gone_is_not_looked_at(bench: Bench) -> None:
    with bench.database.transaction() as connection:
        connection.execute("UPDATE hosts SET retired_at = now()")
    assert bench.detect.handle(Look(HOST, 0, START, START), 1.0, START) is None


# ---- back in the host's episode


def test_what_a_look_finds_counts_for_the_hosts_episode_once(bench: Bench) -> None:
    bench.send(1, 240)
    at = bench.at(240)
    for metric in METRICS:
        key = SeriesKey.of(metric)
        bench.log.append(
            [Anomaly(HOST, key, "lof", at, 99.0, 0.8, 48.0, 52.0, "spike", f"{metric} rose.", at)]
        )
    assert episodes(bench) == []
    bench.send(241, 241)
    (signal,) = episodes(bench)
    assert signal.evidence["series"] == 3
    assert "load.1m rose." in signal.reason
    bench.send(242, 243)
    assert len(episodes(bench)) == 1


def test_what_is_found_late_joins_the_episode_of_its_own_time_while_that_is_on(bench: Bench) -> None:
    bench.send(1, 240)
    for number in (240, 288, 336):  # every four minutes
        for metric in METRICS:
            found_by_lof(bench, metric, number)
        bench.send(bench.sent_through + 1, number + 1)
    begun = bench.at(240)
    assert episodes(bench)[-1].started_at == begun
    found_by_lof(bench, "disk.used_percent", 250, late=True)
    found_by_lof(bench, "swap.used_percent", 120, late=True)
    bench.send(bench.sent_through + 1, bench.sent_through + 12)
    signal = episodes(bench)[-1]
    assert (signal.started_at, signal.evidence["series"]) == (begun, 4)
    assert "disk.used_percent" in signal.evidence
    bench.send(bench.sent_through + 1, bench.sent_through + 60)
    assert episodes(bench)[-1].state is SignalState.RESOLVED, "and what is found late does not keep it on"


def test_what_is_found_when_the_episode_of_its_time_is_over_tells_nobody(bench: Bench) -> None:
    bench.send(1, 240)
    for metric in METRICS:
        found_by_lof(bench, metric, 240)
    bench.send(241, 241)
    bench.send(242, 320)
    told = episodes(bench)
    assert told[-1].state is SignalState.RESOLVED
    for metric in METRICS:
        found_by_lof(bench, metric, 245, late=True)
    bench.send(321, 340)
    assert episodes(bench) == told


def found_by_lof(bench: Bench, metric: str, number: int, *, late: bool = False) -> None:
    """Have LOF have found something in the sample of that number: at once, or only just now."""
    at = bench.at(number)
    key = SeriesKey.of(metric)
    bench.log.append([Anomaly(HOST, key, "lof", at, 99.0, 0.8, 48.0, 52.0, "spike", f"{metric} rose.", at)])
    raised_at = bench.at(bench.sent_through) if late else at
    with bench.database.transaction() as connection:
        connection.execute(
            """UPDATE anomalies SET raised_at = to_timestamp(%s / 1000.0)
               WHERE metric = %s AND at = to_timestamp(%s / 1000.0)""",
            (raised_at, metric, at),
        )


def episodes(bench: Bench) -> list[Signal]:
    return [signal for signal in bench.signals.messages if signal.source == "anomaly"]
