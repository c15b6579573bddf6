"""WebSocket connections, what they are subscribed to, and what was pushed lately."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from farwatch.domain.rbac import Role


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who is behind a connection."""

    user_id: str
    role: Role
    session_id: str


@dataclass(frozen=True, slots=True)
class Replay:
    """What was pushed on a topic after a sequence number: JSON texts in order, whether some are missing before the
    first one, and the newest sequence number of the topic (0 when nothing was ever pushed).
    """

    messages: tuple[str, ...]
    gap: bool
    newest: int


class Connections(Protocol):
    """Open connections. Losing them closes nobody's dashboard: it connects again. Raises Unavailable when it is down."""

    def open(self, connection_id: str, viewer: Viewer) -> None:
        """Remember a connection, for two hours at most (API Gateway's own limit)."""
        ...

    def viewer(self, connection_id: str) -> Viewer | None:
        """Return who is behind a connection; None when it is unknown or its session has been ended."""
        ...

    def subscribe(self, connection_id: str, topics: Collection[str]) -> None:
        """Add topics to a connection."""
        ...

    def close(self, connection_id: str) -> None:
        """Forget a connection and its topics."""
        ...

    def subscribers(self, topic: str) -> dict[str, Viewer | None]:
        """Return the connections of a topic; None marks those whose session has been ended."""
        ...


class Pushed(Protocol):
    """A numbered, short memory of every topic."""

    def append(self, topic: str, message: Mapping[str, Any]) -> str:
        """Number a message, keep it and return it as JSON with ``seq``."""
        ...

    def after(self, topic: str, seq: int) -> Replay:
        """Return what was pushed after ``seq``."""
        ...


class Gone(Exception):
    """The client behind a connection has gone."""


class Poster(Protocol):
    """Sends text to a connection."""

    def post(self, connection_id: str, text: str) -> None:
        """Send one message. Raises Gone when nobody is there any more, Unavailable for any other fault."""
        ...

    def hang_up(self, connection_id: str) -> None:
        """Close a connection; one that is gone already is fine."""
        ...
