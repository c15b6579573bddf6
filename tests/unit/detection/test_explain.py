"""Anomalies in words, and what the words rest on."""

import numpy as np
import pytest

from farwatch.detection import DEFAULT_THRESHOLD, Pattern, Scores, registry
from farwatch.detection.explain import duration, explain


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


def test_since_when_is_told_once_it_has_lasted():
    assert say(one(Pattern.SHIFT, since=10_000.0 - 7200.0)).text.endswith("for 2 hours.")
    assert "for " not in say(one(Pattern.SHIFT, since=10_000.0)).text


def test_a_fall_to_nothing_of_something_that_is_never_nothing_is_silence():
    assert say(one(Pattern.DIP), value=0.0).pattern == "silence"
    assert say(one(Pattern.DIP, low=-1.0), value=0.0).pattern == "dip"


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
