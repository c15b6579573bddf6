"""Rules fire when they should, once, and do not flap."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from farwatch.domain.rules import (
    Change,
    Comparison,
    Condition,
    GroupState,
    Measure,
    Phase,
    Rule,
    applies_to_host,
    by_metric,
    groups,
    step,
)
from farwatch.domain.samples import SeriesKey
from farwatch.domain.severity import Severity


def cpu_rule(**changes: object) -> Rule:
    settings: dict[str, object] = {
        "id": "rule_cpu",
        "name": "CPU is busy",
        "conditions": (Condition("cpu.percent", Comparison.ABOVE, 90.0, leave=80.0),),
        "severity": Severity.WARNING,
        "for_s": 20,
        "keep_firing_for_s": 20,
    }
    return Rule(**(settings | changes))  # type: ignore[arg-type]  # a test's shorthand


def run(rule: Rule, values: Sequence[float | None], interval_s: int = 10) -> list[Change]:
    state = GroupState()
    return [step(rule, state, (i + 1) * interval_s * 1000, [value]) for i, value in enumerate(values)]


def test_it_fires_only_after_the_condition_held_for_its_time() -> None:
    assert run(cpu_rule(), [95, 95, 50, 95, 95, 95]) == [Change.NONE] * 5 + [Change.FIRED]


def test_between_enter_and_leave_it_stays_as_it_is() -> None:
    changes = run(cpu_rule(), [95, 95, 95, 85, 85, 85, 85, 85])
    assert changes == [Change.NONE, Change.NONE, Change.FIRED] + [Change.NONE] * 5


def test_it_resolves_after_staying_below_leave_and_a_short_dip_does_not_count() -> None:
    changes = run(cpu_rule(), [95, 95, 95, 70, 95, 70, 70, 70])
    assert changes == [Change.NONE, Change.NONE, Change.FIRED, *[Change.NONE] * 4, Change.RESOLVED]


def test_a_missing_sample_changes_nothing() -> None:
    assert run(cpu_rule(), [95, None, 95]) == [Change.NONE, Change.NONE, Change.FIRED]


def test_all_conditions_must_hold_together() -> None:
    rule = cpu_rule(
        conditions=(
            Condition("disk.used_percent", Comparison.ABOVE, 90),
            Condition("disk.free_bytes", Comparison.BELOW, 5e9),
        ),
        for_s=0,
    )
    state = GroupState()
    assert step(rule, state, 1000, [95, 20e9]) is Change.NONE
    assert step(rule, state, 2000, [95, 1e9]) is Change.FIRED


def test_a_change_is_measured_per_hour_once_its_window_is_nearly_full() -> None:
    change = Condition("disk.used_percent", Comparison.ABOVE, 5, measure=Measure.CHANGE, window_s=600)
    rule, state = cpu_rule(conditions=(change,), for_s=0), GroupState()
    fired_at = [
        minute
        for minute in range(20)
        if step(rule, state, (minute + 1) * 60_000, [10 + minute * 0.1]) is Change.FIRED
    ]
    assert fired_at == [8]


def test_each_label_set_is_a_group_of_its_own_and_finds_its_partner() -> None:
    series = [
        SeriesKey.of("disk.used_percent", {"mount": "/"}),
        SeriesKey.of("disk.free_bytes", {"mount": "/data"}),
        SeriesKey.of("disk.used_percent", {"mount": "/data"}),
        SeriesKey.of("cpu.percent"),
    ]
    rule = cpu_rule(
        conditions=tuple(
            Condition(metric, Comparison.ABOVE, 0)
            for metric in ("disk.used_percent", "disk.free_bytes", "cpu.percent")
        )
    )
    assert [columns for _, columns in groups(rule, by_metric(series))] == [[0, None, 3], [2, 1, 3]]


def test_labels_choose_hosts_and_series_by_glob() -> None:
    rule = cpu_rule(host_labels={"env": "prod*"})
    assert applies_to_host(rule, {"env": "production"})
    assert not applies_to_host(rule, {"env": "test"})
    assert not applies_to_host(rule, {})
    assert not applies_to_host(cpu_rule(enabled=False), {})


@given(
    st.lists(st.none() | st.floats(0, 100), max_size=60),
    st.lists(st.integers(0, 59), max_size=20),
)
def test_firing_and_resolving_alternate_and_replays_change_nothing(
    values: list[float | None], replays: list[int]
) -> None:
    rule, state = cpu_rule(), GroupState()
    changes = []
    for i, value in enumerate(values):
        changes.append(step(rule, state, (i + 1) * 10_000, [value]))
        for back in replays:
            if back <= i:
                assert step(rule, state, (back + 1) * 10_000, [values[back]]) is Change.NONE
    events = [change for change in changes if change is not Change.NONE]
    assert events == [Change.FIRED, Change.RESOLVED] * (len(events) // 2) + [Change.FIRED] * (len(events) % 2)
    assert (state.phase in (Phase.FIRING, Phase.RECOVERING)) == (len(events) % 2 == 1)
