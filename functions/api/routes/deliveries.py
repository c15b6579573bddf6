"""Deliveries: what was sent to whom and how it went, and trying again what failed. Times are epoch milliseconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from aws_lambda_powertools.event_handler.api_gateway import Router
from aws_lambda_powertools.event_handler.openapi.params import Path, Query

from farwatch.bootstrap import container
from farwatch.domain.deliveries import Delivery, DeliveryState
from farwatch.domain.events import EventKind
from farwatch.domain.rbac import Permission
from farwatch.domain.routing import Channel
from farwatch.errors import NotFound
from farwatch.http.access import requires
from farwatch.http.clock import now_ms
from farwatch.http.models import Answer, Limit, Page
from farwatch.http.openapi import problems
from farwatch.ports.deliveries import DeliveryFilter

router = Router()
TAGS = ["deliveries"]
DeliveryId = Annotated[str, Path(pattern=r"^dlv_[0-9a-f]{22}$", description="Id of the delivery.")]


class DeliveryOut(Answer):
    """One message to one recipient. ``recipient`` is for people, ``recipient_id`` for programs; ``at`` is when it was
    delivered, or made; ``error`` is what the last attempt met with.
    """

    id: str
    incident_id: str
    event_id: str
    event_kind: EventKind
    channel: Channel
    recipient: str
    recipient_id: str
    status: DeliveryState
    attempts: int
    at: int
    created_at: int
    delivered_at: int | None
    next_attempt_at: int | None
    error: str
    provider_id: str


class AttemptOut(Answer):
    """One try: ``outcome`` is ``delivered``, ``retry``, ``failed`` or ``dead``."""

    number: int
    at: int
    outcome: str
    detail: str
    milliseconds: int


class DeliveryDetail(DeliveryOut):
    """A delivery with every attempt."""

    history: list[AttemptOut]


@router.get("/api/v1/deliveries", summary="Deliveries, newest first", tags=TAGS)
@requires(Permission.DELIVERIES_READ)
def list_deliveries(
    status: Annotated[list[DeliveryState] | None, Query(max_length=6)] = None,
    channel: Annotated[Channel | None, Query()] = None,
    incident_id: Annotated[str | None, Query(max_length=80)] = None,
    limit: Annotated[Limit, Query()] = 50,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> Page[DeliveryOut]:
    """Return deliveries; ``status=failed&status=dead`` are the dead letters."""
    made = container()
    wanted = DeliveryFilter(state=tuple(status or ()), channel=channel, incident_id=incident_id)
    bound = {"list": "deliveries", "status": list(wanted.state), "channel": channel, "incident": incident_id}
    before = None
    if cursor:
        at, last = made.adapters.cursors.decode(cursor, bound)
        before = (int(at), str(last))
    found = made.adapters.deliveries.find(wanted, limit=limit + 1, before=before)
    names = made.recipient_names()
    last_shown = found[limit - 1] if len(found) > limit else None
    return Page(
        items=[delivery_out(delivery, names) for delivery in found[:limit]],
        next_cursor=made.adapters.cursors.encode([last_shown.created_at, last_shown.id], bound)
        if last_shown
        else None,
    )


@router.get("/api/v1/deliveries/<delivery_id>", summary="One delivery", tags=TAGS, responses=problems(404))
@requires(Permission.DELIVERIES_READ)
def get_delivery(delivery_id: DeliveryId) -> DeliveryDetail:
    """Return the delivery with every attempt."""
    made = container()
    delivery = made.adapters.deliveries.get(delivery_id)
    if delivery is None:
        raise NotFound("there is no such delivery", code="unknown_delivery")
    shown = delivery_out(delivery, made.recipient_names())
    attempts = made.adapters.deliveries.attempts(delivery_id)
    return DeliveryDetail(
        **shown.model_dump(), history=[AttemptOut.model_validate(attempt) for attempt in attempts]
    )


@router.post(
    "/api/v1/deliveries/<delivery_id>/redrive",
    summary="Try a delivery again",
    tags=TAGS,
    responses=problems(404, 409),
)
@requires(Permission.DELIVERIES_REDRIVE, audit="delivery.redrive")
def redrive(delivery_id: DeliveryId) -> DeliveryOut:
    """Let a failed, dead or suppressed delivery be tried again; it is sent within a minute."""
    made = container()
    delivery = made.adapters.deliveries.redrive(delivery_id, now_ms())
    event = made.adapters.deliveries.event(delivery.event_id)
    if event is not None:
        made.adapters.topic.publish([event], delivery.channel)
    return delivery_out(delivery, made.recipient_names())


def delivery_out(delivery: Delivery, names: Mapping[str, str]) -> DeliveryOut:
    """Return a delivery as the API shows it."""
    return DeliveryOut(
        id=delivery.id,
        incident_id=delivery.incident_id,
        event_id=delivery.event_id,
        event_kind=delivery.event_kind,
        channel=delivery.channel,
        recipient=names.get(delivery.recipient, delivery.recipient),
        recipient_id=delivery.recipient,
        status=delivery.state,
        attempts=delivery.attempts,
        at=delivery.delivered_at or delivery.created_at,
        created_at=delivery.created_at,
        delivered_at=delivery.delivered_at,
        next_attempt_at=None if delivery.state.settled else delivery.next_attempt_at,
        error=delivery.last_error,
        provider_id=delivery.provider_id,
    )
