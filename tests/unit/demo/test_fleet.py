"""The simulated fleet: believable, the same for the same seed, and troubled exactly where its manifest says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector_agent import catalogue
from infra.local.demo.fleet import DemoHost, fleet
from infra.local.demo.history import Series, history, measure
from infra.local.demo.trouble import DAY_MS, FOREVER, HOUR_MS, METRICS, MINUTE_MS, Plan, Trouble

HOSTS = fleet(7)
ANCHOR = 1_790_000_040_000 // MINUTE_MS * MINUTE_MS
PLAN = Plan(HOSTS, ANCHOR)
WEEK = ANCHOR - 7 * DAY_MS
BY_NAME = {host.name: host for host in HOSTS}


def values(series: Series, name: str, **labels: str) -> np.ndarray:
    return series[name, tuple(sorted(labels.items()))]


def trouble(kind: str) -> tuple[DemoHost, Trouble]:
    found = next(t for t in PLAN.past if t.kind == kind)
    return BY_NAME[found.host], found


def around(found: Trouble, host: DemoHost) -> tuple[np.ndarray, Series]:
    return history(PLAN, host, found.start - 6 * HOUR_MS, min(found.end, ANCHOR) + 6 * HOUR_MS, 60)


def test_there_are_twenty_hosts_of_six_roles_with_names_of_their_own() -> None:
    assert len({host.name for host in HOSTS}) == 20
    assert {host.role for host in HOSTS} == {"web", "api", "db", "cache", "batch", "queue"}
    assert all({"env", "role", "region"} <= host.labels.keys() for host in HOSTS)


def test_the_same_seed_gives_the_same_fleet_and_history_and_another_seed_another() -> None:
    again = Plan(fleet(7), ANCHOR)
    assert fleet(7) == HOSTS
    assert fleet(8) != HOSTS
    assert again.manifest() == PLAN.manifest()
    first, second = (history(p, HOSTS[3], WEEK, WEEK + DAY_MS, 300)[1] for p in (PLAN, again))
    assert all(np.array_equal(first[key], second[key], equal_nan=True) for key in first)


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.name)
def test_every_series_keeps_to_the_catalogue(host: DemoHost) -> None:
    _, series = history(PLAN, host, WEEK, ANCHOR + DAY_MS, 600)
    assert len(series) >= 25
    for (name, labels), row in series.items():
        metric = catalogue.BY_NAME[name]
        assert tuple(key for key, _ in labels) == metric.labels
        known = row[~np.isnan(row)]
        assert np.isfinite(known).all()
        assert metric.low is None or known.min() >= metric.low
        assert metric.high is None or known.max() <= metric.high


@settings(max_examples=30, deadline=None)
@given(st.integers(WEEK, ANCHOR + DAY_MS), st.sampled_from(HOSTS))
def test_a_moment_has_one_value_however_it_is_asked_for(moment: int, host: DemoHost) -> None:
    alone = measure(PLAN, host, np.array([moment], np.int64))
    _, among = history(PLAN, host, moment - 50_000, moment + 50_000, 5)
    for key, row in alone.items():
        assert np.array_equal(row, among[key][10:11], equal_nan=True)


def test_processor_network_and_load_of_a_web_host_move_together() -> None:
    calm = next(h for h in HOSTS if h.role == "web" and not PLAN.of(h.name, WEEK, ANCHOR))
    _, series = history(PLAN, calm, WEEK, ANCHOR, 300)
    table = np.vstack([
        values(series, "cpu.percent"),
        values(series, "load.5m"),
        values(series, "net.bytes_sent_per_second", interface=calm.interface),
    ])  # fmt: skip
    assert np.corrcoef(table).min() > 0.8


def test_days_are_busier_than_nights_and_workdays_than_weekends() -> None:
    calm = next(h for h in HOSTS if h.role == "web" and not PLAN.of(h.name, WEEK, ANCHOR))
    times, series = history(PLAN, calm, WEEK, ANCHOR, 300)
    cpu, local = values(series, "cpu.percent"), times + round(calm.utc_offset_h * HOUR_MS)
    hour, weekday = local % DAY_MS // HOUR_MS, (local // DAY_MS + 3) % 7
    day = (hour >= 12) & (hour < 18)
    assert cpu[day].mean() > 2.5 * cpu[(hour >= 2) & (hour < 5)].mean()
    assert cpu[day & (weekday < 5)].mean() > 1.3 * cpu[day & (weekday >= 5)].mean()


def test_the_manifest_names_every_kind_with_host_metrics_and_time() -> None:
    manifest = PLAN.manifest()
    assert {row["kind"] for row in manifest} == set(METRICS)
    for row in manifest:
        assert row["host"] in BY_NAME
        assert WEEK <= row["start"] < ANCHOR
        assert row["end"] is None or row["end"] > row["start"]
        assert row["metrics"]


@pytest.mark.parametrize(
    ("kind", "metric", "labels", "inside_at_least", "times_outside"),
    [
        ("cpu_hog", "cpu.percent", (), 95.0, 1.5),
        ("io_saturation", "disk.busy_percent", ("device",), 90.0, 3.0),
        ("io_saturation", "cpu.iowait_percent", (), 25.0, 5.0),
        ("network_errors", "net.errors_per_second", ("interface",), 10.0, 50.0),
    ],
)
def test_a_trouble_shows_where_and_when_the_manifest_says(
    kind: str, metric: str, labels: tuple[str, ...], inside_at_least: float, times_outside: float
) -> None:
    host, found = trouble(kind)
    times, series = around(found, host)
    named = {label: getattr(host, label) for label in labels}
    row = values(series, metric, **named)
    inside = (times > found.start + 2 * MINUTE_MS) & (times < found.end - 2 * MINUTE_MS)
    outside = (times < found.start) | (times > found.end)
    assert np.nanmedian(row[inside]) >= inside_at_least
    assert np.nanmedian(row[inside]) > times_outside * np.nanmedian(row[outside])


def test_a_memory_leak_climbs_and_ends_at_once() -> None:
    host, found = trouble("memory_leak")
    times, series = around(found, host)
    used = values(series, "memory.used_percent")
    assert used[times < found.end][-1] > 93
    assert used[times > found.end][0] < 75
    assert np.diff(used[(times > found.start) & (times < found.end)]).mean() > 0


def test_a_disk_fills_for_a_day_and_is_nearly_full_at_the_anchor() -> None:
    host, found = trouble("disk_filling")
    _, series = history(PLAN, host, found.start, ANCHOR + 5 * HOUR_MS, 600)
    used = values(series, "disk.used_percent", mount="/")
    assert used[0] < 65
    assert used[-1] > 97
    assert 88 < used[round(len(used) * 26 / 31)] < 97


def test_a_silent_host_has_no_samples_and_comes_back_restarted() -> None:
    host, found = trouble("silence")
    times, series = around(found, host)
    cpu, uptime = values(series, "cpu.percent"), values(series, "uptime.seconds")
    gone = (times >= found.start) & (times < found.end)
    assert np.isnan(cpu[gone][1:]).all()
    assert not np.isnan(cpu[~gone][1:-1]).any()
    assert uptime[times > found.end][0] < 200


def test_a_level_shift_stays() -> None:
    host, found = trouble("level_shift")
    _, before = history(PLAN, host, found.start - DAY_MS, found.start, 300)
    _, after = history(PLAN, host, found.start, found.start + DAY_MS, 300)
    dearness = [
        values(day, "cpu.percent").mean()
        / values(day, "net.bytes_sent_per_second", interface=host.interface).mean()
        for day in (before, after)
    ]
    assert dearness[1] > 1.25 * dearness[0]
    assert found.end == FOREVER


def test_a_nightly_job_stops() -> None:
    host, _ = trouble("job_stopped")
    other = next(h for h in HOSTS if h.role == "batch" and h.name != host.name)
    for shown, expected in ((host, False), (other, True)):
        times, series = history(PLAN, shown, ANCHOR - 2 * DAY_MS, ANCHOR, 60)
        local = (times + round(shown.utc_offset_h * HOUR_MS)) % DAY_MS
        night = (local > 2.4 * HOUR_MS) & (local < 3.0 * HOUR_MS)
        assert bool(np.median(values(series, "cpu.percent")[night]) > 40) is expected


def test_after_the_anchor_one_short_trouble_follows_another() -> None:
    day = list(PLAN.live(ANCHOR, ANCHOR + DAY_MS))
    assert len(day) == DAY_MS // PLAN.LIVE_EVERY_MS
    assert {t.kind for t in day} == {"cpu_hog", "io_saturation", "silence", "network_errors"}
    assert all(t.end - t.start < PLAN.LIVE_EVERY_MS for t in day)
    assert len({t.host for t in day}) > 8
    middle = ANCHOR + DAY_MS // 2
    assert set(PLAN.live(middle, middle + HOUR_MS)) <= set(day)
