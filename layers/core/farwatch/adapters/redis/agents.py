"""What ``ingest`` and ``process`` keep in Redis about agents and hosts."""

from __future__ import annotations

from farwatch.adapters.redis.client import Redis, guarded

_PROGRESS_TTL_S = 3600
_INTERVAL_TTL_S = 60
_MEMORY_TTL_S = 7 * 86_400


class RedisAgentCache:
    """Progress and interval of each agent, for answers that need no database."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def stored_through(self, host_id: str, spool_id: str) -> int | None:
        """Return what was last noted, or None."""
        with guarded():
            found = self._redis.get(f"stored:{host_id}:{spool_id}")
        return int(found) if isinstance(found, bytes) else None

    def note_stored(self, host_id: str, spool_id: str, seq: int) -> None:
        """Keep ``seq`` for the next answer."""
        with guarded():
            self._redis.set(f"stored:{host_id}:{spool_id}", seq, ex=_PROGRESS_TTL_S)

    def interval(self, host_id: str) -> float | None:
        """Return the cached sampling interval in seconds, or None."""
        with guarded():
            found = self._redis.get(f"interval:{host_id}")
        return float(found) if isinstance(found, bytes) else None

    def note_interval(self, host_id: str, interval_s: float) -> None:
        """Keep the interval for at most a minute."""
        with guarded():
            self._redis.set(f"interval:{host_id}", interval_s, ex=_INTERVAL_TTL_S)

    def forget_intervals(self) -> None:
        """Make every agent's next answer read its interval from the database."""
        with guarded():
            keys = list(self._redis.scan_iter("interval:*", count=1000))
            if keys:
                self._redis.delete(*keys)


class RedisHostMemory:
    """Detector and rule state of each host, and the newest value of each of its series."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def load(self, host_id: str) -> bytes | None:
        """Return what was saved last, or None."""
        with guarded():
            found = self._redis.get(f"memory:{host_id}")
        return found if isinstance(found, bytes) else None

    def save(self, host_id: str, memory: bytes, latest: bytes) -> None:
        """Keep both for a week; an older memory would describe a host that no longer is."""
        with guarded():
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.set(f"memory:{host_id}", memory, ex=_MEMORY_TTL_S)
            pipeline.set(f"latest:{host_id}", latest, ex=_MEMORY_TTL_S)
            pipeline.execute()

    def latest(self, host_ids: list[str]) -> dict[str, bytes]:
        """Return the newest values of each host that has any."""
        if not host_ids:
            return {}
        with guarded():
            found = self._redis.mget([f"latest:{host_id}" for host_id in host_ids])
        return {
            host_id: value for host_id, value in zip(host_ids, found, strict=True) if isinstance(value, bytes)
        }
