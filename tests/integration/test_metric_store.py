"""The contract of every metric store: what is written is read, once, at every resolution."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psycopg
import pytest

from farwatch.adapters.influx import InfluxMetricStore
from farwatch.adapters.postgres.database import Database
from farwatch.adapters.postgres.samples import PostgresMetricStore
from farwatch.domain.retention import HOUR, MINUTE, RAW, Resolution, Retention
from farwatch.domain.samples import SampleBlock, SeriesKey
from farwatch.ports.metric_store import MetricStore
from farwatch.wire.batch import LARGEST, SMALLEST
from tests.influx import INSTALL, available, create_databases, drop_databases, influx_server

HOST = "host_a"
DAY = 86_400_000
NOON = 20_000 * DAY + DAY // 2
CPU, ROOT, DATA = (
    SeriesKey.of("cpu.percent"),
    SeriesKey.of("disk.used_percent", {"mount": "/"}),
    SeriesKey.of("disk.used_percent", {"mount": 'odd "name", =\\ é'}),
)
RAW_STEP = Resolution(RAW, 0)


@pytest.fixture(scope="session")
def influx() -> Iterator[str]:
    """URL of a running InfluxDB."""
    if not available():
        pytest.skip(f"no InfluxDB server here: {INSTALL}")
    with influx_server() as url:
        yield url


class Clock:
    """The stores' clock: ``step_s`` seconds pass at each look at it."""

    def __init__(self) -> None:
        self.now = self.step_s = 0.0

    def __call__(self) -> float:
        self.now += self.step_s
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["postgres", pytest.param("influx", marks=pytest.mark.influx)])
def store(request: pytest.FixtureRequest, clock: Clock) -> Iterator[MetricStore]:
    """An empty store that knows two hosts."""
    if request.param == "influx":
        url = request.getfixturevalue("influx")
        databases = ("test", "test_60", "test_3600")
        drop_databases(url, *databases)
        create_databases(url, *databases)
        influxdb = InfluxMetricStore(url, "", "farwatch", "test", clock)
        yield influxdb
        influxdb.close()
        return
    database = Database(request.getfixturevalue("postgres_url"))
    with database.transaction() as connection:
        connection.execute("INSERT INTO hosts (id, name) VALUES ('host_a', 'a'), ('host_b', 'b')")
    yield PostgresMetricStore(database, clock)
    database.close()


def block(times: list[int], *rows: list[float]) -> SampleBlock:
    keys = (CPU, ROOT, DATA)[: len(rows)]
    return SampleBlock(
        np.array(times, np.int64), keys, np.array(rows, float).T.reshape(len(times), len(rows))
    )


def test_what_is_written_is_read_back_without_the_gaps(store: MetricStore) -> None:
    store.write(HOST, block([NOON, NOON + 5000], [1.5, np.nan], [2.0, 3.0], [4.0, 5.0]), NOON)
    cpu, odd, root = store.read(HOST, ["cpu.percent", "disk.used_percent"], NOON, NOON + DAY, RAW_STEP)
    assert (cpu.key, cpu.times.tolist(), cpu.mean.tolist()) == (CPU, [NOON], [1.5])
    assert {odd.key, root.key} == {ROOT, DATA}
    assert root.max.tolist() in ([2.0, 3.0], [4.0, 5.0])
    assert root.count.tolist() == [1, 1]


@pytest.mark.parametrize("mount", ["", "C:\\", "a\\\\", "\u2060", "\\ ,="])
def test_a_label_is_kept_whatever_its_value(store: MetricStore, mount: str) -> None:
    keys = (SeriesKey.of("disk.used_percent", {"mount": mount}), SeriesKey.of("disk.used_percent"))
    store.write(HOST, SampleBlock(np.array([NOON]), keys, np.array([[1.0, 2.0]])), NOON)
    found = store.read(HOST, ["disk.used_percent"], NOON, NOON + DAY, RAW_STEP)
    assert {data.key: data.mean.tolist() for data in found} == {keys[0]: [1.0], keys[1]: [2.0]}
    assert set(store.series(HOST)) == set(keys)


def test_writing_again_changes_nothing(store: MetricStore) -> None:
    for _ in range(3):
        store.write(HOST, block([NOON, NOON + 5000], [1.0, 2.0]), NOON)
    store.write(HOST, block([NOON + 5000, NOON + 10_000], [2.0, 3.0]), NOON)
    (cpu,) = store.read(HOST, ["cpu.percent"], NOON, NOON + DAY, RAW_STEP)
    assert cpu.mean.tolist() == [1.0, 2.0, 3.0]


def test_the_range_is_half_open_and_hosts_are_apart(store: MetricStore) -> None:
    store.write(HOST, block([NOON, NOON + 1000, NOON + 2000], [1.0, 2.0, 3.0]), NOON)
    store.write("host_b", block([NOON], [9.0]), NOON)
    (cpu,) = store.read(HOST, ["cpu.percent"], NOON, NOON + 2000, RAW_STEP)
    assert cpu.mean.tolist() == [1.0, 2.0]
    assert store.read("host_c", ["cpu.percent"], NOON, NOON + 2000, RAW_STEP) == []


def test_buckets_keep_mean_min_max_and_count(store: MetricStore) -> None:
    times = [NOON + i * 5000 for i in range(24)]
    store.write(HOST, block(times, [float(i) for i in range(24)]), NOON)
    (cpu,) = store.read(HOST, ["cpu.percent"], NOON, NOON + DAY, Resolution(RAW, 60))
    assert cpu.times.tolist() == [NOON, NOON + 60_000]
    assert cpu.mean.tolist() == [5.5, 17.5]
    assert (cpu.min.tolist(), cpu.max.tolist(), cpu.count.tolist()) == ([0.0, 12.0], [11.0, 23.0], [12, 12])


def test_roll_ups_agree_with_the_raw_samples_late_ones_included(store: MetricStore) -> None:
    times = [NOON + i * 5000 for i in range(1440)]
    values = np.random.default_rng(3).normal(50, 10, 1440)
    early = np.arange(1440) < 700
    store.write(
        HOST,
        block([t for t, e in zip(times, early, strict=True) if e], values[early].tolist()),
        NOON + 3_500_000,
    )
    store.roll_up(NOON + 7_300_000)
    store.write(
        HOST,
        block([t for t, e in zip(times, early, strict=True) if not e], values[~early].tolist()),
        NOON + 7_400_000,
    )
    store.roll_up(NOON + 7_500_000)
    for tier in (MINUTE, HOUR):
        (rolled,) = store.read(HOST, ["cpu.percent"], NOON, NOON + 7_200_000, Resolution(tier, tier))
        (exact,) = store.read(HOST, ["cpu.percent"], NOON, NOON + 7_200_000, Resolution(RAW, tier))
        assert rolled.times.tolist() == exact.times.tolist()
        assert rolled.count.tolist() == exact.count.tolist()
        np.testing.assert_allclose(rolled.mean, exact.mean)
        np.testing.assert_array_equal(rolled.min, exact.min)
        np.testing.assert_array_equal(rolled.max, exact.max)


def test_the_largest_and_smallest_values_that_are_taken_are_rolled_up(store: MetricStore) -> None:
    times = [NOON + i * 1000 for i in range(7200)]
    store.write(HOST, block(times, [*[SMALLEST, *[0.0] * 3599], *[LARGEST, -LARGEST] * 1800]), NOON)
    store.roll_up(NOON + 7_300_000)
    for tier in (MINUTE, HOUR):
        (rolled,) = store.read(HOST, ["cpu.percent"], NOON, NOON + 7_200_000, Resolution(tier, tier))
        assert rolled.count.sum() == 7200
        assert (rolled.min.min(), rolled.max.max()) == (-LARGEST, LARGEST)
        assert (abs(rolled.mean) < LARGEST).all()


def test_roll_ups_that_take_long_go_on_where_the_sweep_before_had_to_stop(store: MetricStore) -> None:
    seconds = iter(
        range(0, 100_000, 30)
    )  # thirty pass at each look at the clock: one step is all a sweep has time for
    assert isinstance(store, InfluxMetricStore | PostgresMetricStore)
    store._clock = seconds.__next__
    hour = [NOON + i * 5000 for i in range(720)]
    hosts = ("host_a", "host_b")
    for host in hosts:
        store.write(host, block(hour, [1.0] * 720), NOON)
    rolled: list[list[int]] = []
    for sweep in range(9):
        if sweep == 6:  # the hour is rolled up; then both hosts bring what they had kept during an outage
            for host in hosts:
                store.write(host, block([at + 2500 for at in hour], [3.0] * 720), NOON + 8 * 3_600_000)
        store.roll_up(NOON + 3_600_000 + 90_000)
        found = [
            store.read(host, ["cpu.percent"], NOON, NOON + 3_600_000, Resolution(MINUTE, MINUTE))
            for host in hosts
        ]
        rolled.append([int(data.count.sum()) for each in found for data in each])
    assert rolled[0] == [120, 120], "one step of ten minutes"
    assert rolled[5] == [720, 720]
    assert rolled[6] in ([1440, 720], [720, 1440]), "one host at a time"
    assert rolled[-1] == [1440, 1440]


def test_history_and_roll_ups_are_written_side_by_side_in_one_order(postgres_url: str) -> None:
    # Two transactions that write the same buckets wait for each other, and deadlock unless both keep to one order.
    with psycopg.connect(postgres_url) as other, ThreadPoolExecutor(1) as thread:
        for write in ("write_history", "roll_up"):
            database = Database(postgres_url)
            with database.transaction() as connection:
                connection.execute("INSERT INTO hosts (id, name) VALUES (%s, 'x')", (write,))
            store = PostgresMetricStore(database)
            rows = block([NOON, NOON + 60_000], [1.0, 2.0], [3.0, 4.0])
            store.write(write, rows, NOON)
            first, second = sorted(store._ids.values())[-2:]
            bucket = "INSERT INTO rollups VALUES (60, %s, %s, 1, 0, 0, 0)"
            other.execute(bucket, (first, NOON + 60_000))
            if write == "roll_up":
                written = thread.submit(store.roll_up, NOON + 300_000)
            else:
                written = thread.submit(store.write_history, write, rows, MINUTE)
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            for _ in range(200):
                if other.execute(waiting).fetchone() != (0,):
                    break
                time.sleep(0.05)
            other.execute(bucket, (second, NOON))
            other.commit()
            written.result(30)
            database.close()


def test_history_is_read_back_from_its_tier(store: MetricStore) -> None:
    store.write_history(HOST, block([NOON, NOON + 60_000], [1.0, 2.0]), MINUTE)
    (cpu,) = store.read(HOST, ["cpu.percent"], NOON, NOON + DAY, Resolution(MINUTE, MINUTE))
    assert cpu.mean.tolist() == [1.0, 2.0]


def test_expiry_drops_what_is_past_its_retention_and_nothing_else(store: MetricStore) -> None:
    store.write(HOST, block([NOON], [2.0]), NOON)
    store.roll_up(NOON + 300_000)
    store.write(HOST, block([NOON - 5 * DAY], [1.0]), NOON)
    store.roll_up(NOON + 300_000)
    store.write_history(HOST, block([NOON - 40 * DAY], [1.0]), MINUTE)
    store.expire(Retention(raw_days=3, minute_days=30, hour_days=730), NOON)
    (raw,) = store.read(HOST, ["cpu.percent"], 0, NOON + DAY, RAW_STEP)
    (minute,) = store.read(HOST, ["cpu.percent"], 0, NOON + DAY, Resolution(MINUTE, MINUTE))
    assert raw.mean.tolist() == [2.0]
    assert minute.mean.tolist() == [1.0, 2.0]
    store.write(HOST, block([NOON - 5 * DAY], [7.0]), NOON)
    (raw,) = store.read(HOST, ["cpu.percent"], 0, NOON + DAY, RAW_STEP)
    assert raw.mean.tolist() == [7.0, 2.0]


def test_what_comes_days_late_is_dropped_only_once_it_is_rolled_up(store: MetricStore) -> None:
    late = NOON - 5 * DAY
    store.expire(Retention(), NOON)
    store.write(HOST, block([NOON], [2.0]), NOON)
    store.roll_up(NOON + 300_000)
    for second in range(3):  # as an agent that was cut off for days brings what it kept, while the sweep runs
        store.write(HOST, block([late + 60_000 * second], [7.0]), NOON)
        store.expire(Retention(raw_days=3), NOON)
        store.roll_up(NOON + 300_000)
    store.expire(Retention(raw_days=3), NOON)
    (minute,) = store.read(HOST, ["cpu.percent"], late, late + DAY, Resolution(MINUTE, MINUTE))
    assert minute.mean.tolist() == [7.0, 7.0, 7.0]
    (raw,) = store.read(HOST, ["cpu.percent"], 0, NOON + DAY, RAW_STEP)
    assert raw.mean.tolist() == [2.0]


def test_a_day_that_another_process_has_dropped_is_made_again(postgres_url: str) -> None:
    database = Database(postgres_url)
    with database.transaction() as connection:
        connection.execute("INSERT INTO hosts (id, name) VALUES ('host_a', 'a')")
    process, sweep = PostgresMetricStore(database), PostgresMetricStore(database)
    late = NOON - 5 * DAY
    process.write(HOST, block([NOON], [2.0]), NOON)
    sweep.roll_up(NOON + 300_000)
    for minute in range(2):
        process.write(HOST, block([late + 60_000 * minute], [3.0]), NOON)
        sweep.roll_up(NOON + 300_000)
        sweep.expire(Retention(raw_days=3), NOON)
    (minutes,) = process.read(HOST, ["cpu.percent"], late, NOON, Resolution(MINUTE, MINUTE))
    assert minutes.mean.tolist() == [3.0, 3.0]
    database.close()


def test_series_are_listed_by_name(store: MetricStore) -> None:
    store.write(HOST, block([NOON], [1.0], [2.0], [3.0]), NOON)
    assert set(store.series(HOST)) == {CPU, ROOT, DATA}
    assert store.series(HOST, "cpu.percent") == [CPU]
    assert store.series("host_b") == []


def test_an_empty_block_is_no_trouble(store: MetricStore) -> None:
    store.write(HOST, SampleBlock(np.array([], np.int64), (), np.zeros((0, 0))), NOON)
    store.write(HOST, block([NOON], [np.nan]), NOON)
    store.ping()
    assert store.read(HOST, ["cpu.percent"], 0, NOON * 2, RAW_STEP) == []
