"""What keeps coming back is kept open for longer, and calms down again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from farwatch.domain.flapping import LONGEST_S, MOST, WINDOW_MS, count_after_firing, keep_firing_s
from farwatch.domain.rules import Change, Comparison, Condition, GroupState, Phase, Rule, step
from farwatch.domain.severity import Severity

RULE = Rule(
    "rule_cpu",
    "CPU is busy",
    (Condition("cpu.percent", Comparison.ABOVE, 90.0, leave=80.0),),
    Severity.WARNING,
    for_s=0,
    keep_firing_for_s=60,
)


def changes(rule: Rule, values: list[float], interval_s: int = 30) -> list[tuple[int, Change]]:
    state = GroupState()
    steps = [
        (i * interval_s, step(rule, state, (i + 1) * interval_s * 1000, [value]))
        for i, value in enumerate(values)
    ]
    return [(at, change) for at, change in steps if change is not Change.NONE]


def test_a_first_firing_is_not_a_flap() -> None:
    assert count_after_firing(0, 0, 10**12) == 0
    assert keep_firing_s(60, 0) == 60


def test_each_return_doubles_how_long_it_is_kept_open_and_quiet_takes_it_back() -> None:
    counts, flaps, now = [], 0, 1_000_000
    for _ in range(3):
        flaps = count_after_firing(flaps, now, now + WINDOW_MS - 1)
        counts.append(keep_firing_s(60, flaps))
    assert counts == [120, 240, 480]
    assert count_after_firing(3, now, now + 2 * WINDOW_MS) == 1
    assert count_after_firing(3, now, now + 9 * WINDOW_MS) == 0


def test_a_load_that_comes_sixty_times_fires_three_times() -> None:
    wave = ([95.0] * 2 + [20.0] * 6) * 60
    fired = [at for at, change in changes(RULE, wave) if change is Change.FIRED]
    assert fired == [0, 240, 480]


def test_an_end_comes_at_the_latest_an_hour_after_the_trouble() -> None:
    wave = ([95.0] + [20.0] * 130) * 12 + [20.0] * 200
    assert changes(RULE, wave)[-1][1] is Change.RESOLVED


@given(st.integers(0, MOST), st.floats(0, 86_400))
def test_damping_never_shortens_and_never_exceeds_its_bound(flaps: int, asked: float) -> None:
    kept = keep_firing_s(asked, flaps)
    assert asked <= kept <= max(asked, LONGEST_S)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=300))
def test_firing_and_resolving_always_alternate(values: list[float]) -> None:
    state = GroupState()
    seen = [step(RULE, state, (i + 1) * 30_000, [value]) for i, value in enumerate(values)]
    told = [change for change in seen if change is not Change.NONE]
    assert told == [Change.FIRED, Change.RESOLVED] * (len(told) // 2) + [Change.FIRED] * (len(told) % 2)
    assert (len(told) % 2 == 1) == (state.phase in (Phase.FIRING, Phase.RECOVERING))
    assert 0 <= state.flaps <= MOST
