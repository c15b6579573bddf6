"""Batches: what is kept of the samples, and the bytes that are sent."""

from __future__ import annotations

import json
import math
import uuid
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector_agent import batch, catalogue
from collector_agent.batch import Builder

T0 = 1_790_000_000_000


def built(*ticks: list[tuple[str, tuple[tuple[str, str], ...], float]]) -> dict[str, Any]:
    builder = Builder(version="1", started_at_ms=T0)
    for index, samples in enumerate(ticks):
        builder.add(T0 + 1000 * index, samples)
    payload = builder.take(5.0)
    assert payload is not None
    return dict(json.loads(zlib.decompress(payload.data)))


def test_series_that_come_and_go_are_filled_with_null() -> None:
    body = built([("cpu.percent", (), 1.0)], [("load.1m", (), 2.0)], [("cpu.percent", (), 3.0)])
    series = {s["metric"]: s["values"] for s in body["series"]}
    assert series == {"cpu.percent": [1, None, 3], "load.1m": [None, 2, None]}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300, -5.0, 140.0])
def test_what_cannot_be_a_percentage_is_left_out(value: float) -> None:
    body = built([("cpu.percent", (), value), ("load.1m", (), 1.0)])
    assert [s["metric"] for s in body["series"]] == ["load.1m"]


def test_rounding_beyond_the_bound_is_pulled_back() -> None:
    assert built([("cpu.percent", (), 100.0000001)])["series"][0]["values"] == [100]


def test_a_metric_outside_the_catalogue_is_not_sent() -> None:
    assert len(built([("cpu.percent", (), 1.0), ("made.up", (), 1.0)])["series"]) == 1


def test_over_the_budget_the_detail_of_cores_gives_way_first() -> None:
    builder = Builder(version="1", started_at_ms=T0)
    cores = [("cpu.core_percent", (("core", str(n)),), 1.0) for n in range(400)]
    builder.add(T0, [*cores, ("memory.used_percent", (), 5.0)])
    payload = builder.take(5.0)
    assert payload is not None
    names = [s["metric"] for s in json.loads(zlib.decompress(payload.data))["series"]]
    assert len(names) == batch.MAX_SERIES
    assert "memory.used_percent" in names
    assert builder.over_budget == 101


def test_a_batch_is_full_before_it_could_be_refused() -> None:
    builder = Builder(version="1", started_at_ms=T0)
    tick = 0
    while not builder.full():
        builder.add(T0 + tick, [("cpu.core_percent", (("core", str(n)),), 1.0) for n in range(300)])
        tick += 1
    assert builder.samples <= batch.MAX_SAMPLES
    assert tick == 16


def test_times_must_rise() -> None:
    builder = Builder(version="1", started_at_ms=T0)
    builder.add(T0, [("cpu.percent", (), 1.0)])
    with pytest.raises(ValueError, match="not after"):
        builder.add(T0, [("cpu.percent", (), 1.0)])


def test_nothing_measured_makes_no_batch() -> None:
    builder = Builder(version="1", started_at_ms=T0)
    builder.add(T0, [])
    assert builder.take(5.0) is None


@given(st.text(max_size=300))
def test_names_from_the_host_are_made_harmless(text: str) -> None:
    cleaned = batch.clean(text, 200)
    assert len(cleaned) <= 200
    assert cleaned.isprintable()
    cleaned.encode("utf-8")
    assert batch.clean(cleaned, 200) == cleaned


@given(st.text(alphabet=st.characters(), max_size=80), st.text(max_size=80))
def test_a_message_is_valid_whatever_the_names(mount: str, process: str) -> None:
    builder = Builder(version="1", started_at_ms=T0)
    builder.add(
        T0,
        [("disk.used_percent", (("mount", mount),), 5.0)],
        [{"pid": 1, "name": process, "cpu_percent": 1.0, "rss_bytes": 1}],
    )
    payload = builder.take(5.0)
    assert payload is not None
    body = batch.message(
        payload.data, host_id="h", spool_id="s", seq=3, oldest=2, sent_at_ms=T0, own={"spool_batches": 1}
    )
    sent = json.loads(zlib.decompress(body, 31))
    assert (sent["v"], sent["seq"], sent["oldest"], sent["host_id"]) == (1, 3, 2, "h")
    assert sent["self"] == {"spool_batches": 1}
    assert len(sent["top_processes"][0]["name"]) <= batch.MAX_NAME_CHARS


@given(st.integers(1, 6), st.integers(1, 6))
def test_a_split_batch_holds_the_same_samples_under_new_ids(ticks: int, series: int) -> None:
    builder = Builder(version="1", started_at_ms=T0)
    for tick in range(ticks):
        builder.add(T0 + tick, [("disk.free_bytes", (("mount", f"/{n}"),), tick + n) for n in range(series)])
    whole = builder.take(5.0)
    assert whole is not None
    parts = batch.split(whole.data)
    if ticks == series == 1:
        assert parts is None
        return
    assert parts is not None

    def cells(data: bytes) -> list[tuple[str, int, float]]:
        body = json.loads(zlib.decompress(data))
        return [
            (s["labels"]["mount"], at, value)
            for s in body["series"]
            for at, value in zip(body["times"], s["values"], strict=True)
            if value is not None
        ]

    assert sorted(cells(parts[0].data) + cells(parts[1].data)) == sorted(cells(whole.data))
    assert parts[0].samples + parts[1].samples == whole.samples
    ids = [json.loads(zlib.decompress(p.data))["batch_id"] for p in (whole, *parts)]
    assert len(set(ids)) == 3


def test_batch_ids_are_uuids_of_version_7() -> None:
    made = uuid.UUID(batch.new_batch_id())
    assert made.version == 7
    assert made.variant == uuid.RFC_4122


def test_the_catalogue_has_no_name_twice_and_bounds_that_fit_the_unit() -> None:
    assert len(catalogue.BY_NAME) == len(catalogue.METRICS)
    for metric in catalogue.METRICS:
        if metric.name.endswith("_percent") and not metric.name.startswith("agent."):
            assert (metric.low, metric.high) == (0.0, 100.0)
