"""What ``ingest`` and ``process`` keep in Redis about agents and hosts."""

from __future__ import annotations

from typing import cast

from farwatch.adapters.redis.client import Redis, guarded

_PROGRESS_TTL_S = 3600
_INTERVAL_TTL_S = 60
_MEMORY_TTL_S = 7 * 86_400
_HEARD = "heard"
_HEARD_FOR_MS = 86_400_000


class RedisAgentCache:
    """Progress and interval of each agent, for answers that need no database; and when each host was heard."""

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

    def note_heard(self, host_id: str, at: int) -> None:
        """Keep when the host's agent last knocked (epoch ms)."""
        with guarded():
            self._redis.zadd(_HEARD, {host_id: at}, gt=True)

    def heard(self) -> dict[str, int]:
        """Return when each host was last heard (epoch ms), and forget those that were last heard a day before the newest."""
        with guarded():
            found = cast(list[tuple[bytes, float]], self._redis.zrange(_HEARD, 0, -1, withscores=True))
            if found:
                self._redis.zremrangebyscore(_HEARD, "-inf", found[-1][1] - _HEARD_FOR_MS)
        return {host_id.decode(): round(at) for host_id, at in found}

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
