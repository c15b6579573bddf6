"""Walking a block of samples at once comes to the same as taking every step."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from farwatch.domain.flapping import count_after_firing
from farwatch.domain.rules import (
    Change,
    Comparison,
    Condition,
    GroupState,
    Measure,
    Phase,
    Rule,
    by_metric,
    groups,
    step,
)
from farwatch.domain.samples import SampleBlock, SeriesKey
from farwatch.domain.severity import Severity
from farwatch.domain.walk import States, walk

SERIES = (
    SeriesKey.of("disk.used", {"mount": "/"}),
    SeriesKey.of("disk.used", {"mount": "/data"}),
    SeriesKey.of("disk.free", {"mount": "/data"}),
    SeriesKey.of("cpu"),
)
START = 1_790_000_000_000
LINES = st.sampled_from([20.0, 50.0, 80.0])
VALUES = st.sampled_from([np.nan, 10.0, 20.0, 49.9, 50.0, 50.1, 95.0, np.inf])


@st.composite
def conditions(draw: st.DrawFn) -> Condition:
    measure = draw(st.sampled_from([Measure.VALUE, Measure.VALUE, Measure.CHANGE, Measure.TO_BOUND]))
    metric = draw(st.sampled_from(["disk.used", "disk.free", "cpu"]))
    comparison = draw(st.sampled_from(Comparison))
    leave = draw(st.none() | LINES)
    return Condition(metric, comparison, draw(LINES), leave, measure, window_s=20, bound=100)


RULES = st.builds(
    Rule,
    id=st.sampled_from(["rule_a", "rule_b"]),
    name=st.just("A rule"),
    conditions=st.lists(conditions(), min_size=1, max_size=3).map(tuple),
    severity=st.just(Severity.HIGH),
    for_s=st.sampled_from([0.0, 5.0, 15.0]),
    keep_firing_for_s=st.sampled_from([0.0, 10.0]),
    series_labels=st.sampled_from([{}, {"mount": "/d*"}]),
)
PAUSES_MS = st.sampled_from([0, 0, 20 * 60_000, 3 * 3_600_000])
ROWS = st.lists(st.lists(VALUES, min_size=4, max_size=4), min_size=0, max_size=6)


@given(
    st.lists(RULES, max_size=2, unique_by=lambda rule: rule.id),
    st.lists(st.tuples(PAUSES_MS, ROWS), min_size=1, max_size=6),
)
def test_a_group_that_is_passed_over_stands_where_every_step_would_have_left_it(
    rules: list[Rule], blocks: list[tuple[int, list[list[float]]]]
) -> None:
    states: States = {}
    stepped: States = {}
    now = START
    for pause, rows in blocks:
        now += pause
        times = now + 5000 * np.arange(1, len(rows) + 1, dtype=np.int64)
        now += 5000 * len(rows)
        block = SampleBlock(times, SERIES, np.array(rows, dtype=np.float64).reshape(len(rows), len(SERIES)))
        steps = walk(rules, states, block, {})
        changes = [(s.rule.id, s.key, s.at, s.change) for s in steps if s.change is not Change.NONE]
        assert changes == _step_by_step(rules, stepped, block)
    assert _that_matter(states, now) == _that_matter(stepped, now)


def test_what_ended_is_remembered_for_as_long_as_it_could_flap() -> None:
    condition = Condition("cpu", Comparison.ABOVE, 90)
    rule = Rule("rule_a", "CPU is busy", (condition,), Severity.HIGH, for_s=0, keep_firing_for_s=0)
    states: States = {}

    def after(minutes: int, value: float) -> GroupState | None:
        block = SampleBlock(np.array([START + 60_000 * minutes]), (SERIES[3],), np.array([[value]]))
        list(walk([rule], states, block, {}))
        return states["rule_a"].get("cpu")

    assert after(0, 50) is None
    after(1, 95)
    after(2, 50)
    after(10, 50)
    back = after(20, 95)
    assert back is not None
    assert back.flaps == 1
    after(21, 50)
    after(30, 50)
    assert after(120, 50) is None
    late = after(121, 95)
    assert late is not None
    assert late.flaps == 0


def _that_matter(states: States, now: int) -> dict[tuple[str, str], GroupState]:
    """What makes a difference from now on: of a group that is well only its windows, and ends it may flap after."""
    found = {}
    for rule, its_groups in states.items():
        for group, state in its_groups.items():
            flaps_after = count_after_firing(state.flaps, state.ended_at, now)
            if state.phase is not Phase.OK:
                found[rule, group] = state
            elif state.windows or flaps_after:
                past = {"flaps": state.flaps, "ended_at": state.ended_at} if flaps_after else {}
                found[rule, group] = GroupState(windows=state.windows, **past)
    return found


def _step_by_step(
    rules: list[Rule], states: States, block: SampleBlock
) -> list[tuple[str, SeriesKey, int, Change]]:
    changes = []
    for rule in rules if len(block.times) else ():
        mine = states.setdefault(rule.id, {})
        for key, columns in groups(rule, by_metric(block.series)):
            state = mine.setdefault(key.text(), GroupState())
            for at, row in zip(block.times.tolist(), block.values.tolist(), strict=True):
                cells = [None if column is None else row[column] for column in columns]
                values = [None if value is None or np.isnan(value) else value for value in cells]
                change = step(rule, state, at, values)
                if change is not Change.NONE:
                    changes.append((rule.id, key, at, change))
    return changes
