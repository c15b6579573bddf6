"""Ingest: take a batch from an agent, answer what is stored so far, and queue its good part."""

from __future__ import annotations

from farwatch.errors import Forbidden, NotFound, Unavailable
from farwatch.observability import logger
from farwatch.ports.hosts import AgentCache, Hosts
from farwatch.ports.queues import SampleQueue
from farwatch.services.enrol import WatchForClones
from farwatch.wire.batch import WireAnswer, WireStanding, decode_batch, pack


class Ingest:
    """The use case behind ``POST /api/v1/metrics/batches``. A cache that is down costs a database read, nothing more."""

    def __init__(self, hosts: Hosts, cache: AgentCache, queue: SampleQueue, clones: WatchForClones) -> None:
        self._hosts = hosts
        self._cache = cache
        self._queue = queue
        self._clones = clones

    def accept(self, body: bytes, host_id: str, now: int) -> WireAnswer:
        """Queue the good part of the batch and return the answer for the agent.

        ``host_id`` is the one the agent's credential stands for, ``now`` epoch ms. Raises InvalidInput, TooLarge,
        Forbidden when the batch names another host, NotFound for a host that is gone, Unavailable when it cannot be queued.
        """
        accepted = decode_batch(body, now)
        batch = accepted.batch
        if batch.host_id != host_id:
            raise Forbidden(
                f"host_id: the batch says {batch.host_id}, the credential belongs to {host_id}",
                code="host_mismatch",
            )
        self.note_heard(host_id, now)
        self._clones.heard(host_id, batch.spool_id, batch.agent.started_at, now)
        standing = self.standing(host_id, batch.spool_id, now)
        # A batch that lost all its samples still goes on: its sequence number must be confirmed.
        self._queue.send(host_id, pack(batch))
        return WireAnswer(
            accepted=accepted.accepted,
            rejected=accepted.rejected,
            errors=accepted.errors,
            stored_through=standing.stored_through,
            server_time=now,
            interval_s=standing.interval_s,
        )

    def note_heard(self, host_id: str, now: int) -> None:
        """Note that the host is alive, also when it has to come again because much is going on here (``now``: epoch ms)."""
        try:
            self._cache.note_heard(host_id, now)
        except Unavailable as error:
            logger.warning("the agent cache is down, nothing noted", extra={"reason": error.message})

    def standing(self, host_id: str, spool_id: str, now: int) -> WireStanding:
        """Return how far the spool is stored and how often the host is to sample. Raises NotFound for an unknown host."""
        try:
            stored = self._cache.stored_through(host_id, spool_id)
            interval_s = self._cache.interval(host_id)
        except Unavailable as error:
            logger.warning("the agent cache is down, reading the database", extra={"reason": error.message})
            stored = interval_s = None
        if stored is None:
            stored = self._hosts.stored_through(host_id, spool_id)
        if interval_s is None:
            interval_s = self._read_interval(host_id)
        return WireStanding(stored_through=stored, server_time=now, interval_s=interval_s)

    def _read_interval(self, host_id: str) -> float:
        host = self._hosts.get(host_id)
        if host is None or host.retired_at is not None:
            raise NotFound("host_id: this host is not enrolled here", code="unknown_host")
        try:
            self._cache.note_interval(host_id, host.interval_s)
        except Unavailable:
            logger.debug("the agent cache is down; the interval is read again next time")
        return host.interval_s
