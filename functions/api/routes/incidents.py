"""Incidents: list, inspect, open, acknowledge, assign, comment, judge, resolve. Times are epoch milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.api_gateway import Router
from aws_lambda_powertools.event_handler.openapi.params import Path, Query
from pydantic import StringConstraints

from farwatch.bootstrap import container
from farwatch.domain.fixes import fixes_for
from farwatch.domain.incidents import Incident, IncidentStatus
from farwatch.domain.rbac import Permission, PrincipalKind
from farwatch.domain.severity import Severity
from farwatch.errors import FieldError, InvalidInput, NotFound, PreconditionFailed
from farwatch.http.access import requires
from farwatch.http.app import created
from farwatch.http.changes import note_change
from farwatch.http.clock import now_ms
from farwatch.http.etags import IfMatch, tagged
from farwatch.http.models import Answer, Body, Limit, Name, Page
from farwatch.http.openapi import problems
from farwatch.http.principal import current_caller
from farwatch.ports.deliveries import DeliveryFilter
from farwatch.ports.incidents import IncidentFilter
from functions.api.routes.deliveries import DeliveryOut, delivery_out

router = Router()
TAGS = ["incidents"]

IncidentId = Annotated[str, Path(pattern=r"^inc_[a-z0-9_]{1,60}$", description="Id of the incident.")]
Note = Annotated[str, StringConstraints(max_length=4000)]
Moment = Annotated[int | None, Query(ge=0, le=2**52, description="Epoch milliseconds.")]


class IncidentOut(Answer):
    """An incident in a list. ``version`` is what the ETag says."""

    id: str
    state: IncidentStatus
    severity: Severity
    title: str
    reason: str
    host_id: str | None
    host_name: str
    opened_at: int
    acknowledged_at: int | None
    acknowledged_by: str | None
    assignee: str | None
    resolved_at: int | None
    resolution: str
    version: int


class SignalOut(Answer):
    """One of an incident's signals as it was last heard of; ``dismissed``: resolved by hand while it still fired."""

    fingerprint: str
    kind: str
    source: str
    state: str
    severity: Severity
    title: str
    reason: str
    metric: str | None
    labels: dict[str, str]
    value: float | None
    unit: str | None
    started_at: int
    heard_at: int
    resolved_at: int | None


class ProcessOut(Answer):
    """One of the busiest processes at the time."""

    pid: int
    name: str
    cpu_percent: float
    rss_bytes: int


class EvidenceOut(Answer):
    """What was measured when the incident opened or got worse."""

    at: int
    fingerprint: str
    title: str
    reason: str
    kind: str
    metric: str | None
    labels: dict[str, str]
    value: float | None
    unit: str | None
    numbers: dict[str, float | str | None]
    top_processes: list[ProcessOut]


class TimelineOut(Answer):
    """One line of the history; ``actor`` is empty when Farwatch did it."""

    at: int
    kind: str
    text: str
    actor: str
    fingerprint: str | None


class IncidentDetail(IncidentOut):
    """An incident with everything known about it. ``evidence`` is the newest, ``earlier_evidence`` what came before;
    ``deliveries`` is empty for those who may not see who was told.
    """

    host_labels: dict[str, str]
    signals: list[SignalOut]
    timeline: list[TimelineOut]
    evidence: EvidenceOut | None
    earlier_evidence: list[EvidenceOut]
    suggested_fixes: list[str]
    deliveries: list[DeliveryOut]


class NewIncident(Body):
    """An incident that no signal speaks of."""

    title: Name
    reason: Note = ""
    severity: Severity
    host_id: Annotated[str, StringConstraints(pattern=r"^host_[a-z0-9_]{1,60}$")] | None = None


class NoteBody(Body):
    """An optional remark, kept in the timeline."""

    note: Note = ""


class CommentBody(Body):
    """A remark."""

    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4000)]


class AssigneeBody(Body):
    """The id of the person who takes it over; null for nobody."""

    assignee: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,64}$")] | None


class SeverityBody(Body):
    """The severity as a person judges it."""

    severity: Severity


@router.get("/api/v1/incidents", summary="Incidents, newest first", tags=TAGS)
@requires(Permission.INCIDENTS_READ)
def list_incidents(
    state: Annotated[list[IncidentStatus] | None, Query(max_length=3)] = None,
    severity: Annotated[list[Severity] | None, Query(max_length=4)] = None,
    host_id: Annotated[str | None, Query(max_length=80)] = None,
    assignee: Annotated[str | None, Query(max_length=80)] = None,
    since: Moment = None,
    until: Moment = None,
    text: Annotated[str | None, Query(max_length=200, description="Part of the title or host name.")] = None,
    limit: Annotated[Limit, Query()] = 50,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> Page[IncidentOut]:
    """Return the incidents that match every filter given; ``since`` and ``until`` bound when they opened."""
    made = container()
    wanted = IncidentFilter(
        status=tuple(state or ()),
        severity=tuple(severity or ()),
        host_id=host_id,
        assignee=assignee,
        since=since,
        until=until,
        text=text or None,
    )
    bound = {"list": "incidents", **msgspec.to_builtins(wanted)}
    before = None
    if cursor:
        at, last = made.adapters.cursors.decode(cursor, bound)
        before = (int(at), str(last))
    found = made.adapters.incident_store.find(wanted, limit=limit + 1, before=before)
    more = len(found) > limit
    last_shown = found[limit - 1] if more else None
    return Page(
        items=[IncidentOut.model_validate(_fields(incident)) for incident in found[:limit]],
        next_cursor=made.adapters.cursors.encode([last_shown.opened_at, last_shown.id], bound)
        if last_shown
        else None,
    )


@router.get("/api/v1/incidents/<incident_id>", summary="One incident", tags=TAGS, responses=problems(404))
@requires(Permission.INCIDENTS_READ)
def get_incident(incident_id: IncidentId) -> Response[IncidentDetail]:
    """Return the incident with its signals, evidence, timeline and deliveries, and its ETag."""
    incident = container().adapters.incident_store.get(incident_id)
    if incident is None:
        raise NotFound("there is no such incident", code="unknown_incident")
    return _answer(incident)


@router.post("/api/v1/incidents", summary="Open an incident by hand", tags=TAGS, status_code=201)
@requires(Permission.INCIDENTS_WRITE, audit="incident.open")
def open_incident(body: NewIncident) -> Response[IncidentDetail]:
    """Open an incident; people are told as if a signal had."""
    made = container()
    host = made.adapters.hosts.get(body.host_id) if body.host_id is not None else None
    if body.host_id is not None and host is None:
        raise InvalidInput("there is no such host", [FieldError("body.host_id", "no host has this id")])
    incident = made.incidents.open_by_hand(
        actor=_actor(),
        title=body.title,
        reason=body.reason,
        severity=body.severity,
        host=host,
        now=now_ms(),
    )
    note_change(None, {"title": incident.title, **_standing(incident)})
    return created(f"/api/v1/incidents/{incident.id}", _detail(incident))


@router.post(
    "/api/v1/incidents/<incident_id>/acknowledge",
    summary="Say that somebody is on it",
    tags=TAGS,
    responses=problems(404, 409, 412),
)
@requires(Permission.INCIDENTS_WRITE, audit="incident.acknowledge")
def acknowledge(
    incident_id: IncidentId, body: NoteBody, if_match: IfMatch = None
) -> Response[IncidentDetail]:
    """Acknowledge: PagerDuty stops escalating, and the incident stays quiet until it gets worse."""
    return _changed(
        incident_id,
        lambda: container().incidents.acknowledge(
            incident_id, actor=_actor(), note=body.note, now=now_ms(), version=_version(if_match)
        ),
    )


@router.post(
    "/api/v1/incidents/<incident_id>/assign",
    summary="Give it to somebody",
    tags=TAGS,
    responses=problems(404, 409, 412),
)
@requires(Permission.INCIDENTS_WRITE, audit="incident.assign")
def assign(incident_id: IncidentId, body: AssigneeBody, if_match: IfMatch = None) -> Response[IncidentDetail]:
    """Assign the incident; the assignee is notified in the app."""
    made = container()
    person = made.adapters.people.get(body.assignee) if body.assignee is not None else None
    if body.assignee is not None and person is None:
        raise InvalidInput("there is no such person", [FieldError("body.assignee", "nobody has this id")])
    return _changed(
        incident_id,
        lambda: made.incidents.assign(
            incident_id,
            actor=_actor(),
            assignee=body.assignee,
            assignee_name=person.name if person is not None else "",
            now=now_ms(),
            version=_version(if_match),
        ),
    )


@router.post(
    "/api/v1/incidents/<incident_id>/comments", summary="Comment", tags=TAGS, responses=problems(404)
)
@requires(Permission.INCIDENTS_WRITE, audit="incident.comment")
def comment(incident_id: IncidentId, body: CommentBody) -> Response[IncidentDetail]:
    """Add a remark to the timeline; a resolved incident may still be discussed."""
    return _answer(container().incidents.comment(incident_id, actor=_actor(), text=body.text, now=now_ms()))


@router.post(
    "/api/v1/incidents/<incident_id>/severity",
    summary="Judge the severity",
    tags=TAGS,
    responses=problems(404, 409, 412),
)
@requires(Permission.INCIDENTS_WRITE, audit="incident.severity")
def set_severity(
    incident_id: IncidentId, body: SeverityBody, if_match: IfMatch = None
) -> Response[IncidentDetail]:
    """Set the severity. Raising it tells people again; lowering it does not."""
    return _changed(
        incident_id,
        lambda: container().incidents.set_severity(
            incident_id,
            actor=_actor(),
            severity=body.severity,
            now=now_ms(),
            version=_version(if_match),
        ),
    )


@router.post(
    "/api/v1/incidents/<incident_id>/resolve",
    summary="Declare it over",
    tags=TAGS,
    responses=problems(404, 409, 412),
)
@requires(Permission.INCIDENTS_WRITE, audit="incident.resolve")
def resolve(incident_id: IncidentId, body: NoteBody, if_match: IfMatch = None) -> Response[IncidentDetail]:
    """Resolve by hand. Signals that still fire stay quiet until they end and start anew, or get worse."""
    return _changed(
        incident_id,
        lambda: container().incidents.resolve(
            incident_id, actor=_actor(), note=body.note, now=now_ms(), version=_version(if_match)
        ),
    )


def _changed(incident_id: str, act: Callable[[], Incident]) -> Response[IncidentDetail]:
    """Let ``act`` change the incident, and note how it stood before and after."""
    before = container().adapters.incident_store.get(incident_id)
    after = act()
    note_change(None if before is None else _standing(before), _standing(after))
    return _answer(after)


def _standing(incident: Incident) -> dict[str, Any]:
    return {
        "state": incident.status.value,
        "severity": incident.severity.value,
        "assignee": incident.assignee,
        "acknowledged_by": incident.acknowledged_by,
        "resolution": incident.resolution,
    }


def _actor() -> str:
    """Return the name under which the caller goes down in the timeline."""
    principal = current_caller().principal
    if principal.kind is not PrincipalKind.USER:
        return f"token {principal.id}"
    person = container().adapters.people.get(principal.id)
    return person.name if person is not None else principal.id


def _version(if_match: str | None) -> int | None:
    """Return the version that ``If-Match`` asks for; None for none or ``*``."""
    if if_match is None or if_match.strip() == "*":
        return None
    tag = if_match.strip().strip('"')
    if not tag.isdecimal() or len(tag) > 9:
        raise PreconditionFailed("somebody changed it first: read it again and repeat the change")
    return int(tag)


def _fields(incident: Incident) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(incident)
    return {**fields, "state": incident.status}


def _detail(incident: Incident) -> IncidentDetail:
    made = container()
    may_see_deliveries = current_caller().principal.may(Permission.DELIVERIES_READ)
    deliveries = (
        made.adapters.deliveries.find(DeliveryFilter(incident_id=incident.id), limit=200)
        if may_see_deliveries
        else []
    )
    names = made.recipient_names() if deliveries else {}
    evidence = [msgspec.to_builtins(item) for item in incident.evidence]
    newest = incident.evidence[-1] if incident.evidence else None
    return IncidentDetail.model_validate(
        {
            **_fields(incident),
            "signals": [
                msgspec.to_builtins(item) for item in made.adapters.incident_store.signals(incident.id)
            ],
            "timeline": [
                msgspec.to_builtins(line) for line in made.adapters.incident_store.timeline(incident.id)
            ],
            "evidence": evidence[-1] if evidence else None,
            "earlier_evidence": evidence[:-1],
            "suggested_fixes": fixes_for(newest.metric, newest.kind) if newest is not None else (),
            "deliveries": [delivery_out(delivery, names) for delivery in deliveries],
        }
    )


def _answer(incident: Incident) -> Response[IncidentDetail]:
    return tagged(_detail(incident), incident.version)
