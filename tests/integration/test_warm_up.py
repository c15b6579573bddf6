"""A host's lost memory comes back a little at a time: no message takes longer than it may, and nothing else is learned."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from farwatch.adapters.postgres.database import Database
from farwatch.adapters.postgres.samples import PostgresMetricStore
from farwatch.domain.hosts import Host
from farwatch.domain.samples import SampleBlock, SeriesKey
from farwatch.services.detect import Sensitivity
from farwatch.services.evaluation import Memory, encode_memory
from farwatch.services.warm_up import AT_ONCE_S, WarmUp

NOW = 1_790_000_000_000
HOST = Host(id="host_a", name="web-1", interval_s=5.0)
SERIES = tuple(SeriesKey.of(name) for name in ("cpu.percent", "memory.used_percent", "load.1m"))


@pytest.fixture
def store(postgres_url: str) -> Iterator[PostgresMetricStore]:
    """A store with two hours of samples, and a day of minutes before them."""
    database = Database(postgres_url)
    with database.transaction() as connection:
        connection.execute("INSERT INTO hosts (id, name) VALUES (%s, %s)", (HOST.id, HOST.name))
    made, chance = PostgresMetricStore(database), np.random.default_rng(1)
    times = NOW - np.arange(1, 1441)[::-1] * 5000
    made.write(HOST.id, SampleBlock(times, SERIES, chance.gamma(3, 5, (1440, 3))), NOW)
    minutes = NOW // 60_000 * 60_000 - np.arange(121, 1561)[::-1] * 60_000
    made.write_history(HOST.id, SampleBlock(minutes, SERIES, chance.gamma(3, 5, (1440, 3))), 60)
    yield made
    database.close()


class Clock:
    """Each look at it takes a while."""

    def __init__(self, step_s: float) -> None:
        self.now, self.step_s = 0.0, step_s

    def __call__(self) -> float:
        self.now += self.step_s
        return self.now


def test_detectors_learn_over_several_batches_what_they_would_have_learned_at_once(
    store: PostgresMetricStore,
) -> None:
    whole, slow = Memory(), Memory()
    WarmUp(store, Clock(0.0)).learn(whole, HOST, [], NOW, Sensitivity())
    clock = Clock(0.7)
    warm_up, batches = WarmUp(store, clock), 0
    while batches == 0 or slow.cold:
        warm_up.learn(slow, HOST, [], NOW, Sensitivity())
        batches += 1
        clock.now += 60.0
    assert not whole.cold
    assert batches > 5
    assert encode_memory(slow) == encode_memory(whole)


def test_no_batch_waits_for_a_warm_up_much_longer_than_is_allowed(store: PostgresMetricStore) -> None:
    clock, memory = Clock(0.4), Memory()
    WarmUp(store, clock).learn(memory, HOST, [], NOW, Sensitivity())
    assert memory.cold
    assert clock.now < 2 * AT_ONCE_S


def test_samples_that_came_while_detectors_were_learning_are_learned_as_well(
    store: PostgresMetricStore,
) -> None:
    clock, memory = Clock(0.7), Memory()
    warm_up = WarmUp(store, clock)
    warm_up.learn(memory, HOST, [], NOW - 600_000, Sensitivity())
    assert memory.cold
    clock.now, clock.step_s = 100.0, 0.0
    warm_up.learn(memory, HOST, [], NOW, Sensitivity())
    whole = Memory()
    WarmUp(store, Clock(0.0)).learn(whole, HOST, [], NOW, Sensitivity())
    assert memory.detectors["default"].state == whole.detectors["default"].state
