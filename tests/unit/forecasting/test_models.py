"""What every model promises, whatever it is fed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from farwatch.forecasting import Bounds, ForecastError, History, InsufficientHistory, UnknownModel, get, names

QUICK = ("default", "moving_average", "seasonal_naive")
DAY = 24


def daily(days: int = 7, noise: float = 1.0, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    hours = np.arange(days * DAY)
    return 50 + 20 * np.sin(2 * np.pi * hours / DAY) + noise * rng.standard_normal(len(hours))


@pytest.mark.parametrize("name", QUICK)
@given(
    values=arrays(
        np.float64,
        st.integers(2 * DAY, 8 * DAY),
        elements=st.floats(allow_nan=True, allow_infinity=True, width=64),
    ),
    steps=st.integers(1, 3 * DAY),
    counter=st.booleans(),
    bounds=st.sampled_from([Bounds(), Bounds(0), Bounds(0, 100), Bounds(None, 1e6)]),
)
@settings(max_examples=60, deadline=None)
def test_any_history_gives_ordered_finite_bounded_quantiles_or_a_clear_refusal(
    name: str, values: np.ndarray, steps: int, counter: bool, bounds: Bounds
) -> None:
    history = History(0.0, 3600.0, values, counter=counter)
    try:
        forecast = get(name).forecast(history, steps, bounds)
    except InsufficientHistory:
        assert np.isfinite(history.values).sum() < DAY  # half of two days
        return
    assert forecast.quantiles.shape == (steps, 5)
    assert np.isfinite(forecast.quantiles).all()
    assert (np.diff(forecast.quantiles, axis=1) >= 0).all()
    assert (forecast.quantiles == bounds.clip(forecast.quantiles)).all() or counter
    assert forecast.times[0] == history.end
    if counter:
        assert (np.diff(forecast.quantiles, axis=0) >= 0).all()


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("shape", ["every other value missing", "falling always"])
def test_a_counter_whose_growth_was_never_seen_step_by_step_is_forecast_all_the_same(
    name: str, shape: str
) -> None:
    values = np.arange(7.0 * DAY)
    if shape == "falling always":
        values = values[::-1].copy()
    else:
        values[1::2] = np.nan
    forecast = get(name).forecast(History(0.0, 3600.0, values, counter=True), DAY)
    assert np.isfinite(forecast.quantiles).all()
    assert (np.diff(forecast.quantiles, axis=0) >= 0).all()


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("value", [0.0, 100.0, -7.5])
def test_a_constant_series_stays_constant(name: str, value: float) -> None:
    forecast = get(name).forecast(History(0.0, 3600.0, np.full(7 * DAY, value)), 2 * DAY)
    assert (forecast.quantiles == value).all()


@pytest.mark.parametrize("name", QUICK)
def test_a_forecast_does_not_change_its_input_and_gives_the_same_again(name: str) -> None:
    values = daily()
    before = values.copy()
    first = get(name).forecast(History(0.0, 3600.0, values), DAY)
    second = get(name).forecast(History(0.0, 3600.0, values), DAY)
    assert (values == before).all()
    assert (first.quantiles == second.quantiles).all()


@pytest.mark.parametrize("name", QUICK)
def test_the_unit_of_the_metric_does_not_matter(name: str) -> None:
    small = get(name).forecast(History(0.0, 3600.0, daily()), DAY).quantiles
    large = get(name).forecast(History(0.0, 3600.0, daily() * 1024.0**3), DAY).quantiles
    assert large == pytest.approx(small * 1024.0**3, rel=1e-6)


@pytest.mark.parametrize("name", ["default", "seasonal_naive"])
def test_a_daily_rhythm_is_carried_on(name: str) -> None:
    forecast = get(name).forecast(History(0.0, 3600.0, daily()), 2 * DAY)
    truth = 50 + 20 * np.sin(2 * np.pi * np.arange(2 * DAY) / DAY)
    assert np.abs(forecast.median - truth).mean() < 2.5


@pytest.mark.parametrize("name", QUICK)
def test_a_counter_grows_at_its_usual_pace_after_a_reset(name: str) -> None:
    growth = np.full(7 * DAY, 10.0)
    counted = np.cumsum(growth)
    counted[100:] -= counted[100]
    forecast = get(name).forecast(History(0.0, 3600.0, counted, counter=True), DAY, Bounds(0))
    assert forecast.median == pytest.approx(counted[-1] + 10.0 * np.arange(1, DAY + 1))


@pytest.mark.parametrize("name", QUICK)
def test_too_little_history_is_refused_by_name(name: str) -> None:
    with pytest.raises(InsufficientHistory, match=name):
        get(name).forecast(History(0.0, 3600.0, np.ones(10)), DAY)
    with pytest.raises(InsufficientHistory):
        get(name).forecast(History(0.0, 3600.0, np.array([])), DAY)


@pytest.mark.parametrize("steps", [0, -1, 8 * DAY])
@pytest.mark.parametrize("name", QUICK)
def test_a_horizon_out_of_range_is_refused(name: str, steps: int) -> None:
    with pytest.raises(ForecastError, match="horizon"):
        get(name).forecast(History(0.0, 3600.0, daily()), steps)


def test_an_unknown_model_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(UnknownModel, match="default"):
        get("crystal_ball")
    assert names()[0] == "default"
