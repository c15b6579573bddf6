"""The time of a request: read once at the door, an argument everywhere behind it."""

from __future__ import annotations

import time


def now_ms() -> int:
    """Return the present in epoch milliseconds."""
    return time.time_ns() // 1_000_000
