"""Temperatures."""

from __future__ import annotations

import psutil

from collector_agent.collectors import Sample
from collector_agent.globs import Globs
from collector_agent.guard import Guard

_LOWEST, _HIGHEST = -100.0, 250.0


class Sensors:
    """Every temperature sensor that ``sensors`` lets through, asked under a time limit."""

    name = "sensors"

    def __init__(self, sensors: Globs, guard: Guard | None = None) -> None:
        self._include = sensors
        self._guard = guard or Guard()

    def collect(self, now: float) -> list[Sample]:  # noqa: ARG002 - levels need no clock
        """Return ``temperature.celsius`` per sensor; raises ``StuckError`` when the sensors hang."""
        read = getattr(psutil, "sensors_temperatures", None)
        if read is None:
            return []
        samples: list[Sample] = []
        used: dict[str, int] = {}
        for chip, entries in self._guard.call("sensors", read).items():
            for entry in entries:
                name = f"{chip}/{entry.label}" if entry.label else chip
                used[name] = used.get(name, 0) + 1
                if used[name] > 1:
                    name = f"{name} {used[name]}"
                # A sensor that is not wired reports something like -273 or 65261.
                if self._include(name) and _LOWEST < entry.current < _HIGHEST:
                    samples.append(("temperature.celsius", (("sensor", name),), entry.current))
        return samples
