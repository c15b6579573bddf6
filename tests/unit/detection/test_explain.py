"""Anomalies in words, and what the words rest on."""

import numpy as np
import pytest

from farwatch.detection import DEFAULT_THRESHOLD, Pattern, Scores, registry
from farwatch.detection.explain import duration, explain
from farwatch.domain.hosts import Host
from farwatch.domain.samples import SampleBlock, SeriesKey
from farwatch.services.detect import Sensitivity, detect


def one(pattern, low=10.0, high=20.0, rarity=2016.0, since=np.nan):
    def cell(number):
        return np.array([[number]])

    return Scores(
        cell(0.9), cell(low), cell(high), cell(rarity), cell(since), np.array([[pattern]], np.uint8)
    )


def say(scores, value=95.0, **extra):
    facts = {"name": "cpu.percent", "value": value, "time": 10_000.0, "interval": 300.0, "unit": "%"} | extra
    return explain(scores, 0, 0, **facts)


def test_a_spike_is_told_with_the_expected_range_and_how_rare_it_is():
    told = say(one(Pattern.SPIKE))
    assert told.text == (
        "cpu.percent rose to a value it has not had before: 95 %, expected 10 to 20 %, seen about once in 1 week."
    )
    assert (told.pattern, told.low, told.high, told.every_seconds) == ("spike", 10.0, 20.0, 604_800.0)


def test_amounts_are_told_in_units_that_people_read():
    told = say(one(Pattern.SPIKE, low=204_800.0, high=1_572_864.0), value=52_428_800.0, unit="B/s")
    assert ": 50 MiB/s, expected 200 KiB/s to 1.5 MiB/s, " in told.text


def test_a_new_value_between_known_ones_neither_rose_nor_fell():
    told = say(one(Pattern.DIP), value=15.0)
    assert told.text.startswith(
        "cpu.percent took a value it has not had before, between those it has had: 15 %, within 10 to 20 %"
    )


@pytest.mark.parametrize(
    ("value", "low", "high", "unit", "words"),
    [
        (5.001, 4.99999975, 5.00000025, "", ": 5.001, expected 5,"),
        (50.0001, 50.0, 50.0, "%", ": 50.0001 %, expected 50 %,"),
        (1_000_000_003_999.0, 999_999_999_997.0, 1_000_000_000_002.0, "B", "expected 931.32257 GiB,"),
        (0.001, -5e-11, 5e-11, "%", ": 0.001 %, expected 0 %,"),
        (0.25, -0.05, 0.13, "s", ": 0.25 s, expected -0.05 to 0.13 s,"),
        (90.04, 20.0, 90.0, "%", ": 90.04 %, expected 20 to 90 %,"),
        (1e300, 1e14, 2e14, "", ": 1e+300, expected 100,000,000,000,000 to 200,000,000,000,000,"),
        (4.0, -0.0, 1.0, "", ": 4, expected 0 to 1,"),
    ],
)
def test_a_value_outside_the_range_reads_differently_from_it(value, low, high, unit, words):
    assert words in say(one(Pattern.SPIKE, low=low, high=high), value=value, unit=unit).text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "1 second"),
        (59.7, "1 minute"),
        (3590, "1 hour"),
        (86_000, "1 day"),
        (6.8 * 86_400, "1 week"),
        (365 * 86_400, "1 year"),
        (5400, "2 hours"),
    ],
)
def test_a_duration_is_not_told_in_as_many_as_make_the_next_unit(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize("detector", ["zscore", "iqr"])
def test_a_detector_that_does_not_remember_values_does_not_call_one_new(detector):
    rng = np.random.default_rng(3)
    values = rng.integers(0, 3, (2000, 1)).astype(float)
    values[::700] = 9.0
    block = SampleBlock(
        1_790_000_000_000 + 10_000 * np.arange(2000, dtype=np.int64), (SeriesKey.of("tasks.waiting"),), values
    )
    host = Host("host_a", "web-1", interval_s=10.0)
    found = detect({}, block, host, Sensitivity([("*", detector)]))
    assert [one.value for one in found if one.value == 9.0]
    for one in found:
        assert one.reason.startswith(
            ("tasks.waiting is unusually ", "tasks.waiting is unusual for this moment")
        )


def test_since_when_is_told_once_it_has_lasted():
    assert say(one(Pattern.SHIFT, since=10_000.0 - 7200.0)).text.endswith("for 2 hours.")
    assert "for " not in say(one(Pattern.SHIFT, since=10_000.0)).text


def test_a_fall_to_nothing_of_something_that_is_never_nothing_is_silence():
    assert say(one(Pattern.DIP), value=0.0).pattern == "silence"
    assert say(one(Pattern.DIP, low=-1.0), value=0.0).pattern == "dip"


@pytest.mark.parametrize(
    ("metric", "usual", "low", "high"),
    [
        ("cpu.percent", 1.0, 0.0, 100.0),
        ("memory.used_percent", 99.0, 0.0, 100.0),
        ("load.1m", 0.5, 0.0, np.inf),
    ],
)
def test_nothing_is_expected_that_the_metric_cannot_be(metric, usual, low, high):
    rng = np.random.default_rng(2)
    values = np.clip(rng.normal(usual, 1.0, (900, 1)), low, high)
    values[880:] = 50.0
    block = SampleBlock(
        1_790_000_000_000 + 10_000 * np.arange(900, dtype=np.int64), (SeriesKey.of(metric),), values
    )
    found = detect({}, block, Host("host_a", "web-1", interval_s=10.0), Sensitivity())
    assert found
    assert all(low <= one.expected_low <= one.expected_high <= high for one in found)


def test_a_range_not_known_yet_is_not_told():
    told = say(one(Pattern.SPIKE, low=np.nan, high=np.nan))
    assert told.low is None
    assert "expected" not in told.text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "1 second"),
        (40, "40 seconds"),
        (3600, "1 hour"),
        (86400 * 21, "3 weeks"),
        (86400 * 800, "2 years"),
    ],
)
def test_durations_are_told_in_the_largest_unit_that_fits(seconds, words):
    assert duration(seconds) == words


def shaped(shape):
    """A steady noisy day and a half at five minutes, then the shape; returns values and where the shape begins."""
    rng = np.random.default_rng(5)
    calm = 40.0 + rng.normal(0, 1.0, 500)
    return np.concatenate([calm, shape(rng)])[:, None], 500


SHAPES = {
    "spike": (lambda rng: np.r_[90.0, 40.0 + rng.normal(0, 1, 20)], {Pattern.SPIKE}),
    "dip": (lambda rng: np.r_[2.0, 40.0 + rng.normal(0, 1, 20)], {Pattern.DIP}),
    "flat": (lambda rng: np.full(120, 40.0), {Pattern.FLAT, Pattern.RHYTHM}),
    "shift": (lambda rng: 60.0 + rng.normal(0, 1, 60), {Pattern.SPIKE, Pattern.SHIFT}),
    "rhythm": (lambda rng: 40.0 + rng.normal(0, 1, 120) * 2.2, {Pattern.SPIKE, Pattern.DIP, Pattern.RHYTHM}),
}


@pytest.mark.parametrize("name", SHAPES)
def test_the_default_detector_sees_and_names(name):
    shape, patterns = SHAPES[name]
    values, start = shaped(shape)
    detector = registry.get()
    times = 1.7e9 + 300.0 * np.arange(len(values))
    scores = detector.fold(detector.new_state(1), times, values)
    alarms = np.flatnonzero(scores.score[:, 0] >= DEFAULT_THRESHOLD)
    assert len(alarms[alarms >= start])
    # Pure noise sets a record now and then; it must stay rare.
    assert len(alarms[alarms < start]) <= 2
    assert Pattern(scores.pattern[alarms[alarms >= start][0], 0]) in patterns


def test_what_is_called_a_value_it_has_not_had_before_is_one():
    rng, rows, series = np.random.default_rng(3), 1500, 80
    level = 8 * (np.cumsum(rng.random((rows, series)) < 0.002, axis=0) % 3)
    swing = np.where(np.cumsum(rng.random((rows, series)) < 0.003, axis=0) % 2, 1.0, 6.0)
    wave = np.sin(2 * np.pi * np.arange(rows)[:, None] / rng.integers(8, 60, series))
    values = np.round(20 + level + swing * wave + rng.normal(0, 0.7, (rows, series)))
    detector = registry.get()
    scores = detector.fold(detector.new_state(series), 1.7e9 + 60.0 * np.arange(rows), values)
    said_new = np.isin(scores.pattern, [Pattern.SPIKE, Pattern.DIP]) & (scores.score >= DEFAULT_THRESHOLD)
    places = np.argwhere(said_new)
    assert len(places) > 50
    assert not [(row, column) for row, column in places if values[row, column] in values[:row, column]]


def restful(kind):
    """Values whose usual is to stand still, or that are small counts, at ten seconds, two days of them."""
    rng, n = np.random.default_rng(11), 17_280
    hours = np.arange(n) / 360.0
    match kind:
        case "errors":  # nothing, but for bursts of an hour
            busy = np.repeat(np.r_[False, rng.random(n // 360 - 1) < 0.2], 360)
            return busy * rng.exponential(0.4, n)
        case "running":  # tasks that run: a few until evening, one at night
            return 1.0 + rng.poisson(np.where((hours + 10.0) % 24.0 < 17.0, 2.0, 0.0))
        case _:  # requests that wait, in whole numbers, none for most of the time
            return rng.poisson(np.repeat(rng.choice([0.0, 0.02, 6.0], n // 180), 180)).astype(float)


@pytest.mark.parametrize("kind", ["errors", "running", "waiting"])
def test_what_often_stands_still_is_never_called_flat(kind):
    values, detector = restful(kind)[:, None], registry.get()
    times = 1.7e9 + 10.0 * np.arange(len(values))
    scores = detector.fold(detector.new_state(1), times, values)
    called = (scores.score >= DEFAULT_THRESHOLD) & (scores.pattern == Pattern.FLAT)
    assert not called.any()
