"""How the time until something is full is said: no finer than it is known."""

from __future__ import annotations

import pytest

from farwatch.domain.capacity import Outlook
from farwatch.domain.samples import SeriesKey

HOUR = 3600.0
ROOT = SeriesKey.of("disk.used_percent", {"mount": "/"})


@pytest.mark.parametrize(
    ("median", "low", "high", "words"),
    [
        (30.9 * HOUR, 26.2 * HOUR, 43.7 * HOUR, "disk / full in 31 h, between 26 and 44 h, "),
        (4.47 * HOUR, 1814.0, 18.2 * HOUR, "disk / full in 4 h, between 30 min and 18 h, "),
        (168.8 * HOUR, 28.0 * HOUR, 645.0 * HOUR, "disk / full in 7 d, between 28 h and 27 d, "),
        (31.0 * HOUR, 30.9 * HOUR, 31.2 * HOUR, "disk / full in 31 h, "),
        (40.0, 1.0, 700.0, "disk / full in 5 min, between 5 and 10 min, "),
    ],
)
def test_a_capacity_is_said_in_one_unit_and_with_its_range(
    median: float, low: float, high: float, words: str
) -> None:
    said = Outlook("host_1", ROOT, 0, 100.0, 89.8, 3.14, median, low, high).in_words()
    assert said == f"{words}at the last days' rate of 3.14 % a day"


def test_inodes_are_not_taken_for_space() -> None:
    inodes = SeriesKey.of("disk.inodes_used_percent", {"mount": "/"})
    said = Outlook("host_1", inodes, 0, 100.0, 89.8, 3.14, 30.9 * HOUR, 26.2 * HOUR, 43.7 * HOUR).in_words()
    assert said.startswith("disk inodes / full in 31 h")


def test_a_range_without_an_end_is_said_as_or_later() -> None:
    said = Outlook("host_1", ROOT, 0, 100.0, 5.9, 2.4, 900 * HOUR, 700 * HOUR, None).in_words()
    assert said == "disk / full in 38 d or later, at the last days' rate of 2.4 % a day"


def test_what_should_be_full_by_now_is_not_said_to_be_full_before_it_was_measured() -> None:
    due = Outlook("host_1", ROOT, 0, 100.0, 92.3, 3.14, 0.0, 0.0, 1814.0).in_words()
    assert (
        due == "disk / may be full by now: 92.3 % when last measured, at the last days' rate of 3.14 % a day"
    )
    assert Outlook("host_1", ROOT, 0, 100.0, 100.0, 3.14, 0.0, 0.0, 0.0).in_words() == "disk / is full: 100 %"
