"""Garbage in: nothing raises, nothing is poisoned, nobody is paged for it."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farwatch.detection import DEFAULT_THRESHOLD, registry
from farwatch.detection.host import HostDetector
from farwatch.detection.state import StateError

CHEAP = ("default", "zscore", "iqr")
WILD = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True, width=64),
    st.sampled_from([0.0, -0.0, 1e9, -1e9, 1e308, -1e308, 5e-324, np.nan, np.inf, -np.inf]),
)
TIMES = st.lists(
    st.one_of(st.floats(-1e3, 1e3), st.sampled_from([0.0, 60.0, -3600.0, 3600.0, np.nan, np.inf])),
    min_size=1,
    max_size=60,
)


def calm(rows, columns=1, seed=0):
    rng = np.random.default_rng(seed)
    return 30.0 + 5.0 * np.sin(np.arange(rows)[:, None] / 40.0) + rng.normal(0, 1, (rows, columns))


def clock(rows, start=1.7e9, step=60.0):
    return start + step * np.arange(rows)


def finite_state(state):
    """Whether no number of the state that should be finite is not; memories hold infinity where they are empty."""
    names = state.dtype.names
    if names is None:
        return not np.isnan(state.astype(np.float64)).any()
    may_be_nan = {"since", "season", "previous", "mean", "usual", "stretches", "recent"}
    return all(finite_state(state[name]) for name in names if name not in may_be_nan)


@pytest.mark.parametrize("name", CHEAP)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(values=st.lists(WILD, min_size=1, max_size=60), steps=TIMES, before=st.sampled_from([0, 30, 120]))
def test_any_values_at_any_times_give_scores_in_range_and_leave_a_sound_state(name, values, steps, before):
    detector = registry.get(name)
    state = detector.new_state(1)
    if before:
        detector.fold(state, clock(before), calm(before))
    rows = min(len(values), len(steps))
    times = 1.7e9 + 60.0 * before + np.cumsum(steps[:rows])
    scores = detector.fold(state, times, np.array(values[:rows])[:, None])
    assert np.isfinite(scores.score).all()
    assert ((scores.score >= 0) & (scores.score <= 1)).all()
    assert (scores.rarity >= 1).all()
    assert finite_state(state)


@pytest.mark.parametrize("name", CHEAP)
@settings(max_examples=8, deadline=None)
@given(garbage=st.lists(st.sampled_from([1e9, -1e9, 1e15, np.nan, np.inf, 0.0]), min_size=1, max_size=8))
def test_after_garbage_the_detector_still_finds_a_fault_and_little_else(name, garbage):
    detector = registry.get(name)
    state = detector.new_state(1)
    rows = 600
    values = calm(rows)
    values[300 : 300 + len(garbage), 0] = garbage
    values[550] = 500.0 if name == "default" else 80.0
    scores = detector.fold(state, clock(rows), values).score[:, 0]
    after = np.flatnonzero(scores[320:] >= DEFAULT_THRESHOLD) + 320
    assert len(after) <= 8
    if name == "default":
        assert 550 in after


@pytest.mark.parametrize("name", registry.DETECTORS)
@pytest.mark.parametrize("level", [0.0, -7.5, 123_456_789_012.0])
def test_a_constant_never_scores(name, level):
    detector = registry.get(name)
    scores = detector.fold(detector.new_state(1), clock(400), np.full((400, 1), level)).score
    assert (scores == 0).all()


@pytest.mark.parametrize("name", registry.DETECTORS)
def test_missing_and_infinite_samples_score_nothing_and_change_nothing(name):
    detector = registry.get(name)
    values, hole = calm(500), np.full((500, 1), np.nan)
    hole[::3], hole[1::3] = np.inf, -np.inf
    plain, holed = detector.new_state(1), detector.new_state(1)
    detector.fold(plain, clock(500), values)
    detector.fold(holed, clock(500), values)
    scores = detector.fold(holed, clock(500, start=1.8e9), hole).score
    assert (scores == 0).all()
    assert (
        detector.fold(plain, clock(50, start=1.9e9), calm(50)).score
        == detector.fold(holed, clock(50, start=1.9e9), calm(50)).score
    ).all()


@pytest.mark.parametrize("name", CHEAP)
def test_late_and_repeated_samples_do_not_score_and_are_not_learned(name):
    detector = registry.get(name)
    values = calm(500)
    state, other = detector.new_state(1), detector.new_state(1)
    detector.fold(state, clock(500), values)
    detector.fold(other, clock(500), values)
    late = detector.fold(state, clock(50, start=1.7e9 + 60.0 * 449), np.full((50, 1), 1e6)).score
    again = detector.fold(state, clock(1, start=1.7e9 + 60.0 * 499), values[-1:]).score
    assert (late == 0).all()
    assert (again == 0).all()
    more = clock(50, start=1.7e9 + 60.0 * 500)
    np.testing.assert_array_equal(
        detector.fold(state, more, calm(50)).score, detector.fold(other, more, calm(50)).score
    )


def test_a_clock_set_back_for_good_is_followed_after_a_while():
    detector = registry.get()
    state = detector.new_state(1)
    detector.fold(state, clock(500, start=4e9), calm(500))
    values = calm(300, seed=1)
    values[200] = 400.0
    assert detector.fold(state, clock(300), values).score[200, 0] >= DEFAULT_THRESHOLD


@pytest.mark.parametrize("name", CHEAP)
def test_steady_noise_is_no_alarm_storm(name):
    detector = registry.get(name)
    values = calm(2000, columns=20)
    scores = detector.fold(detector.new_state(20), clock(2000), values).score
    alarms = np.count_nonzero(scores >= DEFAULT_THRESHOLD, axis=0)
    # Twenty series for a day and a half.
    assert alarms.mean() < 4.0


@pytest.mark.parametrize("name", registry.DETECTORS)
def test_a_lost_state_warms_up_without_alarms_however_odd_the_values(name):
    detector = registry.get(name)
    values = np.random.default_rng(2).standard_cauchy((100, 1))
    assert (detector.fold(detector.new_state(1), clock(100), values).score < DEFAULT_THRESHOLD).all()


def test_a_large_counter_with_small_steps_is_seen_as_well_as_a_small_one():
    detector = registry.get()
    values = calm(800)
    values[700] = 90.0
    near = detector.fold(detector.new_state(1), clock(800), values).score
    far = detector.fold(detector.new_state(1), clock(800), values + 1e9).score
    assert near[700, 0] >= DEFAULT_THRESHOLD
    assert far[700, 0] >= DEFAULT_THRESHOLD


def test_after_an_alarm_the_same_again_is_no_news_but_much_worse_is():
    detector = registry.get()
    values = calm(900)
    values[700:712] = 60.0
    values[712] = 5000.0
    scores = detector.fold(detector.new_state(1), clock(900), values).score[:, 0]
    assert scores[700] >= DEFAULT_THRESHOLD
    assert (scores[701:712] < DEFAULT_THRESHOLD).all()
    assert scores[712] > scores[711]


def test_the_state_of_the_default_detector_is_under_two_kilobytes_a_series():
    assert registry.get().dtype.itemsize <= 2048


def test_changing_the_interval_and_gaps_do_not_alarm():
    detector = registry.get()
    times = np.concatenate(
        [clock(600), clock(300, 1.7e9 + 36_000 + 7200, 10.0), clock(300, 1.7e9 + 60_000, 300.0)]
    )
    values = calm(1200)
    scores = detector.fold(detector.new_state(1), times, values).score[:, 0]
    assert np.count_nonzero(scores[600:] >= DEFAULT_THRESHOLD) <= 2


def host_values(rows, metrics=6, seed=4):
    rng = np.random.default_rng(seed)
    load = np.sin(np.arange(rows) / 60.0) + rng.normal(0, 0.1, rows)
    return 20.0 + load[:, None] * np.arange(1, metrics + 1) + rng.normal(0, 0.05, (rows, metrics))


def test_a_host_whose_metrics_stop_moving_together_is_odd_though_each_stays_in_its_range():
    values = host_values(1200)
    values[1000:1020, 2] = 40.0 - values[1000:1020, 2]
    detector = HostDetector(6)
    scores = detector.fold(detector.new_state(), clock(1200), values)
    assert scores.score[1000:1020].max() >= DEFAULT_THRESHOLD
    assert np.count_nonzero(scores.score[600:1000] >= DEFAULT_THRESHOLD) <= 4
    assert scores.blame[1000].argmax() == 2


@settings(max_examples=15, deadline=None)
@given(values=st.lists(st.lists(WILD, min_size=3, max_size=3), min_size=1, max_size=40))
def test_a_host_survives_any_values(values):
    detector = HostDetector(3)
    state = detector.new_state()
    detector.fold(state, clock(250), host_values(250, 3))
    scores = detector.fold(state, clock(len(values), 1.8e9), np.array(values))
    assert np.isfinite(scores.score).all()
    assert ((scores.score >= 0) & (scores.score <= 1)).all()
    assert np.isfinite(scores.blame).all()
    assert finite_state(state)


@pytest.mark.parametrize("tiny", [5e-324, 1e-200, -1e-100, 1e-50, 1e-30])
def test_a_metric_that_has_faded_to_next_to_nothing_does_not_blind_the_host_score(tiny):
    values = calm(700, 4)
    values[:, 0] = tiny
    values[::2, 1] = tiny
    values[650:, 2:] += 30.0
    detector = HostDetector(4)
    state = detector.new_state()
    scores = detector.fold(state, clock(700), values)
    assert np.isfinite(scores.score).all()
    assert scores.score[650:660].max() > DEFAULT_THRESHOLD
    assert finite_state(state)


def test_a_host_with_more_metrics_than_are_watched_directly_keeps_a_bounded_state():
    small, large = HostDetector(40), HostDetector(400)
    assert large.dtype.itemsize - small.dtype.itemsize < 360 * 3072
    scores = large.fold(large.new_state(), clock(300), host_values(300, 400)).score
    assert np.isfinite(scores).all()


def test_host_scores_do_not_depend_on_how_rows_are_cut_into_calls_even_through_bytes():
    detector, values, times = HostDetector(6), host_values(900), clock(900)
    whole = detector.fold(detector.new_state(), times, values).score
    state, parts = detector.new_state(), []
    for start in range(0, 900, 61):
        parts.append(detector.fold(state, times[start : start + 61], values[start : start + 61]).score)
        state = detector.unpack(detector.pack(state))
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    with pytest.raises(StateError):
        HostDetector(5).unpack(detector.pack(state))


def test_a_host_is_odd_when_its_metrics_take_a_course_they_never_took_and_less_so_when_they_took_it_before():
    rng, rows = np.random.default_rng(3), np.arange(2400)
    values = 15.0 + 5.0 * np.sin(rows * 2 * np.pi / 40)[:, None] + rng.normal(0, 0.1, (2400, 4))
    for start in (1200, 1400, 1600, 1800, 2000, 2200):
        values[start : start + 15] = 17.0 + rng.normal(0, 0.1, (15, 4))
    detector = HostDetector(4)
    scores = detector.fold(detector.new_state(), clock(2400), values).score
    assert scores[1200:1215].max() > 1.2 * np.quantile(scores[600:1200], 0.99)
    assert scores[2200:2215].max() < scores[1200:1215].max()


def test_a_gap_in_one_metric_neither_raises_the_host_score_nor_stays_in_its_memory():
    values = host_values(1000)
    gapped = values.copy()
    gapped[700:720, 1] = np.nan
    detector = HostDetector(6)
    state = detector.new_state()
    scores = detector.fold(state, clock(1000), gapped)
    whole = detector.fold(detector.new_state(), clock(1000), values)
    np.testing.assert_allclose(scores.score[700:730], whole.score[700:730], atol=0.1)
    assert (scores.blame[700:720, 1] == 0.0).all()
    assert np.isfinite(state["stretches"][0]).all()


def test_scoring_a_hosts_first_rows_alone_gives_the_same_scores():
    detector, values, times = HostDetector(6), host_values(900), clock(900)
    whole = detector.fold(detector.new_state(), times, values)
    part = detector.fold(detector.new_state(), times[:611], values[:611])
    np.testing.assert_array_equal(part.score, whole.score[:611])
    np.testing.assert_array_equal(part.blame, whole.blame[:611])


def test_late_rows_of_a_host_score_nothing_and_are_not_learned():
    detector, values = HostDetector(6), host_values(700)
    state, other = detector.new_state(), detector.new_state()
    for one in (state, other):
        detector.fold(one, clock(500), values[:500])
    wrong = np.concatenate([clock(40), [np.nan, np.inf, -np.inf]])
    assert (detector.fold(state, wrong, np.full((43, 6), 1e9)).score == 0).all()
    more = clock(200, start=1.7e9 + 60.0 * 500)
    np.testing.assert_array_equal(
        detector.fold(state, more, values[500:]).score, detector.fold(other, more, values[500:]).score
    )


def test_a_host_whose_clock_was_set_back_for_good_is_scored_again_after_a_while():
    detector, values = HostDetector(6), host_values(1000)
    values[900:910] += 30.0
    state = detector.new_state()
    detector.fold(state, clock(500, start=4e9), values[:500])
    scores = detector.fold(state, clock(500), values[500:]).score
    assert scores[400:410].max() >= DEFAULT_THRESHOLD


def test_a_jump_of_a_billion_does_not_blind_the_host_score():
    detector, values = HostDetector(6), host_values(1400)
    values[700] = 1e9
    values[701, 2] = -1e9
    values[1300:1310] += 30.0
    scores = detector.fold(detector.new_state(), clock(1400), values).score
    assert scores[700] >= DEFAULT_THRESHOLD
    assert np.count_nonzero(scores[760:1300] >= DEFAULT_THRESHOLD) <= 8
    assert scores[1300:1310].max() >= DEFAULT_THRESHOLD


@pytest.mark.parametrize("level", [0.0, -7.5, 123_456_789_012.0])
def test_a_host_of_constants_is_never_odd(level):
    detector = HostDetector(3)
    scores = detector.fold(detector.new_state(), clock(600), np.full((600, 3), level)).score
    assert (scores < 0.2).all()


@pytest.mark.parametrize(("step", "rows"), [(300.0, 1440), (900.0, 480)])
def test_the_days_load_in_the_night_is_odd_for_a_host_at_any_interval(step, rows):
    times = clock(rows, start=1.7e9 - 1.7e9 % 86400.0, step=step)
    hours = times % 86400.0 / 3600.0
    load = np.where((hours > 9) & (hours < 17), 60.0, 20.0)
    night = np.flatnonzero((hours > 1) & (hours < 2))[-int(3600.0 / step) + 1 :]
    load[night] = 60.0
    values = load[:, None] + np.random.default_rng(5).normal(0, 1.0, (rows, 4))
    scores = HostDetector(4).fold(HostDetector(4).new_state(), times, values).score
    assert scores[night].max() >= DEFAULT_THRESHOLD
    assert scores[night].max() > scores[night[0] - int(86400.0 / step) : night[0]].max()


def test_a_host_has_metrics():
    with pytest.raises(ValueError, match="at least one"):
        HostDetector(0)
