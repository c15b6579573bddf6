"""When will it be full."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from farwatch.forecasting import ForecastError, History, InsufficientHistory
from farwatch.forecasting.capacity import Capacity, time_to_threshold

DAY = 24
HOUR = 3600.0


def usage(growth: np.ndarray, start: float = 100.0) -> History:
    return History(0.0, HOUR, start + np.concatenate([[0.0], np.cumsum(growth)]))


def ask(history: History, threshold: float, *, rising: bool = True, late: float = 0.0) -> Capacity:
    return time_to_threshold(history, threshold, history.end - history.step + late, rising=rising)


def test_steady_growth_is_full_when_arithmetic_says() -> None:
    history = usage(np.full(7 * DAY - 1, 2.0))
    found = ask(history, history.values[-1] + 62.0)
    assert found.median_s == pytest.approx(31 * HOUR)
    assert found.per_day == pytest.approx(48.0)
    assert found.current == history.values[-1]
    assert found.low_s is not None
    assert found.high_s is not None
    assert 30 * HOUR < found.low_s < 31 * HOUR < found.high_s < 32 * HOUR


def test_a_disk_that_fills_by_night_fills_in_the_night_it_reaches_the_top() -> None:
    night = np.tile((np.arange(DAY) < 4) * 10.0, 7)
    history = usage(night)
    found = ask(history, history.values[-1] + 55.0)
    assert found.median_s is not None
    assert found.median_s / HOUR == pytest.approx(DAY + 1.5, abs=0.01)


def test_a_noisy_past_widens_the_range() -> None:
    rng = np.random.default_rng(4)
    calm = ask(usage(rng.gamma(50.0, 0.02, 7 * DAY)), 300.0)
    wild = ask(usage(np.repeat(rng.gamma(0.7, 1.4, 14), DAY // 2)), 300.0)
    assert calm.low_s
    assert calm.high_s
    assert wild.low_s
    assert wild.high_s
    assert calm.high_s / calm.low_s < 1.3 < wild.high_s / wild.low_s


def test_a_job_that_began_to_write_much_faster_yesterday_is_believed() -> None:
    growth = np.concatenate([np.full(5 * DAY, 0.1), np.full(2 * DAY, 5.0)])
    history = usage(growth)
    found = ask(history, history.values[-1] + 120.0)
    assert found.median_s == pytest.approx(24 * HOUR, rel=0.1)


def test_what_does_not_grow_is_never_full() -> None:
    flat = ask(usage(np.zeros(7 * DAY)), 200.0)
    assert (flat.median_s, flat.low_s, flat.high_s) == (None, None, None)
    falling = ask(usage(np.full(7 * DAY, -0.1)), 200.0)
    assert falling.median_s is None
    assert falling.per_day == pytest.approx(-2.4)


def test_what_is_full_is_full_now() -> None:
    history = usage(np.ones(3 * DAY))
    found = ask(history, history.values[-1])
    assert (found.median_s, found.low_s, found.high_s) == (0.0, 0.0, 0.0)


def test_free_space_runs_down_to_its_threshold() -> None:
    history = usage(np.full(7 * DAY, -1.0), start=400.0)
    found = ask(history, history.values[-1] - 48.0, rising=False)
    assert found.median_s == pytest.approx(48 * HOUR)
    assert found.per_day == pytest.approx(-24.0)
    assert ask(history, 0.0, rising=False).threshold == 0.0


def test_time_that_has_passed_since_the_last_value_is_taken_off() -> None:
    history = usage(np.full(7 * DAY, 2.0))
    goal = history.values[-1] + 62.0
    assert ask(history, goal, late=6 * HOUR).median_s == pytest.approx(25 * HOUR)
    assert ask(history, goal, late=60 * HOUR).median_s == 0.0


def test_a_hole_at_the_end_is_time_that_has_passed_and_no_standstill() -> None:
    heard = usage(np.full(6 * DAY, 2.0))
    goal = heard.values[-1] + 62.0
    silent = History(0.0, HOUR, np.concatenate([heard.values, np.full(20, np.nan)]))
    found = ask(silent, goal)
    assert found.median_s == pytest.approx(11 * HOUR)
    assert found.per_day == pytest.approx(48.0)
    assert found.current == heard.values[-1]


def test_one_cleanup_does_not_hide_the_growth_but_a_nightly_one_is_part_of_it() -> None:
    growth = np.full(7 * DAY, 2.0)
    growth[80] = -150.0
    once = usage(growth)
    assert ask(once, once.values[-1] + 62.0).median_s == pytest.approx(31 * HOUR)
    growth = np.full(7 * DAY, 2.0)
    growth[::DAY] = -46.0
    nightly = usage(growth, start=500.0)
    assert ask(nightly, nightly.values[-1] + 500.0).median_s is None


def test_growth_too_small_to_divide_by_is_no_trouble() -> None:
    tiny = History(0.0, HOUR, np.random.default_rng(2).choice([5e-324, 1e-310, 0.0, 2e-308], 100))
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        for threshold in (100.0, 1e149):
            assert np.isfinite(ask(tiny, threshold).per_day)


def test_too_little_history_and_a_threshold_that_is_none_are_refused() -> None:
    with pytest.raises(InsufficientHistory, match="capacity needs 24 h"):
        ask(usage(np.ones(10)), 200.0)
    with pytest.raises(ForecastError, match="threshold"):
        ask(usage(np.ones(3 * DAY)), float("nan"))


@pytest.mark.parametrize("seed", range(3))
def test_the_range_holds_four_times_in_five_and_the_middle_is_near(seed: int) -> None:
    rng = np.random.default_rng(seed)
    inside, errors = [], []
    for _ in range(60):
        rhythm = 1 + 0.8 * np.sin(2 * np.pi * np.arange(14 * DAY) / DAY)
        drift = np.repeat(np.exp(rng.normal(0, rng.uniform(0.02, 0.15), 14)), DAY)
        level = np.cumsum(rhythm * drift * rng.gamma(4.0, 0.25, 14 * DAY))
        at = 7 * DAY
        true = int(rng.integers(8, 5 * DAY))
        found = ask(History(0.0, HOUR, level[: at + 1]), float(level[at + true]))
        assert found.median_s
        assert found.low_s
        assert found.high_s
        inside.append(found.low_s <= true * HOUR <= found.high_s)
        errors.append(abs(found.median_s / HOUR / true - 1))
    assert 0.65 <= np.mean(inside) <= 0.95
    assert np.median(errors) < 0.12


@given(
    arrays(np.float64, st.integers(1, 200), elements=st.floats(width=64)),
    st.floats(-1e149, 1e149),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_any_history_gives_times_in_order_or_a_clear_refusal(
    values: np.ndarray, threshold: float, rising: bool
) -> None:
    try:
        found = ask(History(0.0, HOUR, values), threshold, rising=rising)
    except InsufficientHistory:
        assert np.isfinite(History(0.0, HOUR, values).values).sum() < DAY
        return
    times = [found.low_s, found.median_s, found.high_s]
    known = [np.inf if time is None else time for time in times]
    assert known == sorted(known)
    assert all(time >= 0 for time in known)
    assert np.isfinite(found.per_day)
