"""What the agent costs and what it holds, so that it can be watched like everything else."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import psutil

from collector_agent.collectors import NO_LABELS, Sample


class Own:
    """Processor time and memory of this process, and the state of its spool."""

    name = "agent"

    def __init__(self, spool_state: Callable[[], tuple[int, int]]) -> None:
        """``spool_state`` returns the number of batches in the spool and the samples dropped so far."""
        self._process = psutil.Process(os.getpid())
        self._spool_state = spool_state
        self._last: tuple[float, float] | None = None

    def collect(self, now: float) -> list[Sample]:
        """Return ``agent.*``."""
        batches, dropped = self._spool_state()
        samples: list[Sample] = [
            ("agent.rss_bytes", NO_LABELS, self._process.memory_info().rss),
            ("agent.spool_batches", NO_LABELS, batches),
            ("agent.dropped_samples", NO_LABELS, dropped),
        ]
        spent = time.process_time()
        if self._last is not None and now > self._last[1]:
            share = 100.0 * (spent - self._last[0]) / (now - self._last[1])
            samples.append(("agent.cpu_percent", NO_LABELS, share))
        self._last = (spent, now)
        return samples
