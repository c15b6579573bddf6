"""The queues and the topic between the functions, as the services see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from farwatch.domain.events import IncidentEvent
from farwatch.domain.looks import Look
from farwatch.domain.pushes import Push
from farwatch.domain.routing import Channel
from farwatch.domain.signals import Signal


class SignalQueue(Protocol):
    """From ``process`` and ``sweep`` to ``incidents``: in order for each host."""

    def send(self, signals: Sequence[Signal]) -> None:
        """Queue all of them; raises Unavailable when any could not be queued (sending all again does no harm)."""


class PushQueue(Protocol):
    """From anywhere to ``live``."""

    def send(self, pushes: Sequence[Push]) -> None:
        """Queue all of them; raises Unavailable when any could not be queued."""


class LookQueue(Protocol):
    """From ``process`` to ``detect``: one host's looks one at a time."""

    def send(self, look: Look) -> None:
        """Queue it; raises Unavailable when that could not be done (the next look covers what this one would have)."""


class EventTopic(Protocol):
    """From the outbox to one queue per channel, and to ``live``."""

    def publish(self, events: Sequence[IncidentEvent], only: Channel | None = None) -> list[str]:
        """Publish events, to one channel if ``only`` is given, and return the ids of those that were taken."""
