"""The promises every detector makes, whatever its method."""

import numpy as np
import pytest

from farwatch.detection import DEFAULT_THRESHOLD, StateError, pack, registry, unpack


def series(rows: int, columns: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    times = 1.7e9 + 60.0 * np.arange(rows)
    return times, 20.0 + rng.normal(size=(rows, columns)).cumsum(axis=0) * 0.1 + rng.normal(
        size=(rows, columns)
    )


@pytest.fixture(params=registry.DETECTORS)
def detector(request: pytest.FixtureRequest):
    return registry.get(request.param)


def test_scoring_the_first_rows_alone_gives_the_same_scores(detector):
    times, values = series(700, 3)
    whole = detector.fold(detector.new_state(3), times, values).score
    part = detector.fold(detector.new_state(3), times[:431], values[:431]).score
    np.testing.assert_array_equal(part, whole[:431])


def test_cutting_the_rows_into_calls_changes_nothing_even_through_bytes(detector):
    times, values = series(700, 3)
    whole = detector.fold(detector.new_state(3), times, values).score
    state, parts = detector.new_state(3), []
    for start in range(0, 700, 37):
        parts.append(detector.fold(state, times[start : start + 37], values[start : start + 37]).score)
        state = unpack(detector, pack(detector, state))
    np.testing.assert_array_equal(np.vstack(parts), whole)


def test_bytes_of_another_detector_or_cut_short_are_refused(detector):
    blob = pack(detector, detector.new_state(2))
    for wrong in (blob[:-1], blob[:5], b"", b"\0" * len(blob)):
        with pytest.raises(StateError):
            unpack(detector, wrong)


def test_an_unknown_name_is_refused_with_the_names_there_are():
    with pytest.raises(registry.UnknownDetectorError, match="zscore"):
        registry.get("prophecy")


@pytest.mark.parametrize("name", ["default", "zscore", "iqr"])
def test_one_sample_at_a_time_is_the_same_as_all_at_once_whatever_is_missing_late_or_repeated(name):
    detector, rng = registry.get(name), np.random.default_rng(8)
    times, values = series(600, 5)
    times = np.repeat(times[:, None], 5, axis=1)
    times[:, 1] += rng.choice([0.0, -600.0, 60.0], 600, p=[0.9, 0.05, 0.05])
    times[200:, 2] -= 50_000.0
    times[300:320, 3] = times[299, 3]
    values[rng.random(values.shape) < 0.05] = np.nan
    values[100:160, 4] = values[100, 4]
    whole = detector.fold(detector.new_state(5), times, values)
    state = detector.new_state(5)
    rows = [detector.fold(state, times[i : i + 1], values[i : i + 1]) for i in range(600)]
    for field in ("score", "low", "high", "rarity", "since", "pattern"):
        parts = np.vstack([getattr(row, field) for row in rows])
        np.testing.assert_array_equal(parts, getattr(whole, field), err_msg=field)


def test_many_series_side_by_side_score_as_each_does_alone():
    detector = registry.get()
    times, values = series(120, 900)
    whole = detector.fold(detector.new_state(900), times, values).score
    for column in (0, 411, 899):
        alone = detector.fold(detector.new_state(1), times, values[:, [column]]).score
        np.testing.assert_array_equal(alone[:, 0], whole[:, column])


@pytest.mark.parametrize("kind", ["noise", "wandering", "counts", "mostly idle"])
def test_a_young_series_alarms_no_more_often_than_it_does_later(kind):
    rng = np.random.default_rng(5)
    shape = (1400, 60)
    values = {
        "noise": lambda: rng.normal(50.0, 5.0, shape),
        "wandering": lambda: rng.normal(size=shape).cumsum(axis=0),
        "counts": lambda: rng.poisson(30.0, shape).astype(float),
        "mostly idle": lambda: (rng.random(shape) < 0.03) * rng.exponential(5.0, shape),
    }[kind]()
    detector = registry.get()
    scores = detector.fold(detector.new_state(60), 1.7e9 + 30.0 * np.arange(1400), values).score
    alarms = (scores >= DEFAULT_THRESHOLD).sum(axis=1)
    assert alarms[200:400].mean() <= alarms[400:].mean()
