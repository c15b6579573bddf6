"""What the default model adds to the promises every model makes."""

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from farwatch.forecasting import Bounds, History, get
from farwatch.forecasting.candidates import NAMES, candidates, main_period
from farwatch.forecasting.default import NEEDED, TRUST, WIDER_80, WIDER_95, evidence, held_to, trimmed_mean

DAY = 96
WEEK = np.arange(7 * DAY)
DEFAULT = get("default")


def ask(
    values: np.ndarray, steps: int = 2 * DAY, bounds: Bounds | None = None, *, counter: bool = False
) -> np.ndarray:
    history = History(0.0, 86_400 / DAY, values, counter=counter)
    return DEFAULT.forecast(history, steps, bounds or Bounds()).quantiles


def noise(seed: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(len(WEEK))


def test_one_day_ahead_is_the_first_half_of_two_days_ahead() -> None:
    values = 50 + 20 * np.sin(2 * np.pi * WEEK / DAY) + noise()
    assert (ask(values, DAY) == ask(values, 2 * DAY)[:DAY]).all()


def test_a_fine_grid_takes_bearable_memory() -> None:
    fine = 45 * DAY  # steps of 20 seconds
    tracemalloc.start()
    try:
        values = 50 + 20 * np.sin(2 * np.pi * np.arange(7 * fine) / fine)
        DEFAULT.forecast(History(0.0, 86_400 / fine, values), 2 * fine)
        assert (
            tracemalloc.get_traced_memory()[1] < 250e6
        )  # 850 MB when all was made at once, and quadratic in the steps
    finally:
        tracemalloc.stop()


def test_a_level_shift_is_followed_within_hours() -> None:
    values = 20 + noise()
    values[-24:] += 30  # six hours ago
    quantiles = ask(values)
    assert np.median(quantiles[:8, 2]) > 35  # of 50; it may yet prove a spike
    values[-2 * DAY :] += 30
    values[-24:] -= 30
    assert np.median(ask(values)[:, 2]) > 45


def test_a_metric_at_its_ceiling_stays_within_it() -> None:
    values = np.minimum(100.0, 97 + 5 * np.abs(noise()))
    quantiles = ask(values, bounds=Bounds(0, 100))
    assert quantiles.max() <= 100
    assert np.median(quantiles[:, 2]) == pytest.approx(100, abs=1)


def test_rare_spikes_do_not_lift_the_middle() -> None:
    values = np.where(np.random.default_rng(5).random(len(WEEK)) < 0.02, 1000.0, 0.0)
    quantiles = ask(values, bounds=Bounds(0))
    assert quantiles[:, 2].max() < 10
    assert quantiles[:, 4].mean() > quantiles[:, 2].mean()


def test_a_job_that_runs_every_third_hour_is_forecast_to_the_step() -> None:
    values = np.where(WEEK % 12 < 2, 80.0, 5.0) + 0.1 * noise()
    quantiles = ask(values, DAY)
    truth = np.where((len(WEEK) + np.arange(DAY)) % 12 < 2, 80.0, 5.0)
    assert np.abs(quantiles[:, 2] - truth).mean() < 3


def test_a_gauge_that_wraps_is_forecast_to_wrap() -> None:
    top = 2.0**32
    counted = (np.arange(9 * DAY) * top / (1.6 * DAY)) % top
    quantiles = ask(counted[: 7 * DAY])
    error = np.abs(quantiles[:, 2] - counted[7 * DAY :])
    assert np.median(error) < 0.05 * top


def test_the_interval_of_a_counter_holds_what_comes() -> None:
    inside = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        busy = np.exp(np.sin(2 * np.pi * np.arange(9 * DAY) / DAY)) * np.repeat(rng.lognormal(0, 0.2, 9), DAY)
        counted = np.cumsum(rng.poisson(50 * busy)).astype(float)
        quantiles = ask(counted[: 7 * DAY], counter=True)
        truth = counted[7 * DAY :]
        inside.append(np.mean((truth >= quantiles[:, 1]) & (truth <= quantiles[:, 3])))
    assert 0.6 < np.mean(inside) <= 1


def test_the_intervals_of_mere_noise_hold_what_they_promise_or_more() -> None:
    inside = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        values = 50 + rng.standard_normal(9 * DAY)
        quantiles = ask(values[: 7 * DAY])
        truth = values[7 * DAY :]
        inside.append(
            [np.mean((truth >= quantiles[:, 1 - k]) & (truth <= quantiles[:, 3 + k])) for k in (0, 1)]
        )
    cover80, cover95 = np.mean(inside, axis=0)
    assert 0.78 < cover80 < 0.97  # real metrics shift, and the intervals allow for it
    assert 0.93 < cover95 <= 1.0


def test_a_hole_of_a_day_costs_little() -> None:
    values = 50 + 20 * np.sin(2 * np.pi * WEEK / DAY) + noise()
    truth = 50 + 20 * np.sin(2 * np.pi * np.arange(2 * DAY) / DAY)
    values[3 * DAY : 4 * DAY] = np.nan
    assert np.abs(ask(values)[:, 2] - truth).mean() < 2.5


@pytest.mark.parametrize("day", [4, 24, 96, 288])
@pytest.mark.parametrize("days", [1, 2, 7])
def test_any_grid_and_any_length_from_a_day_on_serve(day: int, days: int) -> None:
    hours = np.arange(days * day) * 24 / day
    values = 10 + np.sin(2 * np.pi * hours / 24) + 0.1 * np.random.default_rng(0).standard_normal(days * day)
    quantiles = DEFAULT.forecast(History(0.0, 86_400 / day, values), 3 * day).quantiles
    assert quantiles.shape == (3 * day, 5)
    assert quantiles.min() > 5
    assert quantiles.max() < 15


@given(
    values=arrays(np.float64, st.integers(4, 60), elements=st.floats(-1, 1)),
    day=st.sampled_from([4, 24]),
    steps=st.integers(1, 60),
)
@settings(max_examples=100, deadline=None)
def test_candidates_and_what_the_judge_sees_are_always_finite(
    values: np.ndarray, day: int, steps: int
) -> None:
    if len(values) < day:
        values = np.resize(values, day)
    made = candidates(values, day, steps)
    assert made.shape == (len(NAMES), steps)
    assert np.isfinite(made).all()
    if np.abs(values).max() > 0:
        for part in evidence(values / np.abs(values).max(), np.ones(len(values), bool), day, steps):
            assert np.isfinite(part).all()


@given(
    made=arrays(np.float64, (2, 6), elements=st.floats(-1, 1)),
    shares=arrays(np.float64, (2, 5, 6), elements=st.floats(0.01, 1)),
    wild=st.floats(-1e6, 1e6),
)
@settings(max_examples=200, deadline=None)
def test_the_mean_of_the_candidates_ignores_what_few_trust(
    made: np.ndarray, shares: np.ndarray, wild: float
) -> None:
    shares = shares / shares.sum(axis=2, keepdims=True)
    found = trimmed_mean(made, shares, 0.5)
    assert (found >= made.min(axis=1)[:, None] - 1e-9).all()
    assert (found <= made.max(axis=1)[:, None] + 1e-9).all()
    more = np.concatenate([made, np.full((2, 1), wild)], axis=1)
    doubted = np.concatenate([0.95 * shares, np.full((2, 5, 1), 0.05)], axis=2)
    assert (np.abs(trimmed_mean(more, doubted, 0.5)) <= 1 + 1e-9).all()
    assert (trimmed_mean(np.full((2, 6), 0.3), shares, 0.3) == 0.3).all()
    # An idle metric must lie in an interval that is as narrow as it is itself.
    single = trimmed_mean(np.full((2, 6), 0.3), shares.astype(np.float32), 0.7)
    np.testing.assert_allclose(single, 0.3, rtol=1e-14)


def test_after_a_day_with_a_third_of_the_noise_the_intervals_are_nearly_half_as_wide() -> None:
    usual = 50 + noise()
    calm = np.where(WEEK < 6 * DAY, usual, 50 + noise() / 3)
    inner, outer = (
        [np.mean(quantiles[:, high] - quantiles[:, low]) for quantiles in (ask(usual), ask(calm))]
        for low, high in ((1, 3), (0, 4))
    )
    assert inner[1] < 0.65 * inner[0]
    assert outer[1] < 0.75 * outer[0]


def flat_forecast(*quantiles: float) -> np.ndarray:
    return np.tile(np.array(quantiles, dtype=float), (2 * DAY, 1))


def test_intervals_that_the_last_day_fits_are_made_wider_by_no_more_than_for_any_series() -> None:
    said = flat_forecast(-0.95, -0.8, 0, 0.8, 0.95)
    held = held_to(said, np.linspace(-1, 1, DAY), np.ones(DAY, bool))
    np.testing.assert_allclose(held[0, 3:], [0.8 * WIDER_80, 0.95 * WIDER_95], rtol=0.01)
    np.testing.assert_allclose(held[0, :2], -held[0, :2:-1], rtol=0.01)


@pytest.mark.parametrize(
    ("calm", "most"), [(0.6, 0.6**TRUST), (0.1, NEEDED[0] ** TRUST), (0.0, NEEDED[0] ** TRUST)]
)
def test_the_calmer_the_last_day_the_narrower_the_intervals_but_not_without_end(
    calm: float, most: float
) -> None:
    said = flat_forecast(-0.95, -0.8, 0, 0.8, 0.95)
    day = np.linspace(-1, 1, DAY)
    usual, held = (held_to(said, size * day, np.ones(DAY, bool)) for size in (1, calm))
    np.testing.assert_allclose(held, usual * most, rtol=0.01)


def test_a_last_day_to_one_side_of_what_comes_takes_no_room_from_the_other() -> None:
    said = flat_forecast(-0.95, -0.8, 0, 0.8, 0.95)
    held = held_to(said, np.linspace(-20, 0, DAY), np.ones(DAY, bool))
    grown = NEEDED[1] ** TRUST
    np.testing.assert_allclose(held[0, 3:], [0.8 * WIDER_80 * grown, 0.95 * WIDER_95 * grown])
    np.testing.assert_allclose(held[0, :2], -held[0, :2:-1])
    assert (held[:, 2] == said[:, 2]).all()


def test_values_of_the_last_day_that_are_not_known_widen_nothing() -> None:
    said = flat_forecast(-0.95, -0.8, 0, 0.8, 0.95)
    day, known = np.linspace(-1, 1, DAY), np.arange(DAY) % 3 > 0
    np.testing.assert_array_equal(
        held_to(said, np.where(known, day, 50.0), known), held_to(said, np.where(known, day, 0.0), known)
    )
    assert held_to(said, day, np.zeros(DAY, bool)) is said


@given(shift=st.integers(0, 8 * 24 - 1))
@settings(max_examples=30, deadline=None)
def test_the_candidates_follow_a_series_that_is_moved_and_stretched(shift: int) -> None:
    values = np.roll(np.random.default_rng(3).gamma(2.0, 1.0, 8 * 24), shift)
    plain, moved = candidates(values, 24, 48), candidates(values * 8, 24, 48)
    np.testing.assert_allclose(moved, plain * 8, rtol=1e-9)


def test_an_odd_half_day_that_came_before_is_followed_by_what_followed_it_then() -> None:
    values = 10 + noise()[: 7 * DAY] * 0.01
    for start in (DAY, 4 * DAY, 7 * DAY - 48):
        values[start : start + 48] += np.linspace(0, 5, 48)
        values[start + 48 : start + 96] += 20
    analogue = candidates(values, DAY, DAY)[NAMES.index("analogue_high")]
    assert analogue[:48].mean() > 20
    assert candidates(values, DAY, DAY)[NAMES.index("yesterday")][:48].mean() < 15


@pytest.mark.parametrize("period", [8, 36, 96])
def test_the_period_of_a_series_or_a_multiple_is_found(period: int) -> None:
    shape = np.random.default_rng(period).standard_normal(period)
    found, strength, _ = main_period(np.resize(shape, len(WEEK)) + 0.1 * noise(), DAY)
    assert found % period == 0
    assert found <= 3 * DAY
    assert strength > 0.9


def test_it_needs_numpy_alone() -> None:
    program = (
        "import sys, numpy; from farwatch.forecasting import History, get;"
        "get().forecast(History(0.0, 900.0, numpy.arange(700.0) % 50), 192);"
        "print(sorted(m for m in ('pandas', 'scipy', 'sklearn', 'statsmodels', 'prophet') if m in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(path for path in sys.path if path)},
    )
    assert done.stdout.strip() == "[]"
