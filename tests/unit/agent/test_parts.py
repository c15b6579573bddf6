"""The small parts: rates, patterns, the guard against hanging calls, log lines."""

from __future__ import annotations

import io
import json
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector_agent.globs import Globs
from collector_agent.guard import Guard, StuckError
from collector_agent.log import Log
from collector_agent.rates import Rates
from tests.unit.agent.eventually import eventually


def test_a_rate_needs_two_looks_and_divides_by_the_time_between() -> None:
    rates = Rates()
    assert rates.rate("x", 100, 10.0) is None
    assert rates.rate("x", 150, 15.0) == 10.0


def test_a_counter_that_started_again_gives_no_rate_once() -> None:
    rates = Rates()
    rates.rate("x", 5_000, 0.0)
    assert rates.rate("x", 10, 5.0) is None
    assert rates.rate("x", 60, 10.0) == 10.0


def test_a_counter_that_wrapped_at_32_bits_is_counted_through() -> None:
    rates = Rates()
    rates.rate("x", 2**32 - 100, 0.0)
    assert rates.rate("x", 400, 5.0) == 100.0


def test_a_counter_that_was_gone_starts_anew() -> None:
    rates = Rates()
    rates.rate("x", 0, 0.0)
    rates.forget_unseen()
    rates.forget_unseen()
    assert rates.rate("x", 1000, 5.0) is None


@given(st.lists(st.tuples(st.integers(0, 2**64), st.floats(-10, 10)), max_size=40))
def test_no_rate_is_ever_negative(readings: list[tuple[int, float]]) -> None:
    rates, now = Rates(), 0.0
    for value, step in readings:
        now += step
        rate = rates.rate("x", value, now)
        assert rate is None or rate >= 0


@pytest.mark.parametrize(
    ("patterns", "name", "included"),
    [
        (["*", "-lo"], "eth0", True),
        (["*", "-lo"], "lo", False),
        (["*", "-veth*", "veth-keep"], "veth-keep", True),
        (["nvme*"], "sda", False),
        ([], "anything", False),
    ],
)
def test_the_last_pattern_that_matches_decides(patterns: list[str], name: str, included: bool) -> None:
    assert Globs(patterns)(name) is included


def test_a_hanging_call_is_left_behind_and_its_key_skipped_until_it_returns() -> None:
    guard, release = Guard(limit=0.05), threading.Event()
    with pytest.raises(StuckError):
        guard.call("dead mount", release.wait)
    assert guard.stuck == ("dead mount",)
    with pytest.raises(StuckError):
        guard.call("dead mount", lambda: 1)
    assert guard.call("good mount", lambda: 2) == 2
    release.set()
    eventually(lambda: not guard.stuck)
    assert guard.call("dead mount", lambda: 3) == 3


def test_the_guard_passes_errors_on() -> None:
    with pytest.raises(ZeroDivisionError):
        Guard().call("x", lambda: 1 // 0)


def test_log_lines_are_json_and_a_broken_stream_stops_nothing() -> None:
    stream = io.StringIO()
    log = Log("info", stream=stream)
    log.info("said", text='"quotes"\nand lines', odd=object)
    log.debug("not said")
    log.seldom("key", 60, "warning", "once")
    log.seldom("key", 60, "warning", "once")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["said", "once"]
    assert lines[0]["text"] == '"quotes"\nand lines'
    stream.close()
    log.error("nobody hears this")
