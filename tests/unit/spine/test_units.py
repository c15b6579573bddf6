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
