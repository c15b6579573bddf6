"""The in-app channel: a notification kept for each person, and a push for those who are looking."""

from __future__ import annotations

from farwatch.domain.events import IncidentEvent
from farwatch.domain.headlines import one_line
from farwatch.domain.pushes import Push
from farwatch.errors import Unavailable
from farwatch.observability import logger
from farwatch.ports.deliveries import Inbox, Notification
from farwatch.ports.messaging import PushQueue


class InAppSender:
    """Keeps and pushes notifications. Sending one again changes nothing, so a person never sees it twice."""

    def __init__(self, inbox: Inbox, pushes: PushQueue) -> None:
        self._inbox = inbox
        self._pushes = pushes

    def destination(self, recipient: str) -> str:
        """Return the recipient: one person's notifications do not wait for another's."""
        return recipient

    def send(self, event: IncidentEvent, recipient: str, delivery_id: str) -> str:
        """Keep the notification and push it; returns its id. A lost push costs a toast, not the notification."""
        notification = Notification(
            id=delivery_id.replace("dlv_", "ntf_", 1),
            user_id=recipient,
            event_id=event.id,
            incident_id=event.incident_id,
            kind=event.kind.value,
            severity=event.severity,
            title=one_line(event.title, 200),
            text=one_line(event.note or event.reason, 500),
            created_at=event.at,
        )
        if self._inbox.add(notification):
            push_notification(self._pushes, notification)
        return notification.id


def push_notification(pushes: PushQueue, notification: Notification) -> None:
    """Show a notification to its owner if they are looking."""
    data = {
        "id": notification.id,
        "incident_id": notification.incident_id or None,
        "kind": notification.kind,
        "severity": notification.severity.value,
        "title": notification.title,
        "body": notification.text,
        "created_at": notification.created_at,
        "read_at": None,
    }
    push = Push(
        f"user:{notification.user_id}", "notification", notification.id, notification.created_at, data
    )
    try:
        pushes.send([push])
    except Unavailable as error:
        logger.warning("notification kept but not pushed", extra={"reason": error.message})
