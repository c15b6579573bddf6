"""WebSocket connections and the memory of pushes in Redis.

``ws:conn:<id>`` is a hash of who is behind a connection, ``ws:topics:<id>`` the set of its topics, ``ws:topic:<topic>``
the set of its connections; ``ws:seq:<topic>`` counts and ``ws:recent:<topic>`` keeps the last messages.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping
from typing import Any, cast

from farwatch.adapters.redis.client import Redis, guarded
from farwatch.domain.rbac import Role
from farwatch.ports.connections import Replay, Viewer

CONNECTION_TTL_S = 2 * 3600
RECENT_TTL_S = 3600
COUNTER_TTL_S = 7 * 86_400
RECENT_MESSAGES = 500
# Samples can be read from the metric store as well; ten minutes of them bridge a reconnection.
RECENT_SAMPLES = 120

# A lost counter starts at the present time in milliseconds. Topics see far fewer than a thousand pushes a second, so
# that is above every number given out before, and no client waits for ever for a number already passed.
_NEXT = """
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('SET', KEYS[1], ARGV[1]) end
redis.call('EXPIRE', KEYS[1], ARGV[2])
return redis.call('INCR', KEYS[1])
"""


class RedisConnections:
    """Implements ``farwatch.ports.connections.Connections``."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def open(self, connection_id: str, viewer: Viewer) -> None:
        """Remember a connection."""
        fields: dict[Any, Any] = {
            "user_id": viewer.user_id,
            "role": viewer.role.value,
            "session_id": viewer.session_id,
        }
        with guarded(), self._redis.pipeline(transaction=True) as pipeline:
            pipeline.hset(f"ws:conn:{connection_id}", mapping=fields)
            pipeline.expire(f"ws:conn:{connection_id}", CONNECTION_TTL_S)
            pipeline.execute()

    def viewer(self, connection_id: str) -> Viewer | None:
        """Return who is behind a connection, if their session still stands."""
        return self._viewers([connection_id])[connection_id]

    def subscribe(self, connection_id: str, topics: Collection[str]) -> None:
        """Add topics to a connection."""
        if not topics:
            return
        with guarded(), self._redis.pipeline(transaction=True) as pipeline:
            pipeline.sadd(f"ws:topics:{connection_id}", *topics)
            pipeline.expire(f"ws:topics:{connection_id}", CONNECTION_TTL_S)
            for topic in topics:
                pipeline.sadd(f"ws:topic:{topic}", connection_id)
                pipeline.expire(f"ws:topic:{topic}", CONNECTION_TTL_S)
            pipeline.execute()

    def close(self, connection_id: str) -> None:
        """Forget a connection and its topics."""
        with guarded():
            topics = cast(set[bytes], self._redis.smembers(f"ws:topics:{connection_id}"))
            with self._redis.pipeline(transaction=True) as pipeline:
                for topic in topics:
                    pipeline.srem(b"ws:topic:" + topic, connection_id)
                pipeline.delete(f"ws:conn:{connection_id}", f"ws:topics:{connection_id}")
                pipeline.execute()

    def subscribers(self, topic: str) -> dict[str, Viewer | None]:
        """Return the connections of a topic with who is behind them."""
        with guarded():
            found = cast(set[bytes], self._redis.smembers(f"ws:topic:{topic}"))
        return self._viewers(sorted(connection.decode() for connection in found))

    def _viewers(self, connection_ids: list[str]) -> dict[str, Viewer | None]:
        if not connection_ids:
            return {}
        with guarded(), self._redis.pipeline(transaction=False) as pipeline:
            for connection_id in connection_ids:
                pipeline.hgetall(f"ws:conn:{connection_id}")
            rows = cast(list[dict[bytes, bytes]], pipeline.execute())
        viewers = [_viewer(row) for row in rows]
        with guarded(), self._redis.pipeline(transaction=False) as pipeline:
            for viewer in viewers:
                pipeline.exists(f"session:{viewer.session_id if viewer is not None else ''}")
            stands = cast(list[int], pipeline.execute())
        return {
            connection_id: viewer if there else None
            for connection_id, viewer, there in zip(connection_ids, viewers, stands, strict=True)
        }


def _viewer(row: dict[bytes, bytes]) -> Viewer | None:
    if not row:
        return None
    return Viewer(row[b"user_id"].decode(), Role(row[b"role"].decode()), row[b"session_id"].decode())


class RedisPushed:
    """Implements ``farwatch.ports.connections.Pushed``."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._next = redis.register_script(_NEXT)

    def append(self, topic: str, message: Mapping[str, Any]) -> str:
        """Number a message, keep it and return it as JSON."""
        kept = RECENT_SAMPLES if topic == "fleet" or topic.startswith("host:") else RECENT_MESSAGES
        with guarded():
            started = time.time_ns() // 1_000_000
            seq = cast(int, self._next(keys=[f"ws:seq:{topic}"], args=[started, COUNTER_TTL_S]))
            text = json.dumps({**message, "seq": seq}, separators=(",", ":"), ensure_ascii=False)
            with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.rpush(f"ws:recent:{topic}", text)
                pipeline.ltrim(f"ws:recent:{topic}", -kept, -1)
                pipeline.expire(f"ws:recent:{topic}", RECENT_TTL_S)
                pipeline.execute()
        return text

    def after(self, topic: str, seq: int) -> Replay:
        """Return what was pushed after ``seq``."""
        with guarded(), self._redis.pipeline(transaction=True) as pipeline:
            pipeline.get(f"ws:seq:{topic}")
            pipeline.lrange(f"ws:recent:{topic}", 0, -1)
            counter, texts = pipeline.execute()
        newest = int(counter or 0)
        numbered = sorted((int(json.loads(text)["seq"]), text.decode()) for text in cast(list[bytes], texts))
        wanted = [(number, text) for number, text in numbered if number > seq]
        first = wanted[0][0] if wanted else newest + 1
        return Replay(tuple(text for _, text in wanted), gap=0 < seq < first - 1, newest=newest)
