"""Incident events: what happened to an incident, complete enough to write the message without asking again.

An event is written beside the change that caused it (the outbox), published once that is committed, and read by every
channel and by ``live``. It is a snapshot: a mail about the opening says what was known at the opening, however late
the mail server lets us send it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from farwatch.domain.samples import TopProcess
from farwatch.domain.severity import Severity
from farwatch.domain.signals import SignalKind


class EventKind(StrEnum):
    """What happened. ``opened`` and ``escalated`` are the firing kinds: news of trouble, to be followed by ``resolved``."""

    OPENED = "incident.opened"
    ESCALATED = "incident.escalated"
    UPDATED = "incident.updated"
    ACKNOWLEDGED = "incident.acknowledged"
    ASSIGNED = "incident.assigned"
    COMMENTED = "incident.commented"
    RESOLVED = "incident.resolved"

    @property
    def firing(self) -> bool:
        """Whether somebody who is told of this must later be told that it is over."""
        return self in {EventKind.OPENED, EventKind.ESCALATED}


@dataclass(frozen=True, slots=True)
class Evidence:
    """The measurements behind an opening or a rise in severity, frozen when it happened. ``at`` is epoch ms."""

    at: int
    fingerprint: str
    title: str
    reason: str
    kind: SignalKind = SignalKind.RULE
    metric: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    value: float | None = None
    unit: str | None = None
    numbers: Mapping[str, float | str | None] = field(default_factory=dict)
    top_processes: tuple[TopProcess, ...] = ()


@dataclass(frozen=True, slots=True)
class SignalLine:
    """One signal of an incident as a message lists it."""

    title: str
    severity: Severity
    firing: bool
    since: int
    inhibited: bool = False


@dataclass(frozen=True, slots=True)
class IncidentEvent:
    """One event. Times are epoch milliseconds.

    ``seq`` counts 1, 2, 3 … within the incident, and ``id`` follows from both. ``pages`` says whether people are to be
    told by the channels that interrupt (e-mail, Slack, PagerDuty). ``actor`` is a person's name, or empty when
    Farwatch itself did it. ``signals`` holds at most ``LISTED_SIGNALS`` lines of the ``signal_count`` there are.
    """

    id: str
    incident_id: str
    seq: int
    kind: EventKind
    at: int
    pages: bool
    severity: Severity
    status: str
    title: str
    reason: str
    host_id: str | None
    host_name: str
    opened_at: int
    resolved_at: int | None = None
    actor: str = ""
    note: str = ""
    assignee: str | None = None
    host_labels: Mapping[str, str] = field(default_factory=dict)
    evidence: Evidence | None = None
    signals: tuple[SignalLine, ...] = ()
    signal_count: int = 0


LISTED_SIGNALS = 20


def event_id(incident_id: str, seq: int) -> str:
    """Return the id of the ``seq``-th event of an incident: known beforehand, so a repeat cannot make a second one."""
    return f"evt_{incident_id.removeprefix('inc_')}_{seq}"
