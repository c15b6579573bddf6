"""The Redis connection of a container, with short time-outs: a slow cache must never hold up what it speeds up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import redis

from farwatch.errors import Unavailable

Redis = redis.Redis

REST_S = 5.0
"""Seconds for which a Redis that did not answer in time is left alone: each call would wait for as long again."""


class _Rest:
    """Until when (monotonic seconds) this container leaves its Redis alone."""

    until = float("-inf")


def connect(url: str) -> Redis:
    """Return a client for ``url`` that answers bytes; it connects at first use and reconnects when cut."""
    return redis.Redis.from_url(
        url, socket_timeout=2, socket_connect_timeout=2, health_check_interval=30, retry_on_timeout=False
    )


@contextmanager
def guarded() -> Iterator[None]:
    """Turn any Redis failure in the block into Unavailable("redis", …); after a time-out, for a while, without asking."""
    if time.monotonic() < _Rest.until:
        raise Unavailable("redis", "it did not answer in time a moment ago")
    try:
        yield
    except redis.TimeoutError as error:
        _Rest.until = time.monotonic() + REST_S
        raise Unavailable("redis", type(error).__name__) from error
    except (redis.RedisError, OSError) as error:
        raise Unavailable("redis", type(error).__name__) from error
