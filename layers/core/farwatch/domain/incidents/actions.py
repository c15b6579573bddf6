"""What people do with incidents: acknowledge, assign, discuss, judge, resolve and open them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from farwatch.domain.events import EventKind
from farwatch.domain.headlines import one_line
from farwatch.domain.incidents.records import Change, Group, Incident, IncidentStatus, Tracking
from farwatch.domain.incidents.step import NOTE_LENGTH, Step
from farwatch.domain.severity import Severity
from farwatch.errors import Conflict


def acknowledge(group: Group, *, now: int, actor: str, note: str = "") -> Change:
    """Somebody takes the incident. Raises Conflict when it is resolved or has been taken."""
    incident = group.present()
    if incident.status is IncidentStatus.ACKNOWLEDGED:
        raise Conflict(f"already acknowledged by {incident.acknowledged_by}", code="already_acknowledged")
    step = Step(group, now, ())
    step.announce_if_due()
    step.incident = replace(
        step.incident, status=IncidentStatus.ACKNOWLEDGED, acknowledged_at=now, acknowledged_by=actor
    )
    step.note("acknowledged", note or "Acknowledged.", actor=actor)
    step.tell(EventKind.ACKNOWLEDGED, actor=actor, note=note)
    return step.change()


def assign(group: Group, *, now: int, actor: str, assignee: str | None, assignee_name: str) -> Change:
    """Give the incident to somebody (a user id), or to nobody. Raises Conflict when it is resolved."""
    group.present()
    step = Step(group, now, ())
    step.incident = replace(step.incident, assignee=assignee)
    text = f"Assigned to {assignee_name}." if assignee else "Assigned to nobody."
    step.note("assigned", text, actor=actor)
    step.tell(EventKind.ASSIGNED, actor=actor, note=text)
    return step.change()


def comment(group: Group, *, now: int, actor: str, text: str) -> Change:
    """Add a remark to the timeline; a resolved incident may still be discussed."""
    step = Step(group, now, ())
    step.note("comment", text[:NOTE_LENGTH], actor=actor)
    step.tell(EventKind.COMMENTED, actor=actor, note=text[:NOTE_LENGTH])
    return step.change()


def set_severity(group: Group, *, now: int, actor: str, severity: Severity) -> Change | None:
    """A person judges the severity; None when it is that already. Raising it tells people, lowering it does not.

    A lowered severity stays until a signal is worse than every one before.
    """
    incident = group.present()
    if severity is incident.severity:
        return None
    step = Step(group, now, ())
    rises = severity.rank > incident.severity.rank
    step.incident = replace(
        step.incident, severity=severity, peak=max(severity, incident.peak, key=lambda item: item.rank)
    )
    text = f"Severity set from {incident.severity} to {severity}."
    step.note("severity", text, actor=actor)
    step.tell(
        EventKind.ESCALATED if rises and incident.announced else EventKind.UPDATED, actor=actor, note=text
    )
    return step.change()


def resolve_by_hand(group: Group, *, now: int, actor: str, note: str = "") -> Change:
    """A person declares the incident over. Signals still firing are dismissed: they open nothing until they end and
    start anew, or get worse. Raises Conflict when it is resolved already.
    """
    group.present()
    dismissed = tuple(replace(signal, state=Tracking.DISMISSED) for signal in group.firing())
    step = Step(group.knowing(*dismissed), now, dismissed)
    step.resolve(note or f"Resolved by {actor}.", actor=actor)
    return step.change()


def open_by_hand(
    *,
    now: int,
    new_id: str,
    actor: str,
    title: str,
    reason: str,
    severity: Severity,
    host_id: str | None = None,
    host_name: str = "",
    host_labels: Mapping[str, str] | None = None,
) -> Change:
    """A person opens an incident that no signal speaks of; it ends when a person resolves it."""
    key = f"manual={new_id}"
    incident = Incident(
        id=new_id,
        group_key=key,
        status=IncidentStatus.OPEN,
        severity=severity,
        peak=severity,
        title=one_line(title, 200),
        reason=reason,
        host_id=host_id,
        host_name=host_name,
        host_labels=host_labels or {},
        opened_at=now,
        announce_at=now,
    )
    step = Step(Group(key, incident), now, ())
    step.note("opened", reason or "Opened by hand.", actor=actor)
    step.announce_if_due(actor=actor)
    return step.change()
