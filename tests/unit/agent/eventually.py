"""Waiting for something to become true, without sleeping longer than needed."""

from __future__ import annotations

import time
from collections.abc import Callable


def eventually(condition: Callable[[], object], within: float = 60.0) -> None:
    """Return once ``condition()`` is true; fail after ``within`` seconds."""
    until = time.monotonic() + within
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(f"not true within {within} s")
        time.sleep(0.01)
