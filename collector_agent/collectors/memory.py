"""Memory and swap."""

from __future__ import annotations

import psutil

from collector_agent.collectors import NO_LABELS, Sample


class Memory:
    """Levels of memory and, where the host has any, of swap."""

    name = "memory"

    def collect(self, now: float) -> list[Sample]:  # noqa: ARG002 - levels need no clock
        """Return ``memory.*`` and ``swap.*``."""
        memory = psutil.virtual_memory()
        samples: list[Sample] = [
            ("memory.available_bytes", NO_LABELS, memory.available),
            ("memory.used_bytes", NO_LABELS, memory.used),
            ("memory.total_bytes", NO_LABELS, memory.total),
        ]
        if memory.total > 0:
            available = min(memory.available, memory.total)
            used_percent = 100.0 * (memory.total - available) / memory.total
            samples.append(("memory.used_percent", NO_LABELS, used_percent))
        swap = psutil.swap_memory()
        if swap.total > 0:
            samples.append(("swap.used_percent", NO_LABELS, min(100.0, 100.0 * swap.used / swap.total)))
            samples.append(("swap.used_bytes", NO_LABELS, swap.used))
        return samples
