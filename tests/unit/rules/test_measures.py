"""What rules compare: change, silence, time until full."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farwatch.domain.measures import NEVER_S, POINTS, change_per_hour, remember, seconds_to_bound
from farwatch.domain.replay import replay
from farwatch.domain.rules import Change, Comparison, Condition, Measure, Rule
from farwatch.domain.samples import Batch, SampleBlock, SeriesKey
from farwatch.domain.severity import Severity
from farwatch.domain.signals import SignalState
from farwatch.domain.walk import States, walk
from farwatch.services.evaluation import Memory, evaluate
from tests.unit.rules.hosts import HOST

WINDOW_S = 600.0
FINITE = st.floats(-1e9, 1e9)


def window_of(values: list[float], step_s: int = 60) -> list[tuple[int, float]]:
    window: list[tuple[int, float]] = []
    for number, value in enumerate(values):
        remember(window, number * step_s * 1000, value, WINDOW_S)
    return window


def test_a_steady_rise_reaches_its_bound_when_it_does() -> None:
    window = window_of([50.0 + number for number in range(11)])
    assert seconds_to_bound(window, WINDOW_S, 100.0) == pytest.approx(40 * 60)
    assert seconds_to_bound(window, WINDOW_S, 0.0) == NEVER_S


def test_falling_free_space_reaches_nothing() -> None:
    window = window_of([1000.0 - 10 * number for number in range(11)])
    assert seconds_to_bound(window, WINDOW_S, 0.0) == pytest.approx(90 * 60)


def test_what_stands_still_never_arrives_and_what_is_there_has() -> None:
    assert seconds_to_bound(window_of([50.0] * 11), WINDOW_S, 100.0) == NEVER_S
    assert seconds_to_bound(window_of([100.0] * 11), WINDOW_S, 100.0) == 0.0


def test_a_young_window_says_nothing() -> None:
    assert seconds_to_bound(window_of([1.0, 2.0]), WINDOW_S, 100.0) is None


@given(st.lists(FINITE, min_size=2, max_size=500), FINITE, st.integers(1, 120))
def test_it_is_never_negative_and_the_window_stays_small(
    values: list[float], bound: float, step_s: int
) -> None:
    window = window_of(values, step_s)
    assert len(window) <= POINTS
    left = seconds_to_bound(window, WINDOW_S, bound)
    assert left is None or 0.0 <= left <= NEVER_S


@pytest.mark.parametrize("step_s", [1, 5, 7, 10, 30, 60])
def test_a_window_once_full_is_known_at_every_sample_however_many_there_are(step_s: int) -> None:
    window: list[tuple[int, float]] = []
    for at_s in range(0, 4 * 3600, step_s):
        remember(window, at_s * 1000, 40 + at_s / 360, 3600)
        assert len(window) <= POINTS
        if at_s >= 3600:
            assert change_per_hour(window, 3600) == pytest.approx(10.0)
            assert seconds_to_bound(window, 3600, 100.0) == pytest.approx(360 * 60 - at_s)


def test_a_leak_is_noticed_while_it_lasts_and_over_when_it_is_at_any_interval() -> None:
    climbing = Condition("a", Comparison.ABOVE, 8, 4, Measure.CHANGE, 3600)
    rule = Rule("rule_x", "Leak", (climbing,), Severity.WARNING, for_s=600, keep_firing_for_s=120)
    for step_s in (5, 10, 60):
        seconds = np.arange(0, 6 * 3600, step_s)
        values = np.interp(seconds, [0, 2 * 3600, 3 * 3600, 6 * 3600], [50.0, 50.0, 65.0, 65.0])
        block = SampleBlock(seconds * 1000 + 1, (SeriesKey.of("a"),), values[:, None])
        (firing,) = replay(rule, block)[SeriesKey.of("a")]
        # Past 8 % an hour after 32 minutes of climbing, and back to 4 % 44 minutes after its end.
        assert firing.fired_at / 60_000 == pytest.approx(120 + 32 + 10, abs=2)
        assert firing.resolved_at is not None
        assert firing.resolved_at / 60_000 == pytest.approx(180 + 44 + 2, abs=2)


def test_two_conditions_of_a_rule_keep_windows_of_their_own() -> None:
    rising = Condition("a", Comparison.ABOVE, 100, measure=Measure.CHANGE, window_s=600)
    falling = Condition("b", Comparison.BELOW, -100, measure=Measure.CHANGE, window_s=600)
    rule = Rule("rule_x", "Both", (rising, falling), Severity.INFO, for_s=0)
    times = np.arange(1, 30) * 60_000
    steps = np.arange(29.0)
    block = SampleBlock(
        times, (SeriesKey.of("a"), SeriesKey.of("b")), np.column_stack([steps * 10, -steps * 10])
    )
    assert len(replay(rule, block)[SeriesKey.of("a")]) == 1


def test_a_rule_whose_condition_is_moved_to_another_metric_does_not_take_the_difference_for_a_change() -> (
    None
):
    keys = (SeriesKey.of("a"), SeriesKey.of("b"), SeriesKey.of("c"))
    always = Condition("a", Comparison.ABOVE, 0)
    states: States = {}
    for hour, metric in enumerate(("b", "c")):
        rising = Condition(metric, Comparison.ABOVE, 10, measure=Measure.CHANGE, window_s=600)
        rule = Rule("rule_x", "Both", (always, rising), Severity.INFO, for_s=0)
        times = 1 + (np.arange(60) + 60 * hour) * 60_000
        block = SampleBlock(times, keys, np.tile([1.0, 5.0, 1e9], (60, 1)))
        assert {now_at.change for now_at in walk([rule], states, block, {})} == {Change.NONE}
    assert len(states["rule_x"]["a"].windows) == 1


def test_what_has_stopped_rising_is_not_said_to_be_back_to_where_it_stopped() -> None:
    rising = Condition("memory.used_percent", Comparison.ABOVE, 10, measure=Measure.CHANGE, window_s=600)
    high = Condition("memory.used_percent", Comparison.ABOVE, 80, 70)
    start, memory, ends = 1_790_000_000_000, Memory(), {}
    rules = [
        Rule("rule_rising", "Rising", (rising,), Severity.INFO, for_s=0, keep_firing_for_s=0),
        Rule("rule_high", "High", (high,), Severity.INFO, for_s=0, keep_firing_for_s=0),
    ]
    for minute, value in enumerate([*range(50, 90), *[90] * 20, *[60] * 3]):
        at = start + minute * 60_000
        block = SampleBlock(
            np.array([at]), (SeriesKey.of("memory.used_percent"),), np.array([[float(value)]])
        )
        signals = evaluate(memory, Batch("b", "host_a", "s", 1, 1, at, block), HOST, rules, at).signals
        ends |= {one.source: one.reason for one in signals if one.state is SignalState.RESOLVED}
    assert ends["rule_rising"].startswith("Over after ")
    assert ends["rule_rising"].endswith("; memory.used_percent is 90 % now.")
    assert ends["rule_high"] == "memory.used_percent is back to 60 % after 29 min."


def test_a_series_silent_for_a_day_is_no_longer_watched() -> None:
    silent = Condition("a", Comparison.ABOVE, 60, measure=Measure.SILENT)
    rule = Rule("rule_x", "Silent", (silent,), Severity.INFO, for_s=0)
    block = SampleBlock(np.array([2 * 86_400_000]), (SeriesKey.of("b"),), np.array([[1.0]]))
    assert replay(rule, block, {SeriesKey.of("a"): 1}) == {}
    assert len(replay(rule, block, {SeriesKey.of("a"): 2 * 86_400_000 - 90_000})[SeriesKey.of("a")]) == 1


def test_a_series_never_seen_is_not_silent() -> None:
    silent = Condition("a", Comparison.ABOVE, 60, measure=Measure.SILENT)
    rule = Rule("rule_x", "Silent", (silent,), Severity.INFO, for_s=0)
    block = SampleBlock(np.array([1000, 900_000]), (SeriesKey.of("a"),), np.full((2, 1), np.nan))
    assert replay(rule, block) == {SeriesKey.of("a"): []}
