"""A person's own in-app notifications, and what was pushed while they were away. Times are epoch milliseconds."""

from __future__ import annotations

from typing import Annotated, Any

from aws_lambda_powertools.event_handler.api_gateway import Response, Router
from aws_lambda_powertools.event_handler.openapi.params import Path, Query

from farwatch.bootstrap import container
from farwatch.domain.rbac import Permission, Role
from farwatch.domain.severity import Severity
from farwatch.errors import NotFound
from farwatch.http.access import requires, signed_in
from farwatch.http.app import no_content
from farwatch.http.clock import now_ms
from farwatch.http.models import Answer, Limit
from farwatch.http.openapi import problems
from farwatch.http.principal import current_caller
from farwatch.ports.connections import Viewer
from farwatch.ports.deliveries import Notification
from farwatch.services.live import replay as replayed

router = Router()
TAGS = ["notifications"]
NotificationId = Annotated[str, Path(pattern=r"^ntf_[0-9a-f]{22}$", description="Id of the notification.")]


class NotificationOut(Answer):
    """One message to you. ``kind`` is an event kind, or ``channel.unhealthy``, which belongs to no incident."""

    id: str
    incident_id: str | None
    kind: str
    severity: Severity
    title: str
    body: str
    created_at: int
    read_at: int | None


class NotificationPage(Answer):
    """Your notifications, newest first, and how many of all of them are unread."""

    items: list[NotificationOut]
    unread: int
    next_cursor: str | None = None


class MarkedRead(Answer):
    """How many notifications were unread before."""

    marked: int


class PushOut(Answer):
    """A push as the WebSocket sends it."""

    v: int
    seq: int
    topic: str
    type: str
    id: str
    at: int
    data: dict[str, Any]


class Pushes(Answer):
    """What was pushed, in order."""

    items: list[PushOut]


@router.get("/api/v1/notifications", summary="Your notifications", tags=TAGS)
@requires(Permission.NOTIFICATIONS_OWN)
def list_notifications(
    unread: Annotated[bool, Query(description="Only those not read yet.")] = False,
    limit: Annotated[Limit, Query()] = 50,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> NotificationPage:
    """Return your notifications, newest first."""
    made = container()
    user_id = current_caller().principal.require_user()
    bound = {"list": "notifications", "user": user_id, "unread": unread}
    before = None
    if cursor:
        at, last = made.adapters.cursors.decode(cursor, bound)
        before = (int(at), str(last))
    found = made.adapters.inbox.find(user_id, unread=unread, limit=limit + 1, before=before)
    last_shown = found[limit - 1] if len(found) > limit else None
    return NotificationPage(
        items=[_out(notification) for notification in found[:limit]],
        unread=made.adapters.inbox.unread(user_id),
        next_cursor=made.adapters.cursors.encode([last_shown.created_at, last_shown.id], bound)
        if last_shown
        else None,
    )


@router.post("/api/v1/notifications/read", summary="Mark all as read", tags=TAGS)
@requires(Permission.NOTIFICATIONS_OWN)
def mark_all_read() -> MarkedRead:
    """Mark every notification of yours as read."""
    user_id = current_caller().principal.require_user()
    return MarkedRead(marked=container().adapters.inbox.mark_read(user_id, None, now_ms()))


@router.post(
    "/api/v1/notifications/<notification_id>/read",
    summary="Mark one as read",
    tags=TAGS,
    status_code=204,
    responses=problems(404),
)
@requires(Permission.NOTIFICATIONS_OWN)
def mark_read(notification_id: NotificationId) -> Response[None]:
    """Mark one notification of yours as read; doing so again changes nothing."""
    user_id = current_caller().principal.require_user()
    inbox = container().adapters.inbox
    if not inbox.mark_read(user_id, notification_id, now_ms()) and not inbox.has(user_id, notification_id):
        raise NotFound("you have no such notification", code="unknown_notification")
    return no_content()


@router.get("/api/v1/events", summary="What was pushed on a topic", tags=["live"])
@signed_in()
def list_events(
    topic: Annotated[str, Query(min_length=1, max_length=100, description="As for the WebSocket.")],
    after: Annotated[int, Query(ge=0, le=2**53, description="The last sequence number you have.")] = 0,
) -> Pushes:
    """Return the pushes after a sequence number, as far as they are kept (an hour, and the last few hundred)."""
    principal = current_caller().principal
    viewer = Viewer(principal.require_user(), principal.role or Role.GUEST, principal.session_id or "")
    found = replayed(container().adapters.pushed, viewer, topic, after)
    return Pushes(items=[PushOut.model_validate(item) for item in found])


def _out(notification: Notification) -> NotificationOut:
    return NotificationOut(
        id=notification.id,
        incident_id=notification.incident_id or None,
        kind=notification.kind,
        severity=notification.severity,
        title=notification.title,
        body=notification.text,
        created_at=notification.created_at,
        read_at=notification.read_at,
    )
