"""A batch at the door: what is kept, what is refused, and what the agent is told."""

from __future__ import annotations

import gzip
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farwatch.errors import InvalidInput, TooLarge
from farwatch.wire.batch import MAX_SAMPLES, MAX_SERIES, decode_batch, pack, to_samples, unpack

NOW = 1_790_000_000_000


def batch(**changes: Any) -> dict[str, Any]:
    good: dict[str, Any] = {
        "v": 1,
        "batch_id": "b-1",
        "host_id": "host_1",
        "spool_id": "spool-1",
        "seq": 7,
        "oldest": 5,
        "sent_at": NOW,
        "times": [NOW - 5000, NOW],
        "series": [
            {"metric": "cpu.percent", "values": [1, 2.5]},
            {"metric": "disk.used_percent", "labels": {"mount": "/"}, "values": [40.0, None]},
        ],
    }
    return good | changes


def zipped(body: Any) -> bytes:
    return gzip.compress(body if isinstance(body, bytes) else json.dumps(body).encode())


def test_a_good_batch_is_kept_whole() -> None:
    accepted = decode_batch(zipped(batch()), NOW)
    assert (accepted.accepted, accepted.rejected, accepted.errors) == (3, 0, [])
    block = to_samples(accepted.batch).samples
    assert block.values.shape == (2, 2)
    assert block.count() == 3
    assert [key.text() for key in block.series] == ["cpu.percent", 'disk.used_percent{mount="/"}']


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        (b"{}", "body"),
        (gzip.compress(b"{}")[:-4], "body"),
        (zipped(b"not json"), "body"),
        (zipped(b"[" * 200_000), "body"),
        (zipped([1]), "body"),
        (zipped({k: v for k, v in batch().items() if k != "spool_id"}), "spool_id"),
        (zipped(batch(seq="7")), "seq"),
        (zipped(batch(seq=0)), "seq"),
        (zipped(batch(oldest=8)), "oldest"),
        (zipped(batch(v=2)), "v"),
        (zipped(batch(host_id="../../etc")), "host_id"),
        (zipped(batch(times=["soon", NOW])), "times[0]"),
        (zipped(batch(series={})), "series"),
    ],
    ids=range(13),
)
def test_what_cannot_be_read_is_refused_with_the_field_named(body: bytes, loc: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        decode_batch(body, NOW)
    assert refused.value.errors[0].loc == loc
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("series", "loc", "lost"),
    [
        ({"metric": "CPU percent", "values": [1, 2]}, "series[2].metric", 2),
        ({"metric": "a.b", "values": [1]}, "series[2].values", 1),
        ({"metric": "a.b", "values": [1, "2"]}, "series[2].values[1]", 1),
        ({"metric": "a.b", "values": [1, float("nan")]}, "series[2].values[1]", 1),
        ({"metric": "a.b", "values": [float("-inf"), 2]}, "series[2].values[0]", 1),
        ({"metric": "a.b", "values": [True, 2]}, "series[2].values[0]", 1),
        ({"metric": "a.b", "values": [10**400, 2]}, "series[2].values[0]", 1),
        ({"metric": "a.b"}, "series[2].values", 1),
        ({"values": [1, 2]}, "series[2].metric", 2),
        ("nonsense", "series[2]", 1),
        ({"metric": "a.b", "values": [1, 2], "labels": {"Bad Name": "x"}}, "series[2].labels", 2),
        ({"metric": "a.b", "values": [1, 2], "labels": {"x": "\x1b[31m"}}, "series[2].labels.x", 2),
        ({"metric": "a.b", "values": [1, 2], "labels": {"x": "y" * 201}}, "series[2].labels.x", 2),
        ({"metric": "cpu.percent", "values": [1, 2]}, "series[2].metric", 2),
    ],
)
def test_a_bad_series_is_left_out_named_and_counted_and_the_rest_kept(
    series: Any, loc: str, lost: int
) -> None:
    accepted = decode_batch(zipped(batch(series=[*batch()["series"], series])), NOW)
    assert accepted.rejected == lost
    assert [error.loc for error in accepted.errors] == [loc]
    kept = {(s.metric, v) for s in accepted.batch.series for v in s.values if v is not None}
    assert {("cpu.percent", 1.0), ("cpu.percent", 2.5), ("disk.used_percent", 40.0)} <= kept


def test_errors_point_into_what_was_sent_even_after_something_was_left_out() -> None:
    accepted = decode_batch(zipped(batch(series=[7, {"metric": "a.b", "values": [1]}])), NOW)
    assert [error.loc for error in accepted.errors] == ["series[0]", "series[1].values"]


@pytest.mark.parametrize("offset_ms", [400_000, -31 * 86_400_000])
def test_a_time_from_the_future_or_long_ago_is_left_out_with_its_samples(offset_ms: int) -> None:
    accepted = decode_batch(zipped(batch(times=sorted([NOW, NOW + offset_ms]))), NOW)
    assert accepted.batch.times == [NOW]
    assert accepted.accepted + accepted.rejected == 3


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(batch(top_processes=[{"pid": 1, "name": "half \ud800"}])).encode(),
        json.dumps(batch(top_processes=[{"pid": 1, "name": "half X"}]))
        .encode()
        .replace(b"X", b"\xed\xa0\x80"),
    ],
)
def test_half_characters_do_not_keep_a_batch_from_the_queue(body: bytes) -> None:
    passed_on = unpack(pack(decode_batch(zipped(body), NOW).batch))
    assert passed_on.top_processes[0].name.startswith("half ?")
    assert to_samples(passed_on).samples.count() == 3


def test_values_whose_squares_are_no_numbers_any_more_are_left_out() -> None:
    values = [1e100, -1e300, 10**200, 1.0]
    times = [NOW - 3000 + 1000 * number for number in range(4)]
    accepted = decode_batch(zipped(batch(times=times, series=[{"metric": "a.b", "values": values}])), NOW)
    assert [(error.loc, error.msg) for error in accepted.errors] == [
        ("series[0].values[1]", "-1e+300 lies beyond 1e+100"),
        ("series[0].values[2]", "1" + 39 * "0" + " lies beyond 1e+100"),
    ]
    assert (accepted.accepted, accepted.rejected) == (2, 2)


def test_values_next_to_nothing_are_nothing() -> None:
    accepted = decode_batch(zipped(batch(series=[{"metric": "a.b", "values": [5e-324, -1e-200]}])), NOW)
    assert to_samples(unpack(pack(accepted.batch))).samples.values.ravel().tolist() == [0.0, 0.0]


def test_a_body_that_is_no_utf_8_is_refused_and_not_an_error_of_ours() -> None:
    body = json.dumps(batch(top_processes=[{"pid": 1, "name": "caf?"}])).encode().replace(b"caf?", b"caf\xe9")
    with pytest.raises(InvalidInput) as refused:
        decode_batch(zipped(body), NOW)
    assert [error.loc for error in refused.value.errors] == ["body"]


def test_repeated_and_backward_times_are_left_out() -> None:
    series = [{"metric": "cpu.percent", "values": [1, 2, 3]}]
    accepted = decode_batch(zipped(batch(times=[NOW, NOW, NOW - 1], series=series)), NOW)
    assert accepted.batch.times == [NOW]
    assert accepted.batch.series[0].values == [1.0]
    assert [error.loc for error in accepted.errors] == ["times[1]", "times[2]"]


def test_size_limits_hold_before_and_after_unzipping() -> None:
    with pytest.raises(TooLarge):
        decode_batch(b"\x1f\x8b" + bytes(1_000_001), NOW)
    with pytest.raises(TooLarge):
        decode_batch(gzip.compress(bytes(50_000_000)), NOW)
    times = [NOW - MAX_SAMPLES - 1 + i for i in range(MAX_SAMPLES + 1)]
    with pytest.raises(TooLarge):
        decode_batch(zipped(batch(times=times, series=[{"metric": "a.b", "values": [1] * len(times)}])), NOW)


def test_no_more_series_than_the_budget_are_kept() -> None:
    many = [{"metric": f"a.m{i}", "values": [1, 2]} for i in range(MAX_SERIES + 5)]
    accepted = decode_batch(zipped(batch(series=many)), NOW)
    assert len(accepted.batch.series) == MAX_SERIES
    assert accepted.rejected == 10


def test_a_full_batch_fits_a_queue_message() -> None:
    rng = np.random.default_rng(1)
    series = [
        {"metric": f"a.m{i}", "labels": {"x": "y" * 40}, "values": rng.normal(size=16).tolist()}
        for i in range(300)
    ]
    accepted = decode_batch(zipped(batch(times=[NOW - 16 + i for i in range(16)], series=series)), NOW)
    message = pack(accepted.batch)
    assert len(message) < 256 * 1024
    assert unpack(message) == accepted.batch


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(field=st.sampled_from(sorted(batch())), value=json_values)
def test_whatever_one_field_holds_the_answer_is_a_batch_or_a_named_refusal(field: str, value: Any) -> None:
    try:
        accepted = decode_batch(zipped(batch(**{field: value})), NOW)
    except InvalidInput as refused:
        named = [error.loc for error in refused.errors]
    else:
        samples = to_samples(accepted.batch).samples
        assert samples.count() == accepted.accepted
        assert np.isfinite(samples.values[~np.isnan(samples.values)]).all()
        named = [error.loc for error in accepted.errors] or [""]
    assert named


@given(st.lists(json_values, max_size=5))
def test_whatever_the_series_hold_only_finite_numbers_come_through(series: list[Any]) -> None:
    accepted = decode_batch(zipped(batch(series=[*series, {"metric": "a.good", "values": [1, 2]}])), NOW)
    samples = to_samples(accepted.batch).samples
    assert samples.count() == accepted.accepted >= 2
    assert np.isfinite(samples.values[~np.isnan(samples.values)]).all()


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(noise: bytes) -> None:
    for body in (noise, b"\x1f\x8b" + noise, gzip.compress(noise)):
        with pytest.raises((InvalidInput, TooLarge)):
            decode_batch(body, NOW)
