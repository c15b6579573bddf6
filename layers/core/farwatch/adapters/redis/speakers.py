"""Who has lately spoken for each host, in Redis."""

from __future__ import annotations

import hashlib
from typing import cast

from farwatch.adapters.redis.client import Redis, guarded
from farwatch.domain.clones import REMEMBERED

TTL_S = 1800
_HEARD = """
if redis.call('LINDEX', KEYS[1], 0) == ARGV[1] then return {} end
redis.call('LPUSH', KEYS[1], ARGV[1])
redis.call('LTRIM', KEYS[1], 0, ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return redis.call('LRANGE', KEYS[1], 0, -1)
"""


class RedisSpeakers:
    """Implements ``farwatch.ports.credentials.Speakers``."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._heard = redis.register_script(_HEARD)

    def heard(self, host_id: str, speaker: str) -> list[str]:
        """Note the speaker and return the latest ones, newest first; nothing when it is the same as before."""
        digest = hashlib.sha256(speaker.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        with guarded():
            found = self._heard(keys=[f"speakers:{host_id}"], args=[digest, REMEMBERED - 1, TTL_S])
        return [speaker.decode() for speaker in cast(list[bytes], found)]

    def forget(self, host_id: str) -> None:
        """Start listening anew."""
        with guarded():
            self._redis.delete(f"speakers:{host_id}")
