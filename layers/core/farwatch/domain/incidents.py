"""Incidents: a pure state machine driven by signals, people and the clock.

    (none) ──first firing signal──▶ open ◀──severity rises── acknowledged
                                     │  ╲────acknowledge────▶    │
                                     ╰── last signal over, or resolved by hand ──▶ resolved

All signals of one group (now: one host) belong to one incident, so a host in trouble is one page. Every function takes
the group as it stands and returns a ``Change`` holding the group as it becomes, what to write in the timeline and which
events to publish; None means that nothing changes. Times are epoch milliseconds of the server's clock unless said
otherwise.

Promises kept here, whatever arrives, in whatever order:

* a statement older than the last one heard of the same fingerprint changes nothing (``Signal`` explains the order);
* while the host is silent its other signals join but neither raise the severity nor page;
* an incident that people were told of ends with exactly one ``resolved`` event; one they were not told of, with none
  that pages;
* people are told again only when the severity rises above everything seen before.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from farwatch.domain.events import (
    LISTED_SIGNALS,
    EventKind,
    Evidence,
    IncidentEvent,
    SignalLine,
    event_id,
)
from farwatch.domain.headlines import duration, headline, one_line
from farwatch.domain.severity import Severity
from farwatch.domain.signals import Signal, SignalKind, SignalState
from farwatch.errors import Conflict

EVIDENCE_KEPT = 10
NOTE_LENGTH = 4000


class IncidentStatus(StrEnum):
    """Open: nobody has it. Acknowledged: somebody has. Resolved: over."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class Tracking(StrEnum):
    """What is known of a signal. ``dismissed``: its incident was resolved by hand while it still fired."""

    FIRING = "firing"
    RESOLVED = "resolved"
    DISMISSED = "dismissed"


@dataclass(frozen=True, slots=True)
class TrackedSignal:
    """The last statement heard about one fingerprint.

    ``started_at`` and ``last_at`` are the signal's own times (the host's clock, never taken to be in the future) and
    only order its statements; ``heard_at`` is when it was last heard, by the server's clock.
    """

    fingerprint: str
    kind: SignalKind
    host_id: str
    source: str
    title: str
    reason: str
    severity: Severity
    state: Tracking
    started_at: int
    last_at: int
    heard_at: int
    incident_id: str | None = None
    joined_at: int | None = None
    resolved_at: int | None = None
    metric: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    value: float | None = None
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class Incident:
    """One stretch of trouble of one group.

    ``severity`` is what people see and may set; ``peak`` the highest severity any uninhibited signal has had. ``lead`` is
    the fingerprint that title and reason speak of. ``announce_at`` is when people are told (``opened_at`` and the group
    wait), ``announced`` whether that has happened, ``paged`` whether any event went to the channels that interrupt.
    ``version`` rises with every change that shows; ``event_count`` is the ``seq`` of the last event.
    """

    id: str
    group_key: str
    status: IncidentStatus
    severity: Severity
    peak: Severity
    title: str
    reason: str
    host_id: str | None
    host_name: str
    opened_at: int
    announce_at: int
    host_labels: Mapping[str, str] = field(default_factory=dict)
    lead: str | None = None
    announced: bool = False
    paged: bool = False
    acknowledged_at: int | None = None
    acknowledged_by: str | None = None
    assignee: str | None = None
    resolved_at: int | None = None
    resolution: str = ""
    evidence: tuple[Evidence, ...] = ()
    version: int = 0
    event_count: int = 0

    @property
    def active(self) -> bool:
        """Whether it is open or acknowledged."""
        return self.status is not IncidentStatus.RESOLVED


@dataclass(frozen=True, slots=True)
class Group:
    """Everything that one decision needs: the active incident of a group, if any, and the signals known."""

    key: str
    incident: Incident | None = None
    signals: Mapping[str, TrackedSignal] = field(default_factory=dict)

    def firing(self) -> list[TrackedSignal]:
        """Return the signals that keep the incident open, most severe and oldest first."""
        incident = self.incident
        mine = [
            signal
            for signal in self.signals.values()
            if incident is not None and signal.incident_id == incident.id and signal.state is Tracking.FIRING
        ]
        return sorted(mine, key=lambda signal: (-signal.severity.rank, signal.started_at, signal.fingerprint))

    def silent(self) -> bool:
        """Whether the host is known to be silent, which inhibits its other signals."""
        return any(signal.kind is SignalKind.SILENCE for signal in self.firing())


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One line of an incident's history. ``actor`` is empty when Farwatch did it."""

    at: int
    kind: str
    text: str
    actor: str = ""
    fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What a step brought about. ``touched`` are the signals whose rows must be written."""

    group: Group
    timeline: tuple[TimelineEntry, ...] = ()
    events: tuple[IncidentEvent, ...] = ()
    touched: tuple[TrackedSignal, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """``group_wait_s``: how long a new incident waits for more signals before people are told; trouble that ends sooner
    is recorded and not sent. 0 tells people at once.
    """

    group_wait_s: float = 0.0


def group_key(signal: Signal, group_by: Sequence[str] = ("host",)) -> str:
    """Return which incident a signal belongs to: its ``group_by`` labels, ``host`` being the host's id.

    Other names are looked up among the signal's labels, then the host's.
    """
    values = {**signal.host_labels, **signal.labels, "host": signal.host_id}
    return ",".join(f"{name}={values.get(name, '')}" for name in group_by)


def receive(group: Group, signal: Signal, *, now: int, new_id: str, policy: Policy) -> Change | None:
    """Return what a signal changes; ``new_id`` is the id an incident gets if this signal opens one."""
    if group.incident is not None and not group.incident.active:
        group = replace(group, incident=None)
    started_at, at = min(signal.started_at, now), min(signal.at, now)
    known = group.signals.get(signal.fingerprint)
    firing = signal.state is SignalState.FIRING
    if known is not None and not _is_news(known, started_at, at, firing=firing):
        return None
    heard = _tracked(signal, known, started_at=started_at, at=at, now=now)
    if not firing:
        return _over(group, known, heard, now=now)
    if known is not None and _stays_dismissed(known, heard):
        return _only(group, replace(heard, state=Tracking.DISMISSED, incident_id=known.incident_id))
    if group.incident is None:
        return _open(group, signal, heard, now=now, new_id=new_id, policy=policy)
    return _join_or_refresh(group, signal, known, heard, now=now)


def _is_news(known: TrackedSignal, started_at: int, at: int, *, firing: bool) -> bool:
    stored = (known.started_at, known.last_at)
    if (started_at, at) == stored:
        return not firing and known.state is Tracking.FIRING
    return (started_at, at) > stored


def _tracked(
    signal: Signal, known: TrackedSignal | None, *, started_at: int, at: int, now: int
) -> TrackedSignal:
    firing = signal.state is SignalState.FIRING
    return TrackedSignal(
        fingerprint=signal.fingerprint,
        kind=signal.kind,
        host_id=signal.host_id,
        source=signal.source,
        title=signal.title,
        reason=signal.reason,
        severity=signal.severity,
        state=Tracking.FIRING if firing else Tracking.RESOLVED,
        started_at=started_at,
        last_at=at,
        heard_at=now,
        incident_id=known.incident_id if known is not None else None,
        joined_at=known.joined_at if known is not None else None,
        resolved_at=None if firing else now,
        metric=signal.metric,
        labels=signal.labels,
        value=signal.value,
        unit=signal.unit,
    )


def _stays_dismissed(known: TrackedSignal, heard: TrackedSignal) -> bool:
    """The same episode, resolved by hand before, comes back only when it gets worse."""
    return (
        known.state is Tracking.DISMISSED
        and known.started_at == heard.started_at
        and heard.severity.rank <= known.severity.rank
    )


def _only(group: Group, signal: TrackedSignal) -> Change:
    return Change(_with(group, signal), touched=(signal,))


def _open(
    group: Group, signal: Signal, heard: TrackedSignal, *, now: int, new_id: str, policy: Policy
) -> Change:
    incident = Incident(
        id=new_id,
        group_key=group.key,
        status=IncidentStatus.OPEN,
        severity=signal.severity,
        peak=signal.severity,
        title=headline(signal),
        reason=signal.reason,
        host_id=signal.host_id,
        host_name=signal.host_name,
        host_labels=signal.host_labels,
        lead=signal.fingerprint,
        opened_at=now,
        announce_at=now + round(policy.group_wait_s * 1000),
        evidence=(_evidence(signal, now),),
    )
    mine = replace(heard, incident_id=new_id, joined_at=now)
    step = _Step(replace(_with(group, mine), incident=incident), now, (mine,))
    step.note("opened", f"Opened: {signal.reason}", fingerprint=signal.fingerprint)
    step.announce_if_due()
    return step.change()


def _join_or_refresh(
    group: Group, signal: Signal, known: TrackedSignal | None, heard: TrackedSignal, *, now: int
) -> Change:
    incident = _present(group)
    refresh = known is not None and known.state is Tracking.FIRING and known.incident_id == incident.id
    mine = heard if refresh else replace(heard, incident_id=incident.id, joined_at=now)
    step = _Step(_with(group, mine), now, (mine,))
    inhibited = signal.kind is not SignalKind.SILENCE and step.group.silent()
    rises = not inhibited and signal.severity.rank > incident.peak.rank
    if rises:
        step.lead_with(signal)
    if not refresh:
        muted = " (muted: the host is silent)" if inhibited else ""
        step.note("signal", f"Joined by: {signal.reason}{muted}", fingerprint=signal.fingerprint)
    if rises and incident.announced:
        step.reopen_if_acknowledged()
        step.note("escalated", f"Severity rises from {incident.severity} to {step.incident.severity}.")
        step.tell(EventKind.ESCALATED)
    elif rises or not refresh:
        step.tell(EventKind.UPDATED)
    step.announce_if_due()
    return step.change()


def _over(group: Group, known: TrackedSignal | None, heard: TrackedSignal, *, now: int) -> Change:
    incident = group.incident
    was_firing = known is not None and known.state is Tracking.FIRING
    if known is None or incident is None or not was_firing or known.incident_id != incident.id:
        # Nothing was open for it. Remember the end, so that its firing, if it comes late, opens nothing.
        return _only(group, heard)
    return _end_signals(group, (heard,), now=now, why="")


def expire(group: Group, fingerprints: Collection[str], *, now: int, why: str) -> Change | None:
    """Return what changes when firing signals are taken to be over without having said so; ``why`` goes on record.

    The signals' own last word stays, so one that is heard again goes on firing, and a late copy does not.
    """
    ended = tuple(
        replace(signal, state=Tracking.RESOLVED, resolved_at=now)
        for signal in group.firing()
        if signal.fingerprint in fingerprints
    )
    return _end_signals(group, ended, now=now, why=why) if ended else None


def _end_signals(group: Group, ended: tuple[TrackedSignal, ...], *, now: int, why: str) -> Change:
    step = _Step(_with(group, *ended), now, ended)
    for signal in ended:
        text = f"Over: {one_line(signal.title, 200)}" + (f" ({why})" if why else "")
        step.note("signal", text, fingerprint=signal.fingerprint)
    remaining = step.group.firing()
    if not remaining:
        step.resolve(why or "All of its signals are over.", actor="")
    else:
        if step.incident.lead in {signal.fingerprint for signal in ended}:
            step.retitle(remaining[0])
        step.announce_if_due()
        step.tell(EventKind.UPDATED)
    return step.change()


def announce(group: Group, *, now: int) -> Change | None:
    """Return the opening of an incident whose group wait is over, or None."""
    incident = group.incident
    if incident is None or incident.announced or incident.announce_at > now:
        return None
    step = _Step(group, now, ())
    step.announce_if_due()
    return step.change()


def acknowledge(group: Group, *, now: int, actor: str, note: str = "") -> Change:
    """Somebody takes the incident. Raises Conflict when it is resolved or has been taken."""
    incident = _present(group)
    if incident.status is IncidentStatus.ACKNOWLEDGED:
        raise Conflict(f"already acknowledged by {incident.acknowledged_by}", code="already_acknowledged")
    step = _Step(group, now, ())
    step.announce_if_due()
    step.incident = replace(
        step.incident, status=IncidentStatus.ACKNOWLEDGED, acknowledged_at=now, acknowledged_by=actor
    )
    step.note("acknowledged", note or "Acknowledged.", actor=actor)
    step.tell(EventKind.ACKNOWLEDGED, actor=actor, note=note)
    return step.change()


def assign(group: Group, *, now: int, actor: str, assignee: str | None, assignee_name: str) -> Change:
    """Give the incident to somebody (a user id), or to nobody. Raises Conflict when it is resolved."""
    step = _Step(_checked(group), now, ())
    step.incident = replace(step.incident, assignee=assignee)
    text = f"Assigned to {assignee_name}." if assignee else "Assigned to nobody."
    step.note("assigned", text, actor=actor)
    step.tell(EventKind.ASSIGNED, actor=actor, note=text)
    return step.change()


def comment(group: Group, *, now: int, actor: str, text: str) -> Change:
    """Add a remark to the timeline; a resolved incident may still be discussed."""
    step = _Step(group, now, ())
    step.note("comment", text[:NOTE_LENGTH], actor=actor)
    step.tell(EventKind.COMMENTED, actor=actor, note=text[:NOTE_LENGTH])
    return step.change()


def set_severity(group: Group, *, now: int, actor: str, severity: Severity) -> Change | None:
    """A person judges the severity; None when it is that already. Raising it tells people, lowering it does not.

    A lowered severity stays until a signal is worse than every one before.
    """
    incident = _present(group)
    if severity is incident.severity:
        return None
    step = _Step(group, now, ())
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
    _present(group)
    dismissed = tuple(replace(signal, state=Tracking.DISMISSED) for signal in group.firing())
    step = _Step(_with(group, *dismissed), now, dismissed)
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
    step = _Step(Group(key, incident), now, ())
    step.note("opened", reason or "Opened by hand.", actor=actor)
    step.announce_if_due(actor=actor)
    return step.change()


class _Step:
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
            evidence=(*kept, _evidence(signal, self._now)),
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
        incident = self.incident
        self.incident = replace(
            incident, status=IncidentStatus.RESOLVED, resolved_at=self._now, resolution=why[:NOTE_LENGTH]
        )
        lasted = duration(self._now - incident.opened_at)
        self.note("resolved", f"Resolved after {lasted}: {why}", actor=actor)
        self.tell(EventKind.RESOLVED, actor=actor, note=why[:NOTE_LENGTH])

    def tell(self, kind: EventKind, *, actor: str = "", note: str = "") -> None:
        """Add an event. Openings and escalations page unless they are mere information; the end pages whoever was paged."""
        incident = self.incident
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


def _evidence(signal: Signal, now: int) -> Evidence:
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


def _with(group: Group, *signals: TrackedSignal) -> Group:
    return replace(group, signals={**group.signals, **{signal.fingerprint: signal for signal in signals}})


def _present(group: Group) -> Incident:
    if group.incident is None or not group.incident.active:
        raise Conflict("the incident is resolved", code="incident_resolved")
    return group.incident


def _checked(group: Group) -> Group:
    _present(group)
    return group
