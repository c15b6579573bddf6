"""At which resolution a range is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farwatch.domain.retention import HOUR, MINUTE, RAW, Resolution, Retention, choose_resolution

NOW = 1_790_000_000_000
H, DAY = 3_600_000, 86_400_000


def resolution(start: int, end: int, points: int) -> Resolution:
    return choose_resolution(start, end, points, 5.0, Retention(), NOW)


@given(
    age=st.integers(0, 900 * DAY),
    span=st.integers(1, 900 * DAY),
    points=st.sampled_from([1, 2, 10, 60, 600, 2000]),
)
def test_a_range_never_has_more_buckets_than_asked_for(age: int, span: int, points: int) -> None:
    end = NOW - age
    found = resolution(end - span, end, points)
    if found.step_s:
        width = found.step_s * 1000
        assert (end - 1) // width - (end - span) // width + 1 <= points


@pytest.mark.parametrize(
    ("start", "points", "found"),
    [
        (NOW - H // 4, 600, Resolution(RAW, 0)),
        (NOW - 2 * H, 600, Resolution(RAW, 13)),
        (NOW - 24 * H, 600, Resolution(MINUTE, 300)),
        (NOW - 7 * DAY, 600, Resolution(MINUTE, 1800)),
        (NOW - 90 * DAY, 600, Resolution(HOUR, 21_600)),
        (NOW - 700 * DAY, 200, Resolution(HOUR, 4 * 86_400)),
    ],
)
def test_a_range_is_read_as_finely_as_fits(start: int, points: int, found: Resolution) -> None:
    assert resolution(start, NOW, points) == found
