"""Warm-up: what was remembered of a host is lost, and is learned again from what is stored.

Rules are brought back at once. Detectors take seconds of a processor to learn, more than one message may take on a small or
busy machine, so they learn a little with each batch, in the order of time, until they have caught up; how far they
are is kept with what they have learned. Until then they see nothing. Half of the time is for storing: when a whole fleet
is forgotten, no host may look silent while others warm up, so some wait for a later batch of theirs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from farwatch.domain.hosts import Host
from farwatch.domain.rules import Rule
from farwatch.observability import logger
from farwatch.ports.metric_store import MetricStore
from farwatch.services.anomalies import history_of
from farwatch.services.detect import Sensitivity, detect, score_host
from farwatch.services.evaluation import Memory, warm_up_rules

AT_ONCE_S = 1.5
"""Seconds after which the rest waits for the host's next batch."""

SAMPLES = 2000
BACK_MS = 6 * 3_600_000
"""So many rounds of samples are read back at most, and no older ones."""

HOST_BACK_MS = 2 * 86_400_000
"""The whole-host detector learns from the minutes of so long."""

SAMPLES_STEP, MINUTES_STEP = 200, 240
"""Rounds of samples, and minutes, that are read and learned together."""


class WarmUp:
    """Learns again, for as long as a message has time."""

    def __init__(self, store: MetricStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._next = float("-inf")

    def learn(
        self, memory: Memory, host: Host, rules: Sequence[Rule], before: int, sensitivity: Sensitivity
    ) -> None:
        """Fold stored history from before ``before`` (epoch ms) into a ``memory`` that has lost it, silently.

        Raises Unavailable when the metric store is down.
        """
        back = min(BACK_MS, round(SAMPLES * host.interval_s * 1000))
        if not memory.folded_through:
            history = history_of(self._store, host.id, before - back, before)
            warm_up_rules(memory, history, host, rules)
        began = self._clock()
        if not memory.cold or began < self._next:
            return
        memory.cold = not self._detectors(memory, host, before, back, sensitivity)
        took = self._clock() - began
        self._next = began + 2 * took
        logger.info(
            "warming up" if memory.cold else "warmed up", extra={"host_id": host.id, "took_s": round(took, 2)}
        )

    def _detectors(
        self, memory: Memory, host: Host, before: int, back: int, sensitivity: Sensitivity
    ) -> bool:
        """Let the detectors learn until they have caught up (True) or the time is up."""
        until = self._clock() + AT_ONCE_S
        start = max(memory.learned_minutes, before - HOST_BACK_MS)
        while start < before:
            end = min(start + MINUTES_STEP * 60_000, before)
            score_host(memory.host, history_of(self._store, host.id, start, end, 60))
            memory.learned_minutes = start = end
            if self._clock() > until:
                return False
        start = max(memory.learned_samples, before - back)
        while start < before:
            end = min(start + round(SAMPLES_STEP * host.interval_s * 1000), before)
            detect(memory.detectors, history_of(self._store, host.id, start, end), host, sensitivity)
            memory.learned_samples = start = end
            if self._clock() > until and start < before:
                return False
        return True
