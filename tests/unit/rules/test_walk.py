"""Walking a block of samples at once comes to the same as taking every step."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from farwatch.domain.rules import (
    Change,
    Comparison,
    Condition,
    GroupState,
    Measure,
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
BLOCKS = st.lists(
    st.lists(st.lists(VALUES, min_size=4, max_size=4), min_size=0, max_size=6), min_size=1, max_size=6
)


@given(st.lists(RULES, max_size=2, unique_by=lambda rule: rule.id), BLOCKS)
def test_a_group_that_is_passed_over_stands_where_every_step_would_have_left_it(
    rules: list[Rule], rows_of_blocks: list[list[list[float]]]
) -> None:
    states: States = {}
    stepped: States = {}
    taken = 0
    for rows in rows_of_blocks:
        times = START + 5000 * np.arange(taken, taken + len(rows), dtype=np.int64)
        block = SampleBlock(times, SERIES, np.array(rows, dtype=np.float64).reshape(len(rows), len(SERIES)))
        steps = walk(rules, states, block, {})
        changes = [(s.rule.id, s.key, s.at, s.change) for s in steps if s.change is not Change.NONE]
        assert changes == _step_by_step(rules, stepped, block)
        taken += len(rows)
    assert states == stepped


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
