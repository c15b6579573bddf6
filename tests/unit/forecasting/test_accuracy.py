"""A stored forecast against what happened."""

import numpy as np
import pytest

from farwatch.forecasting import ForecastError
from farwatch.forecasting.accuracy import compare, pinball

QUANTILES = np.tile([0.0, 1.0, 2.0, 3.0, 4.0], (4, 1))


def test_error_and_coverage_are_counted_over_the_values_that_came() -> None:
    actual = np.array([2.0, 3.5, 9.0, np.nan])
    found = compare(actual, QUANTILES)
    assert found is not None
    assert found.steps == 3
    assert found.mae == pytest.approx((0 + 1.5 + 7) / 3)
    assert found.cover80 == pytest.approx(1 / 3)
    assert found.cover95 == pytest.approx(2 / 3)
    assert found.relative_mae is None


def test_the_error_is_told_relative_to_yesterday_repeated() -> None:
    actual = np.array([2.0, 3.0, 2.0, 3.0])
    found = compare(actual, QUANTILES, yesterday=np.array([0.0, 1.0, 0.0, 1.0]))
    assert found is not None
    assert found.relative_mae == pytest.approx(0.25)
    assert found.relative_pinball == pytest.approx(found.pinball)


def test_a_perfect_yesterday_gives_no_ratio() -> None:
    actual = np.full(4, 2.0)
    found = compare(actual, QUANTILES, yesterday=actual)
    assert found is not None
    assert found.relative_mae is None
    assert found.relative_pinball is None


@pytest.mark.parametrize("noise", [1e-15, 5e-324])
def test_a_yesterday_that_differs_by_the_rounding_of_means_is_perfect(noise: float) -> None:
    # Else a constant third would be forecast "60,000,000 % worse than yesterday", and zeros infinitely so.
    actual = np.full(4, 1 / 3 if noise > 1e-300 else 0.0)
    found = compare(actual, np.full((4, 5), 0.333333), yesterday=actual + noise)
    assert found is not None
    assert found.relative_mae is None or found.relative_mae < 10


def test_nothing_is_said_before_anything_came() -> None:
    assert compare(np.full(4, np.nan), QUANTILES) is None


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ForecastError):
        compare(np.ones(3), QUANTILES)
    with pytest.raises(ForecastError):
        compare(np.ones(4), QUANTILES, yesterday=np.ones(3))


def test_the_quantile_loss_of_a_point_is_half_its_absolute_error() -> None:
    assert pinball(np.array([3.0]), np.full((1, 5), 1.0)) == pytest.approx(
        np.mean([0.05, 0.2, 1.0, 1.8, 1.95])
    )
