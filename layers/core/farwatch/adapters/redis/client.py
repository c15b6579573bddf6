"""The Redis connection of a container, with short time-outs: a slow cache must never hold up what it speeds up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis

from farwatch.errors import Unavailable

Redis = redis.Redis


def connect(url: str) -> Redis:
    """Return a client for ``url`` that answers bytes; it connects at first use and reconnects when cut."""
    return redis.Redis.from_url(
        url, socket_timeout=2, socket_connect_timeout=2, health_check_interval=30, retry_on_timeout=False
    )


@contextmanager
def guarded() -> Iterator[None]:
    """Turn any Redis failure inside the block into Unavailable("redis", …)."""
    try:
        yield
    except (redis.RedisError, OSError) as error:
        raise Unavailable("redis", type(error).__name__) from error
