"""The schedule of ticks, whatever the wall clock does."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from collector_agent.ticker import Ticker

NOON = 1_790_000_000.0


def test_ticks_fall_on_multiples_of_the_interval() -> None:
    ticker = Ticker(5.0)
    wall, stamps = NOON + 1.7, []
    for _ in range(4):
        wall += ticker.wait(wall) + 0.003
        tick = ticker.tick(wall)
        assert tick is not None
        stamps.append(tick.time_ms)
    assert stamps == [1_790_000_005_000, 1_790_000_010_000, 1_790_000_015_000, 1_790_000_020_000]


def test_waking_a_little_early_takes_the_coming_multiple_and_not_twice() -> None:
    ticker = Ticker(5.0)
    tick = ticker.tick(NOON + 4.999)
    assert tick is not None
    assert tick.time_ms == 1_790_000_005_000
    assert 4.9 < ticker.wait(NOON + 4.999) < 5.1


def test_a_tick_that_comes_late_is_stamped_with_the_time_it_was() -> None:
    tick = Ticker(3600.0).tick(NOON + 1234.5)
    assert tick is not None
    assert tick.time_ms == round((NOON + 1234.5) * 1000)


def test_a_small_step_back_is_waited_out_and_no_stamp_repeats() -> None:
    ticker = Ticker(5.0)
    assert ticker.tick(NOON + 20) is not None
    assert ticker.tick(NOON + 5) is None
    assert ticker.tick(NOON + 20) is None
    later = ticker.tick(NOON + 25)
    assert later is not None
    assert not later.stepped_back


def test_a_large_step_back_is_believed_and_said() -> None:
    ticker = Ticker(5.0)
    ticker.tick(NOON)
    tick = ticker.tick(NOON - 3600)
    assert tick is not None
    assert tick.stepped_back


def test_a_restarted_agent_goes_on_above_its_last_stamp() -> None:
    ticker = Ticker(5.0)
    ticker.resume_after(round(NOON * 1000))
    assert ticker.tick(NOON) is None
    assert ticker.tick(NOON + 5) is not None


@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.floats(-5000, 5000), st.sampled_from([1.0, 5.0, 7.5, 60.0, 3600.0])), max_size=60),
    st.floats(0, 3600),
)
def test_stamps_rise_until_a_step_back_is_said_and_waits_are_sane(
    steps: list[tuple[float, float]], start: float
) -> None:
    ticker, wall, last = Ticker(5.0), NOON + start, None
    for jump, interval in steps:
        ticker.interval = interval
        wait = ticker.wait(wall)
        assert 0 < wait <= 2 * interval  # two when the multiple ahead has been taken already
        wall += wait + jump
        tick = ticker.tick(wall)
        if tick is None:
            continue
        assert last is None or tick.time_ms > last or tick.stepped_back
        assert abs(tick.time_ms / 1000 - wall) <= 1.001
        last = tick.time_ms
