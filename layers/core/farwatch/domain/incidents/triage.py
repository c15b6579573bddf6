"""What signals and the clock do to incidents: open, join, raise, end and announce them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from farwatch.domain.events import EventKind
from farwatch.domain.headlines import headline, one_line
from farwatch.domain.incidents.records import (
    Change,
    Group,
    Incident,
    IncidentStatus,
    Policy,
    TrackedSignal,
    Tracking,
)
from farwatch.domain.incidents.step import Step, evidence_of
from farwatch.domain.signals import Signal, SignalKind, SignalState


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
    return Change(group.knowing(signal), touched=(signal,))


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
        evidence=(evidence_of(signal, now),),
    )
    mine = replace(heard, incident_id=new_id, joined_at=now)
    step = Step(replace(group.knowing(mine), incident=incident), now, (mine,))
    step.note("opened", f"Opened: {signal.reason}", fingerprint=signal.fingerprint)
    step.announce_if_due()
    return step.change()


def _join_or_refresh(
    group: Group, signal: Signal, known: TrackedSignal | None, heard: TrackedSignal, *, now: int
) -> Change:
    incident = group.present()
    refresh = known is not None and known.state is Tracking.FIRING and known.incident_id == incident.id
    mine = heard if refresh else replace(heard, incident_id=incident.id, joined_at=now)
    step = Step(group.knowing(mine), now, (mine,))
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
    step = Step(group.knowing(*ended), now, ended)
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
    step = Step(group, now, ())
    step.announce_if_due()
    return step.change()
