"""Process: store a batch, find what is wrong in it, say so, and show it to whoever is looking.

The order of the steps is the promise. Samples are stored first, then evaluated; only when both are done is the batch's
sequence number recorded, and only then may the agent forget it. A crash in between repeats steps that are harmless
to repeat.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from enum import StrEnum

import msgspec

from farwatch.domain.anomalies import RECENT_MS, counts_from
from farwatch.domain.hosts import Host
from farwatch.domain.looks import LOOK_EVERY_S, Look
from farwatch.domain.pushes import Push
from farwatch.domain.rules import Rule
from farwatch.domain.samples import Batch
from farwatch.errors import DependencyError, Unavailable
from farwatch.observability import logger
from farwatch.ports.anomalies import AnomalyLog
from farwatch.ports.hosts import AgentCache, HostMemory, Hosts, Rules
from farwatch.ports.messaging import LookQueue, PushQueue, SignalQueue
from farwatch.ports.metric_store import MetricStore
from farwatch.services.anomalies import sensitivity_of
from farwatch.services.detect import SLOW, Sensitivity
from farwatch.services.evaluation import (
    Memory,
    decode_memory,
    encode_memory,
    evaluate,
)
from farwatch.services.warm_up import WarmUp

RULES_TTL_S = 5.0
HOST_TTL_S = 30.0
SENSITIVITY_TTL_S = 60.0
KEY_METRICS = ("cpu.percent", "memory.used_percent", "disk.used_percent", "load.1m")


class Standing(StrEnum):
    """What became of a batch."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    OUT_OF_ORDER = "out_of_order"
    UNKNOWN_HOST = "unknown_host"


class Process:
    """The use case behind ``samples.fifo``. One host's batches come one at a time and in order."""

    def __init__(
        self,
        store: MetricStore,
        hosts: Hosts,
        rules: Rules,
        cache: AgentCache,
        memory: HostMemory,
        anomalies: AnomalyLog,
        signals: SignalQueue,
        pushes: PushQueue,
        looks: LookQueue,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._hosts = hosts
        self._rules = rules
        self._cache = cache
        self._memory = memory
        self._anomalies = anomalies
        self._signals = signals
        self._pushes = pushes
        self._looks = looks
        self._clock = clock
        self._warm_up = WarmUp(store, clock)
        self._known_rules: tuple[float, Sequence[Rule]] = (0.0, ())
        self._known_hosts: dict[str, tuple[float, Host | None]] = {}
        self._sensitivity: dict[str, tuple[float, Sensitivity]] = {}
        self._fallback: dict[str, bytes] = {}

    def handle(self, batch: Batch, now: int, received_at: int | None = None) -> Standing:
        """Store and evaluate the batch; ``now``, and ``received_at`` when it reached the queue (None: now), are epoch ms.

        A batch that comes out of order is left alone: the agent still has it and will send it again in order. Raises
        Unavailable when the metric store, the database or a queue is down; the queue then delivers the batch again.
        """
        host = self._host(batch.host_id)
        if host is None:
            return Standing.UNKNOWN_HOST
        stored = self._hosts.stored_through(batch.host_id, batch.spool_id)
        expected = max(stored + 1, batch.oldest)
        if batch.seq != expected:
            # It was sent again, so the agent may have been told less than is stored: a cache forgets.
            self._note_stored(batch, stored)
            return Standing.DUPLICATE if batch.seq < expected else Standing.OUT_OF_ORDER
        self._store.write(batch.host_id, batch.samples, now)
        try:
            memory = self._evaluate(batch, host, now)
        except DependencyError:
            raise
        except Exception:  # noqa: BLE001 - a fault in detection must not stop samples from being stored and confirmed
            logger.exception(
                "evaluation failed; the batch is stored all the same", extra={"host_id": host.id}
            )
            memory = Memory()
        heard_at = now if received_at is None else received_at
        self._hosts.record_stored(batch.host_id, batch.spool_id, batch.seq, heard_at, batch.agent_version)
        self._keep(batch, memory)
        self._show(batch, host, now)
        return Standing.STORED

    def _evaluate(self, batch: Batch, host: Host, now: int) -> Memory:
        sensitivity = self._current_sensitivity(host.id)
        memory = self._recall(host.id)
        if len(batch.samples.times):
            before = int(batch.samples.times[0])
            self._warm_up.learn(memory, host, self._current_rules(), before, sensitivity)
        slow = sensitivity.slow(batch.samples.series)
        elsewhere = (
            self._anomalies.raised_by(host.id, SLOW, counts_from(memory.episode, now), now - RECENT_MS)
            if slow
            else ()
        )
        outcome = evaluate(memory, batch, host, self._current_rules(), now, sensitivity, elsewhere)
        if outcome.anomalies:
            self._anomalies.append(outcome.anomalies)
        if outcome.signals:
            self._signals.send(outcome.signals)
        if slow:
            self._ask_for_a_look(outcome.memory, batch, now)
        else:
            memory.asked_at = memory.asked_through = 0
        return outcome.memory

    def _ask_for_a_look(self, memory: Memory, batch: Batch, now: int) -> None:
        """Have ``detect`` look at what has been stored since it was last asked; it is not waited for."""
        due = abs(now - memory.asked_at) >= LOOK_EVERY_S * 1000
        if not due or memory.folded_through <= memory.asked_through:
            return
        after = memory.asked_through or int(batch.samples.times[0]) - 1
        try:
            self._looks.send(Look(batch.host_id, after, memory.folded_through, now))
        except Unavailable as error:
            # The next batch asks again, and the look then covers this range as well.
            logger.warning("no look was asked for", extra={"reason": error.message})
            return
        memory.asked_at, memory.asked_through = now, memory.folded_through

    def _recall(self, host_id: str) -> Memory:
        try:
            return decode_memory(self._memory.load(host_id))
        except Unavailable as error:
            # Rules go on with what this container saw last; a stale memory only delays, it never doubles.
            logger.warning("host memory is down, using this container's own", extra={"reason": error.message})
            return decode_memory(self._fallback.get(host_id))

    def _keep(self, batch: Batch, memory: Memory) -> None:
        blob = encode_memory(memory)
        self._fallback[batch.host_id] = blob
        try:
            self._memory.save(batch.host_id, blob, msgspec.json.encode(memory.latest))
        except Unavailable as error:
            logger.warning("host memory is down, nothing kept", extra={"reason": error.message})
        self._note_stored(batch, batch.seq)

    def _note_stored(self, batch: Batch, through: int) -> None:
        try:
            self._cache.note_stored(batch.host_id, batch.spool_id, through)
        except Unavailable as error:
            logger.warning(
                "the agent cache is down, the agent is told later", extra={"reason": error.message}
            )

    def _show(self, batch: Batch, host: Host, now: int) -> None:
        block = batch.samples
        series = [
            {
                "metric": key.metric,
                "labels": key.label_map,
                "values": [None if value != value else value for value in block.values[:, column].tolist()],  # noqa: PLR0124
            }
            for column, key in enumerate(block.series)
        ]
        times = block.times.tolist()
        key_series = [item for item in series if item["metric"] in KEY_METRICS]
        data = {"host_id": host.id, "host_name": host.name, "times": times}
        try:
            self._pushes.send(
                [
                    Push(f"host:{host.id}", "samples", batch.batch_id, now, {**data, "series": series}),
                    Push("fleet", "samples", batch.batch_id, now, {**data, "series": key_series}),
                ]
            )
        except Unavailable as error:
            # Nobody's data is lost by a push that is not shown: dashboards fetch what they missed.
            logger.warning("push skipped", extra={"reason": error.message})

    def _host(self, host_id: str) -> Host | None:
        until, host = self._known_hosts.get(host_id, (0.0, None))
        if self._clock() >= until:
            host = self._hosts.get(host_id)
            if host is not None and host.retired_at is not None:
                host = None
            self._known_hosts[host_id] = (self._clock() + HOST_TTL_S, host)
        return host

    def _current_rules(self) -> Sequence[Rule]:
        until, rules = self._known_rules
        if self._clock() >= until:
            rules = self._rules.all()
            self._known_rules = (self._clock() + RULES_TTL_S, rules)
        return rules

    def _current_sensitivity(self, host_id: str) -> Sensitivity:
        until, known = self._sensitivity.get(host_id, (0.0, Sensitivity()))
        if self._clock() >= until:
            known = sensitivity_of(self._anomalies, host_id)
            self._sensitivity[host_id] = (self._clock() + SENSITIVITY_TTL_S, known)
        return known
