"""Log lines of the agent: one JSON object per line on standard error.

The standard ``logging`` package would add about 0.7 MB to a process that is meant to stay near 20 MB.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any, TextIO

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class Log:
    """Writes ``{"time", "level", "event", …}`` lines to ``stream`` (standard error by default).

    Lines below ``level`` are left out.  Writing never raises: a closed or full standard error must not stop
    the agent from sampling.
    """

    def __init__(self, level: str = "info", stream: TextIO | None = None) -> None:
        self._threshold = _LEVELS[level]
        self._stream = stream
        self._lock = threading.Lock()
        self._last: dict[str, float] = {}

    def debug(self, event: str, **fields: Any) -> None:
        """Write a line that helps while looking for a fault."""
        self._write("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        """Write a line about normal work."""
        self._write("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Write a line about something that is mended or skipped without help."""
        self._write("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Write a line about something that needs a person."""
        self._write("error", event, fields)

    def seldom(self, key: str, every_seconds: float, level: str, event: str, **fields: Any) -> None:
        """Write a line unless one with the same ``key`` was written in the last ``every_seconds``."""
        now = time.monotonic()
        if now - self._last.get(key, float("-inf")) < every_seconds:
            return
        self._last[key] = now
        self._write(level, event, fields)

    def _write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        if _LEVELS[level] < self._threshold:
            return
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"
        line = json.dumps({"time": stamp, "level": level, "event": event, **fields}, default=str)
        with self._lock:
            try:
                stream = self._stream or sys.stderr
                stream.write(line + "\n")
                stream.flush()
            except (OSError, ValueError):
                # Nowhere is left to report this: standard error is the last resort and it is gone.
                return
