"""The promises every detector makes, whatever its method."""

import numpy as np
import pytest

from farwatch.detection import StateError, pack, registry, unpack


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
