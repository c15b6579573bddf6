"""Incidents: take signals in, let people act, and tell the world what came of it."""

from __future__ import annotations

from collections.abc import Callable

from farwatch.domain import incidents
from farwatch.domain.hosts import Host
from farwatch.domain.incidents import Change, Group, Incident, Policy
from farwatch.domain.severity import Severity
from farwatch.domain.signals import Signal
from farwatch.errors import NotFound
from farwatch.ids import new_id
from farwatch.ports.incidents import IncidentStore
from farwatch.services.outbox import Publisher


class Incidents:
    """The use cases around incidents. Every change is committed with its events before any of them is published."""

    def __init__(self, store: IncidentStore, publisher: Publisher, policy: Policy) -> None:
        self._store = store
        self._publisher = publisher
        self._policy = policy

    def receive(self, signal: Signal, now: int) -> Change | None:
        """Let a signal change its group's incident; the same signal again, or an older one, changes nothing.

        Raises Unavailable when the database cannot be reached; the queue then delivers the signal again.
        """
        key = incidents.group_key(signal)

        def decide(group: Group) -> Change | None:
            return incidents.receive(group, signal, now=now, new_id=new_id("inc"), policy=self._policy)

        return self._published(self._store.change_group(key, signal.fingerprint, decide), now)

    def expire(self, group_key: str, fingerprints: list[str], why: str, now: int) -> Change | None:
        """Take firing signals of a group to be over; ``why`` goes on record."""
        return self._published(
            self._store.change_group(
                group_key, None, lambda group: incidents.expire(group, fingerprints, now=now, why=why)
            ),
            now,
        )

    def announce(self, group_key: str, now: int) -> Change | None:
        """Tell people of an incident whose group wait is over."""
        return self._published(
            self._store.change_group(group_key, None, lambda group: incidents.announce(group, now=now)), now
        )

    def open_by_hand(
        self, *, actor: str, title: str, reason: str, severity: Severity, host: Host | None, now: int
    ) -> Incident:
        """Open an incident that no signal speaks of."""
        change = incidents.open_by_hand(
            now=now,
            new_id=new_id("inc"),
            actor=actor,
            title=title,
            reason=reason,
            severity=severity,
            host_id=host.id if host is not None else None,
            host_name=host.name if host is not None else "",
            host_labels=host.labels if host is not None else None,
        )
        self._store.create(change)
        return self._outcome(self._published(change, now))

    def acknowledge(
        self, incident_id: str, *, actor: str, note: str, now: int, version: int | None = None
    ) -> Incident:
        """Somebody takes the incident. Raises Conflict, NotFound or PreconditionFailed."""
        return self._act(
            incident_id,
            lambda group: incidents.acknowledge(group, now=now, actor=actor, note=note),
            now,
            version,
        )

    def assign(
        self,
        incident_id: str,
        *,
        actor: str,
        assignee: str | None,
        assignee_name: str,
        now: int,
        version: int | None = None,
    ) -> Incident:
        """Give the incident to a user, or to nobody. Raises Conflict, NotFound or PreconditionFailed."""
        return self._act(
            incident_id,
            lambda group: incidents.assign(
                group, now=now, actor=actor, assignee=assignee, assignee_name=assignee_name
            ),
            now,
            version,
        )

    def comment(self, incident_id: str, *, actor: str, text: str, now: int) -> Incident:
        """Add a remark to the timeline. Raises NotFound."""
        return self._act(
            incident_id, lambda group: incidents.comment(group, now=now, actor=actor, text=text), now, None
        )

    def set_severity(
        self, incident_id: str, *, actor: str, severity: Severity, now: int, version: int | None = None
    ) -> Incident:
        """Judge the severity. Raises Conflict, NotFound or PreconditionFailed."""
        return self._act(
            incident_id,
            lambda group: incidents.set_severity(group, now=now, actor=actor, severity=severity),
            now,
            version,
        )

    def resolve(
        self, incident_id: str, *, actor: str, note: str, now: int, version: int | None = None
    ) -> Incident:
        """Declare the incident over. Raises Conflict, NotFound or PreconditionFailed."""
        return self._act(
            incident_id,
            lambda group: incidents.resolve_by_hand(group, now=now, actor=actor, note=note),
            now,
            version,
        )

    def _act(
        self, incident_id: str, decide: Callable[[Group], Change | None], now: int, version: int | None
    ) -> Incident:
        change = self._store.change_incident(incident_id, decide, version)
        if change is None:
            found = self._store.get(incident_id)
            if found is None:
                raise NotFound("there is no such incident")
            return found
        return self._outcome(self._published(change, now))

    def _published(self, change: Change | None, now: int) -> Change | None:
        if change is not None:
            self._publisher.publish(change.events, now)
        return change

    @staticmethod
    def _outcome(change: Change | None) -> Incident:
        if change is None or change.group.incident is None:
            raise NotFound("there is no such incident")
        return change.group.incident
