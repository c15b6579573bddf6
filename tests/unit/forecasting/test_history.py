"""The even grid a forecast is made from."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farwatch.forecasting import Bounds, ForecastError, History, InsufficientHistory

NOW = 1_700_000_100.0


def test_irregular_samples_land_on_whole_quarters_of_an_hour() -> None:
    times = [NOW - 3600 + offset for offset in (0, 10, 400, 1000)]
    history = History.from_samples(times, [1.0, 3.0, 5.0, 7.0], now=NOW)
    assert history.start % 900 == 0
    assert history.end <= NOW < history.end + 900
    assert np.nansum(np.isfinite(history.values)) >= 2
    assert history.values[0] == pytest.approx(
        np.mean([1.0, 3.0, 5.0][: int((history.start + 900 > times[2]) + 2)])
    )


def test_the_running_interval_is_left_out() -> None:
    start = NOW // 900 * 900
    history = History.from_samples([start - 10, start + 10], [5.0, 500.0], now=start + 20)
    assert history.values.tolist() == [5.0]


def test_a_counter_keeps_the_last_value_of_an_interval() -> None:
    start = NOW // 900 * 900 - 900
    history = History.from_samples(
        [start + 5, start + 1, start + 800], [2.0, 1.0, 9.0], now=NOW, counter=True
    )
    assert history.values[0] == 9.0


def test_a_hole_is_nan_and_is_bridged_only_on_request() -> None:
    start = NOW // 900 * 900 - 4 * 900
    history = History.from_samples([start, start + 2 * 900], [1.0, 3.0], now=start + 3 * 900)
    assert np.isnan(history.values[1])
    assert history.filled().tolist() == [1.0, 2.0, 3.0]


def test_only_seven_days_are_kept() -> None:
    history = History(0.0, 3600.0, np.arange(400.0))
    assert len(history.values) == 168
    assert history.values[0] == 400 - 168
    assert history.start == (400 - 168) * 3600
    assert history.end == 400 * 3600


def test_too_little_history_says_how_long_to_wait() -> None:
    history = History(0.0, 900.0, np.ones(10))
    with pytest.raises(InsufficientHistory) as caught:
        history.require("default", 86_400)
    assert caught.value.needed_s == 86_400
    assert caught.value.found_s == 9_000
    assert "default needs 24 h" in str(caught.value)


def test_a_history_that_is_mostly_holes_is_too_little() -> None:
    values = np.full(96, np.nan)
    values[::3] = 1.0
    with pytest.raises(InsufficientHistory):
        History(0.0, 900.0, values).require("default", 86_400)


@pytest.mark.parametrize("step", [0.0, -900.0, np.nan, np.inf, 86_400.0])
def test_an_impossible_step_is_refused(step: float) -> None:
    with pytest.raises(ForecastError, match="step"):
        History(0.0, step, np.ones(10))


def test_bounds_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(ForecastError, match="not below"):
        Bounds(100, 0)


@given(
    st.lists(st.tuples(st.floats(), st.floats()), max_size=60),
    st.floats(min_value=0, max_value=4e9),
    st.sampled_from([60.0, 300.0, 900.0, 3600.0]),
    st.booleans(),
)
def test_any_samples_make_a_grid_of_finite_values_and_holes(
    samples: list[tuple[float, float]], now: float, step: float, counter: bool
) -> None:
    times, values = [t for t, _ in samples], [v for _, v in samples]
    history = History.from_samples(times, values, now=now, step=step, counter=counter)
    assert not np.isinf(history.values).any()
    assert len(history.values) <= 7 * history.day
    if len(history.values):
        assert np.isfinite(history.values[0])
        assert history.end <= now < history.end + step or history.end == pytest.approx(now, abs=step)
