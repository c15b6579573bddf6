"""Where incidents live, and the outbox of their events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from farwatch.domain.events import IncidentEvent
from farwatch.domain.incidents import Change, Group, Incident, IncidentStatus, TimelineEntry, TrackedSignal
from farwatch.domain.severity import Severity


@dataclass(frozen=True, slots=True)
class IncidentFilter:
    """Which incidents to list; empty or None fields choose all. ``since`` and ``until`` bound ``opened_at`` (epoch ms)."""

    status: tuple[IncidentStatus, ...] = ()
    severity: tuple[Severity, ...] = ()
    host_id: str | None = None
    assignee: str | None = None
    since: int | None = None
    until: int | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class StaleSignal:
    """A firing signal as the sweep looks at it: when it was last heard, and when its host was last silent."""

    group_key: str
    fingerprint: str
    host_id: str
    kind: str
    heard_at: int
    silence_ended_at: int | None


class IncidentStore(Protocol):
    """Incidents. Changing methods run ``decide`` with the group locked and write its outcome, events included, in one
    transaction; they raise Unavailable when the database cannot be reached, and then nothing has been written or the
    whole has.
    """

    def change_group(
        self, key: str, fingerprint: str | None, decide: Callable[[Group], Change | None]
    ) -> Change | None:
        """Decide on the group's active incident (None when there is none) and return the outcome."""
        ...

    def change_incident(
        self,
        incident_id: str,
        decide: Callable[[Group], Change | None],
        expected_version: int | None = None,
    ) -> Change | None:
        """Decide on one incident. Raises NotFound, and PreconditionFailed when the version is not the expected one."""
        ...

    def create(self, change: Change) -> None:
        """Write an incident opened by a person."""
        ...

    def get(self, incident_id: str) -> Incident | None:
        """Return one incident, or None."""
        ...

    def find(
        self, wanted: IncidentFilter, *, limit: int, before: tuple[int, str] | None = None
    ) -> list[Incident]:
        """Return incidents, newest first, after ``before`` (opened_at, id)."""
        ...

    def signals(self, incident_id: str) -> list[TrackedSignal]:
        """Return an incident's signals, oldest first."""
        ...

    def timeline(self, incident_id: str) -> list[TimelineEntry]:
        """Return an incident's history, oldest first."""
        ...

    def due_to_announce(self, now: int) -> list[str]:
        """Return the groups whose opening is to be announced now."""
        ...

    def firing_signals(self) -> list[StaleSignal]:
        """Return every firing signal."""
        ...

    def forget(self, *, signals_before: int, incidents_before: int) -> int:
        """Delete what is over since before these times; return how many rows went."""
        ...


class Outbox(Protocol):
    """Events that are written and must be published until every channel concerned has taken note."""

    def published(self, event_ids: Sequence[str], next_publish_at: int) -> None:
        """Note a publication, and when to look for receipts."""
        ...

    def settle(self) -> int:
        """Close events that every channel has taken note of; return how many."""
        ...

    def due(self, now: int, limit: int) -> list[tuple[IncidentEvent, int]]:
        """Return events to publish and how often that has happened, oldest first."""
        ...
