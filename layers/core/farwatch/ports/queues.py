"""The queue between ``ingest`` and ``process``, and where the messages of all queues end that no attempt could handle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class SampleQueue(Protocol):
    """From ``ingest`` to ``process``: in order for each host."""

    def send(self, host_id: str, message: str) -> None:
        """Queue one packed batch; raises Unavailable when it could not be queued."""
        ...


class DeadLetters(Protocol):
    """Messages that no attempt could handle, as the queues keep them."""

    def counts(self) -> Mapping[str, int]:
        """Return about how many messages each of the dead-letter queues holds, by its name without the installation's.

        Raises Unavailable when the queues cannot be asked, Misconfigured when it is not known where they are.
        """
        ...
