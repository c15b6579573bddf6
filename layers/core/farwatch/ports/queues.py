"""The queue between ``ingest`` and ``process``."""

from __future__ import annotations

from typing import Protocol


class SampleQueue(Protocol):
    """From ``ingest`` to ``process``: in order for each host."""

    def send(self, host_id: str, message: str) -> None:
        """Queue one packed batch; raises Unavailable when it could not be queued."""
        ...
