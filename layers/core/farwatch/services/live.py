"""Live: WebSocket connections, their subscriptions, and pushes to whoever may see them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from farwatch.domain.events import EventKind, IncidentEvent
from farwatch.domain.headlines import one_line
from farwatch.domain.pushes import Push
from farwatch.domain.rbac import Role, permissions_of, topic_permission
from farwatch.errors import FieldError, Forbidden, InvalidInput, Unauthenticated, Unavailable
from farwatch.observability import logger
from farwatch.ports.connections import Connections, Gone, Poster, Pushed, Viewer
from farwatch.ports.sessions import Tickets

MESSAGE_BYTES = 8192
PARALLEL = 50
MAX_TOPICS = 200
OWN = "notifications"


@dataclass(frozen=True, slots=True)
class Wish:
    """A subscribe message: the topics, and per topic the last sequence number the client has (0: none)."""

    topics: tuple[str, ...]
    after: Mapping[str, int]


class Live:
    """The use cases of the WebSocket API and of the queues behind it."""

    def __init__(self, tickets: Tickets, connections: Connections, pushed: Pushed, poster: Poster) -> None:
        self._tickets = tickets
        self._connections = connections
        self._pushed = pushed
        self._poster = poster
        self._pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="push")

    def connect(self, connection_id: str, ticket: str) -> Viewer:
        """Let a client in for its one-time ticket. Raises Unauthenticated when the ticket is not good."""
        found = self._tickets.redeem(ticket) if ticket else None
        if found is None:
            raise Unauthenticated("the ticket is unknown, used or expired; get a new one", code="bad_ticket")
        viewer = Viewer(found["user_id"], Role(found["role"]), found.get("session_id", ""))
        self._connections.open(connection_id, viewer)
        return viewer

    def disconnect(self, connection_id: str) -> None:
        """Forget a connection."""
        self._connections.close(connection_id)

    def message(self, connection_id: str, body: str, now: int) -> None:
        """Answer a client's message: ``subscribe`` or ``ping``. A bad one is answered with a problem, and the
        connection stays; a connection whose session has been ended is closed.
        """
        viewer = self._connections.viewer(connection_id)
        if viewer is None:
            self._poster.hang_up(connection_id)
            self._connections.close(connection_id)
            return
        try:
            self._hear(connection_id, viewer, body, now)
        except Gone:
            self._connections.close(connection_id)

    def _hear(self, connection_id: str, viewer: Viewer, body: str, now: int) -> None:
        try:
            request = _parsed(body)
            if request["action"] == "ping":
                self._answer(connection_id, "pong", now, {})
            else:
                self._subscribe(connection_id, viewer, _wish(request), now)
        except (InvalidInput, Forbidden) as error:
            errors = [{"loc": e.loc, "msg": e.msg} for e in getattr(error, "errors", ())]
            self._answer(
                connection_id, "problem", now, {"code": error.code, "detail": error.message, "errors": errors}
            )

    def _subscribe(self, connection_id: str, viewer: Viewer, wish: Wish, now: int) -> None:
        refused = [topic for topic in wish.topics if not may_see(viewer, inner(topic, viewer))]
        if refused:
            raise Forbidden(f"you may not follow {', '.join(refused[:5])}", code="topic_forbidden")
        # Subscribed first and replayed after: what is pushed in between comes twice, and its number tells.
        self._connections.subscribe(connection_id, [inner(topic, viewer) for topic in wish.topics])
        for topic in wish.topics:
            after = wish.after.get(topic, 0)
            replay = self._pushed.after(inner(topic, viewer), after)
            data = {"topic": topic, "newest": replay.newest, "gap": replay.gap}
            self._answer(connection_id, "subscribed", now, data, topic=topic, seq=replay.newest)
            for text in replay.messages if after else ():
                self._poster.post(connection_id, text)

    def _answer(
        self,
        connection_id: str,
        kind: str,
        now: int,
        data: Mapping[str, Any],
        *,
        topic: str = "",
        seq: int = 0,
    ) -> None:
        message = {"v": 1, "seq": seq, "topic": topic, "type": kind, "id": "", "at": now, "data": dict(data)}
        self._poster.post(connection_id, json.dumps(message, separators=(",", ":"), ensure_ascii=False))

    def push(self, push: Push) -> int:
        """Number a push, keep it for replay and send it to every connection that may see it; return to how many.

        Raises Unavailable when Redis is down or no connection at all could be reached; the queue then brings it again.
        """
        reached = 0
        for part in parts(push):
            text = self._pushed.append(part.topic, envelope(part))
            reached = max(reached, self._fan_out(part.topic, text))
        return reached

    def _fan_out(self, topic: str, text: str) -> int:
        subscribers = self._connections.subscribers(topic)
        allowed: list[str] = []
        for connection_id, viewer in subscribers.items():
            if viewer is not None and may_see(viewer, topic):
                allowed.append(connection_id)
            else:
                self._drop(connection_id)
        outcomes = list(self._pool.map(lambda connection_id: self._post(connection_id, text), allowed))
        if allowed and not any(outcomes):
            raise Unavailable("websocket", f"none of {len(allowed)} connections could be reached")
        return sum(outcomes)

    def _post(self, connection_id: str, text: str) -> bool:
        """Send to one connection; a fault is logged, and the client sees the gap in the numbers."""
        try:
            self._poster.post(connection_id, text)
        except Gone:
            self._connections.close(connection_id)
        except Unavailable as error:
            logger.warning("push not sent", extra={"connection_id": connection_id, "reason": error.message})
            return False
        return True

    def _drop(self, connection_id: str) -> None:
        """Close a connection whose session has been ended or whose role no longer allows what it follows."""
        self._connections.close(connection_id)
        try:
            self._poster.hang_up(connection_id)
        except Unavailable as error:
            logger.warning("not hung up", extra={"connection_id": connection_id, "reason": error.message})


def replay(pushed: Pushed, viewer: Viewer, topic: str, after: int) -> list[dict[str, Any]]:
    """Return what was pushed on a topic after a sequence number, for clients that cannot hold a connection.

    Raises Forbidden when the viewer may not follow the topic.
    """
    wanted = inner(topic, viewer)
    if not may_see(viewer, wanted):
        raise Forbidden(f"you may not follow {topic}", code="topic_forbidden")
    return [json.loads(text) for text in pushed.after(wanted, after).messages]


def may_see(viewer: Viewer, topic: str) -> bool:
    """Whether a viewer may follow a topic; ``user:<id>`` is for that user alone."""
    permission = topic_permission(topic)
    if permission is None or permission not in permissions_of(viewer.role):
        return False
    return not topic.startswith("user:") or topic == f"user:{viewer.user_id}"


def inner(topic: str, viewer: Viewer) -> str:
    """Return the topic a client means: its own ``notifications`` are ``user:<id>`` inside."""
    return f"user:{viewer.user_id}" if topic == OWN else topic


def event_push(event: IncidentEvent) -> Push:
    """Return the push that shows an incident event to everybody who may see incidents."""
    kind = event.kind if event.kind in {EventKind.OPENED, EventKind.RESOLVED} else EventKind.UPDATED
    data = {
        "id": event.incident_id,
        "event": event.kind.value,
        "state": event.status,
        "severity": event.severity.value,
        "title": event.title,
        "reason": one_line(event.reason, 500),
        "host_id": event.host_id,
        "host_name": one_line(event.host_name, 200),
        "opened_at": event.opened_at,
        "resolved_at": event.resolved_at,
        "assignee": event.assignee,
        "actor": one_line(event.actor, 200),
        "note": one_line(event.note, 500),
        "signal_count": event.signal_count,
    }
    return Push("incidents", kind.value, event.id, event.at, data)


def envelope(push: Push) -> dict[str, Any]:
    """Return a push as clients get it, but for its number."""
    topic = OWN if push.topic.startswith("user:") else push.topic
    return {"v": 1, "topic": topic, "type": push.type, "id": push.id, "at": push.at, "data": dict(push.data)}


def parts(push: Push) -> Iterator[Push]:
    """Yield a push in pieces of at most ``MESSAGE_BYTES`` each.

    Only samples can be divided, by series and then by time; anything else that is too long is logged and left out,
    because half an incident would be worse than a client that fetches it.
    """
    if _weight(push) <= MESSAGE_BYTES:
        yield push
        return
    if push.type != "samples":
        logger.error("push too long, left out", extra={"push_id": push.id, "topic": push.topic})
        return
    for number, data in enumerate(_divided(push, dict(push.data)), 1):
        yield replace(push, id=push.id if number == 1 else f"{push.id}.{number}", data=data)


def _divided(push: Push, data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if _weight(replace(push, data=data)) <= MESSAGE_BYTES:
        yield data
        return
    series, times = data["series"], data["times"]
    if len(series) > 1:
        half = len(series) // 2
        yield from _divided(push, {**data, "series": series[:half]})
        yield from _divided(push, {**data, "series": series[half:]})
    elif len(times) > 1:
        half = len(times) // 2
        [only] = series
        for low, high in ((0, half), (half, len(times))):
            piece = {**only, "values": only["values"][low:high]}
            yield from _divided(push, {**data, "times": times[low:high], "series": [piece]})
    else:
        logger.error("one sample too long to push", extra={"push_id": push.id, "topic": push.topic})


def _weight(push: Push) -> int:
    # 40 bytes for the number and for the suffix that pieces get.
    return len(json.dumps(envelope(push), separators=(",", ":"), ensure_ascii=False).encode()) + 40


def _parsed(body: str) -> dict[str, Any]:
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(
            "not JSON", [FieldError("body", "send one JSON object")], code="not_json"
        ) from error
    if not isinstance(request, dict):
        raise InvalidInput("not an object", [FieldError("body", "send one JSON object")], code="not_json")
    if request.get("action") not in ("subscribe", "ping"):
        raise InvalidInput(
            "unknown action", [FieldError("action", "must be subscribe or ping")], code="unknown_action"
        )
    return request


def _wish(request: Mapping[str, Any]) -> Wish:
    """Return the wish in a subscribe message; ``after`` is one number for all topics, or an object by topic."""
    topics = [topic for topic in _listed(request.get("topics")) if isinstance(topic, str)]
    fits = 1 <= len(topics) <= MAX_TOPICS and all(
        1 <= len(topic) <= 100 and topic.isprintable() for topic in topics
    )
    if not fits or len(topics) != len(_listed(request.get("topics"))):
        raise InvalidInput(
            "bad topics",
            [FieldError("topics", f"must be 1 to {MAX_TOPICS} names of at most 100 printable characters")],
            code="bad_topics",
        )
    after = request.get("after", 0)
    by_topic = after if isinstance(after, dict) else dict.fromkeys(topics, after)
    if not all(type(seq) is int and 0 <= seq < 2**53 for seq in by_topic.values()):
        raise InvalidInput("bad after", [FieldError("after", "must be a sequence number")], code="bad_after")
    return Wish(tuple(dict.fromkeys(topics)), by_topic)


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []
