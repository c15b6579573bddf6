"""Opaque, prefixed, time-ordered identifiers (``host_0198c0ffee42d1a9b3c4``)."""

from __future__ import annotations

import secrets
import time


def new_id(prefix: str) -> str:
    """Return ``<prefix>_`` and 22 hex digits: 48 bits of Unix milliseconds, then 40 random bits.

    Ordering by id is ordering by creation, which keeps B-tree inserts at the right edge (the idea of
    UUIDv7, RFC 9562 §5.7). Ids are names, never secrets.
    """
    return f"{prefix}_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(5)}"
