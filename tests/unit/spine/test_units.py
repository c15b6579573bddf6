"""Units are read off a metric's name."""

from __future__ import annotations

import pytest

from farwatch.domain.units import show, unit_of


@pytest.mark.parametrize(
    ("metric", "unit"),
    [
        ("cpu.percent", "%"),
        ("memory.used_bytes", "B"),
        ("disk.read_bytes_per_second", "B/s"),
        ("net.bytes_received_per_second", "B/s"),
        ("net.packets_received_per_second", "/s"),
        ("megabytes.sent_per_second", "/s"),
        ("probe.milliseconds", "ms"),
        ("uptime.seconds", "s"),
        ("load.1m", ""),
    ],
)
def test_the_unit_of_a_metric_is_read_off_its_name(metric: str, unit: str) -> None:
    assert unit_of(metric) == unit


def test_bytes_a_second_are_shown_in_the_units_people_use() -> None:
    assert show(2_111_712, unit_of("net.bytes_received_per_second")) == "2.01 MiB/s"


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (0.25, "s", "0.25 s"),
        (4.2, "s", "4.2 s"),
        (7500.0, "s", "2 h 5 min"),
        (-0.0, "%", "0 %"),
        (1e300, "", "1e+300"),
        (1e300, "s", "1e+300 s"),
        (1e300, "B", "8.67e+281 EiB"),
        (1023.9 * 1024, "B", "1 MiB"),
        (1_234_567.8, "/s", "1,234,568/s"),
    ],
)
def test_numbers_are_shown_as_people_write_them(value: float, unit: str, words: str) -> None:
    assert show(value, unit) == words
