"""What the slow detectors remember of each host, and how far they have come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from farwatch.adapters.redis.client import Redis, guarded
from farwatch.domain.looks import Watched

_MEMORY_TTL_S = 86_400


class RedisLookMemory:
    """Detector states of each host that has a slow detector, and how they stand."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def load(self, host_id: str) -> bytes | None:
        """Return what was saved last, or None."""
        with guarded():
            found = self._redis.get(f"look-memory:{host_id}")
        return found if isinstance(found, bytes) else None

    def save(self, host_id: str, memory: bytes, watched: Watched) -> None:
        """Keep both for a day: what is older is learned anew in any case."""
        with guarded():
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.set(f"look-memory:{host_id}", memory, ex=_MEMORY_TTL_S)
            pipeline.set(f"watched:{host_id}", msgspec.json.encode(watched), ex=_MEMORY_TTL_S)
            pipeline.execute()

    def watched(self, host_ids: Sequence[str]) -> Mapping[str, Watched]:
        """Return how the slow detectors stand with each of the hosts that they watch."""
        if not host_ids:
            return {}
        with guarded():
            found = self._redis.mget([f"watched:{host_id}" for host_id in host_ids])
        decoder = msgspec.json.Decoder(Watched)
        return {
            host_id: decoder.decode(value)
            for host_id, value in zip(host_ids, found, strict=True)
            if isinstance(value, bytes)
        }
