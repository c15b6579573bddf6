"""Prophet and ARIMA as users get them. Few examples: each fit takes a tenth of a second."""

import numpy as np
import pytest

from farwatch.forecasting import SLOW, Bounds, History, InsufficientHistory, get
from farwatch.forecasting.shape import is_trending, scale_of

pytestmark = pytest.mark.xdist_group("fitted")  # one process takes a second to load their libraries, not each
DAY = 24
HOURS = np.arange(7 * DAY)


def hourly(values: np.ndarray, *, counter: bool = False) -> History:
    return History(0.0, 3600.0, values, counter=counter)


def noise(scale: float = 1.0) -> np.ndarray:
    return scale * np.random.default_rng(3).standard_normal(len(HOURS))


@pytest.mark.parametrize("name", sorted(SLOW))
def test_a_daily_rhythm_with_holes_is_carried_on(name: str) -> None:
    values = 50 + 20 * np.sin(2 * np.pi * HOURS / DAY) + noise()
    values[30:40] = np.nan
    values[100] = np.inf
    forecast = get(name).forecast(hourly(values), 2 * DAY, Bounds(0, 100))
    truth = 50 + 20 * np.sin(2 * np.pi * np.arange(2 * DAY) / DAY)
    assert np.abs(forecast.median - truth).mean() < 1.5
    assert (np.diff(forecast.quantiles, axis=1) >= 0).all()
    assert forecast.quantiles[:, 3].mean() - forecast.quantiles[:, 1].mean() == pytest.approx(2.56, rel=0.5)


@pytest.mark.parametrize("name", sorted(SLOW))
def test_a_trend_goes_on(name: str) -> None:
    values = 10 + 0.2 * HOURS + noise(0.3)
    forecast = get(name).forecast(hourly(values), DAY)
    truth = 10 + 0.2 * (len(HOURS) + np.arange(DAY))
    assert np.abs(forecast.median - truth).mean() < 1.0


@pytest.mark.parametrize("name", sorted(SLOW))
@pytest.mark.parametrize("value", [0.0, 42.0])
def test_a_constant_series_stays_constant(name: str, value: float) -> None:
    forecast = get(name).forecast(hourly(np.full(len(HOURS), value)), DAY)
    assert (forecast.quantiles == value).all()


@pytest.mark.parametrize("name", sorted(SLOW))
def test_a_series_whose_spread_is_too_small_to_divide_by_is_taken_for_constant(name: str) -> None:
    with np.errstate(divide="raise", invalid="raise"):
        forecast = get(name).forecast(hourly(1e-200 * HOURS), DAY)
    assert np.abs(forecast.quantiles).max() < 1e-190
    assert scale_of(hourly(np.where(HOURS % 9 == 0, 5e-324, 0.0))).shift is None


@pytest.mark.parametrize("name", sorted(SLOW))
def test_a_rate_never_goes_below_nothing_and_stays_where_it_was_seen(name: str) -> None:
    values = np.exp(noise(1.5)) * 1e6
    values[::7] = 0.0
    forecast = get(name).forecast(hourly(values), 2 * DAY, Bounds(0))
    assert (forecast.quantiles >= 0).all()
    assert (forecast.quantiles <= values.max()).all()


@pytest.mark.parametrize("name", sorted(SLOW))
def test_a_counter_does_not_fall(name: str) -> None:
    counted = np.cumsum(np.abs(noise()) + 5)
    counted[80:] -= counted[80]
    forecast = get(name).forecast(hourly(counted, counter=True), DAY)
    assert (np.diff(forecast.quantiles, axis=0) >= 0).all()
    assert forecast.median[-1] == pytest.approx(counted[-1] + DAY * 5.8, rel=0.05)


@pytest.mark.parametrize("name", sorted(SLOW))
def test_one_day_is_too_little(name: str) -> None:
    with pytest.raises(InsufficientHistory, match=f"{name} needs 48 h"):
        get(name).forecast(hourly(np.ones(DAY)), DAY)


def test_a_trend_is_told_from_a_rhythm_and_from_noise() -> None:
    assert is_trending(hourly(0.5 * HOURS + noise()))
    assert is_trending(hourly(-0.5 * HOURS + noise()))
    assert not is_trending(hourly(noise()))
    assert not is_trending(hourly(10 * np.sin(2 * np.pi * HOURS / DAY) + noise()))
    assert not is_trending(hourly(np.ones(len(HOURS))))


def test_only_lopsided_metrics_that_are_never_negative_get_a_logarithmic_scale() -> None:
    lopsided = np.exp(noise(2.0))
    scale = scale_of(hourly(lopsided))
    assert scale.shift is not None
    assert scale.back(scale.to(lopsided)) == pytest.approx(lopsided)
    assert scale_of(hourly(noise())).shift is None
    assert scale_of(hourly(-lopsided)).shift is None
    assert scale_of(hourly(np.zeros(len(HOURS)))).shift is None
