"""Processor time, in total and per core, and load."""

from __future__ import annotations

from typing import Any

import psutil

from collector_agent.collectors import NO_LABELS, Sample

_FIELDS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
# Linux counts guest time inside user and guest_nice inside nice as well, so those two fields are left out.


class Cpu:
    """Shares of processor time since the last call; nothing at the first call."""

    name = "cpu"

    def __init__(self, *, per_core: bool = True) -> None:
        self._per_core = per_core
        self._last: list[dict[str, float]] | None = None

    def collect(self, now: float) -> list[Sample]:  # noqa: ARG002 - shares need no clock
        """Return ``cpu.*`` and ``load.*``."""
        samples: list[Sample] = [
            (name, NO_LABELS, value)
            for name, value in zip(("load.1m", "load.5m", "load.15m"), psutil.getloadavg(), strict=True)
        ]
        cores = [_times(core) for core in psutil.cpu_times(percpu=True)]
        last, self._last = self._last, cores
        if last is None or len(last) != len(cores):
            return samples
        # The kernel may correct iowait and steal downwards by a tick; a share is never negative.
        deltas = [
            {field: max(0.0, new[field] - old[field]) for field in new}
            for new, old in zip(cores, last, strict=True)
        ]
        total = {field: sum(delta[field] for delta in deltas) for field in deltas[0]}
        elapsed = sum(total.values())
        if elapsed <= 0:
            return samples

        def share(*fields: str) -> float:
            return 100.0 * sum(total.get(field, 0.0) for field in fields) / elapsed

        samples.append(("cpu.percent", NO_LABELS, 100.0 - share("idle", "iowait")))
        samples.append(("cpu.user_percent", NO_LABELS, share("user", "nice")))
        samples.append(("cpu.system_percent", NO_LABELS, share("system", "irq", "softirq")))
        if "iowait" in total:
            samples.append(("cpu.iowait_percent", NO_LABELS, share("iowait")))
        if "steal" in total:
            samples.append(("cpu.steal_percent", NO_LABELS, share("steal")))
        if self._per_core:
            for index, delta in enumerate(deltas):
                spent = sum(delta.values())
                if spent > 0:
                    idle = delta["idle"] + delta.get("iowait", 0.0)
                    samples.append(
                        ("cpu.core_percent", (("core", str(index)),), 100.0 * (1.0 - idle / spent))
                    )
        return samples


def _times(core: Any) -> dict[str, float]:
    return {field: getattr(core, field) for field in _FIELDS if hasattr(core, field)}
