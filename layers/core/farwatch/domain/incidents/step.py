"""One change of an incident in the making: the group as it becomes, and what is said about it."""

from __future__ import annotations

from dataclasses import replace

from farwatch.domain.events import LISTED_SIGNALS, EventKind, Evidence, IncidentEvent, SignalLine, event_id
from farwatch.domain.headlines import duration, headline, one_line
from farwatch.domain.incidents.records import (
    Change,
    Group,
    Incident,
    IncidentStatus,
    TimelineEntry,
    TrackedSignal,
    Tracking,
)
from farwatch.domain.severity import Severity
from farwatch.domain.signals import Signal, SignalKind
from farwatch.errors import Conflict

EVIDENCE_KEPT = 10
NOTE_LENGTH = 4000


class Step:
    """One change in the making: the group as it becomes, and what it says about it."""

    def __init__(self, group: Group, now: int, touched: tuple[TrackedSignal, ...]) -> None:
        self.group = group
        self._now = now
        self._touched = touched
        self._timeline: list[TimelineEntry] = []
        self._events: list[IncidentEvent] = []

    @property
    def incident(self) -> Incident:
        """The incident of the group, which every step has."""
        if self.group.incident is None:
            raise Conflict("the incident is resolved", code="incident_resolved")
        return self.group.incident

    @incident.setter
    def incident(self, incident: Incident) -> None:
        self.group = replace(self.group, incident=incident)

    def note(self, kind: str, text: str, *, actor: str = "", fingerprint: str | None = None) -> None:
        """Add a line to the timeline."""
        self._timeline.append(TimelineEntry(self._now, kind, text[:NOTE_LENGTH], actor, fingerprint))

    def lead_with(self, signal: Signal) -> None:
        """Let title, reason and evidence speak of a signal that is worse than every one before."""
        incident = self.incident
        kept = incident.evidence[-(EVIDENCE_KEPT - 1) :]
        self.incident = replace(
            incident,
            peak=signal.severity,
            severity=max(signal.severity, incident.severity, key=lambda item: item.rank),
            title=headline(signal),
            reason=signal.reason,
            lead=signal.fingerprint,
            evidence=(*kept, evidence_of(signal, self._now)),
        )

    def retitle(self, signal: TrackedSignal) -> None:
        """Let the title speak of what is left when the signal it spoke of is over."""
        where = self.incident.host_name
        title = signal.title if not where or where in signal.title else f"{signal.title} on {where}"
        self.incident = replace(
            self.incident, title=one_line(title, 200), reason=signal.reason, lead=signal.fingerprint
        )

    def reopen_if_acknowledged(self) -> None:
        """Whoever acknowledged it had seen a lesser trouble."""
        if self.incident.status is IncidentStatus.ACKNOWLEDGED:
            self.incident = replace(
                self.incident, status=IncidentStatus.OPEN, acknowledged_at=None, acknowledged_by=None
            )

    def announce_if_due(self, actor: str = "") -> None:
        """Tell people of the opening once the group wait is over."""
        if not self.incident.announced and self.incident.announce_at <= self._now:
            self.incident = replace(self.incident, announced=True)
            self.tell(EventKind.OPENED, actor=actor)

    def resolve(self, why: str, *, actor: str) -> None:
        """End the incident, for the reason given, and tell people."""
        incident = self.incident
        self.incident = replace(
            incident, status=IncidentStatus.RESOLVED, resolved_at=self._now, resolution=why[:NOTE_LENGTH]
        )
        lasted = duration(self._now - incident.opened_at)
        self.note("resolved", f"Resolved after {lasted}: {why}", actor=actor)
        self.tell(EventKind.RESOLVED, actor=actor, note=why[:NOTE_LENGTH])

    def tell(self, kind: EventKind, *, actor: str = "", note: str = "") -> None:
        """Add an event. Openings and escalations page unless they are mere information; the end pages whoever was paged.

        If somebody had acknowledged the incident before anybody was paged, that is told right after the first page:
        PagerDuty would escalate otherwise.
        """
        incident = self.incident
        paged_before = incident.paged
        pages = incident.severity is not Severity.INFO if kind.firing else incident.paged
        seq = incident.event_count + 1
        incident = replace(incident, event_count=seq, paged=incident.paged or (kind.firing and pages))
        self.incident = incident
        mine = [signal for signal in self.group.signals.values() if signal.incident_id == incident.id]
        mine.sort(
            key=lambda signal: (signal.state is not Tracking.FIRING, -signal.severity.rank, signal.started_at)
        )
        silent = self.group.silent()
        self._events.append(
            IncidentEvent(
                id=event_id(incident.id, seq),
                incident_id=incident.id,
                seq=seq,
                kind=kind,
                at=self._now,
                pages=pages,
                severity=incident.severity,
                status=incident.status.value,
                title=incident.title,
                reason=incident.reason,
                host_id=incident.host_id,
                host_name=incident.host_name,
                host_labels=incident.host_labels,
                opened_at=incident.opened_at,
                resolved_at=incident.resolved_at,
                actor=actor,
                note=note,
                assignee=incident.assignee,
                evidence=incident.evidence[-1] if incident.evidence else None,
                signals=tuple(_line(signal, silent=silent) for signal in mine[:LISTED_SIGNALS]),
                signal_count=len(mine),
            )
        )
        if incident.paged and not paged_before and incident.status is IncidentStatus.ACKNOWLEDGED:
            self.tell(EventKind.ACKNOWLEDGED, actor=incident.acknowledged_by or "")

    def change(self) -> Change:
        """Return the finished change; the incident's version rises when people can see a difference."""
        if self._timeline or self._events:
            self.incident = replace(self.incident, version=self.incident.version + 1)
        return Change(self.group, tuple(self._timeline), tuple(self._events), self._touched)


def _line(signal: TrackedSignal, *, silent: bool) -> SignalLine:
    firing = signal.state is Tracking.FIRING
    return SignalLine(
        title=one_line(signal.title, 200),
        severity=signal.severity,
        firing=firing,
        since=signal.started_at,
        inhibited=silent and firing and signal.kind is not SignalKind.SILENCE,
    )


def evidence_of(signal: Signal, now: int) -> Evidence:
    """Return what the signal says at ``now``, to be frozen into the incident."""
    return Evidence(
        at=now,
        fingerprint=signal.fingerprint,
        title=signal.title,
        reason=signal.reason,
        kind=signal.kind,
        metric=signal.metric,
        labels=signal.labels,
        value=signal.value,
        unit=signal.unit,
        numbers=signal.evidence,
        top_processes=signal.top_processes,
    )
