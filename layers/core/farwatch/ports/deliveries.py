"""Where deliveries, channels, preferences and in-app notifications live, and what sends a message."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from farwatch.domain.deliveries import Delivery, DeliveryState
from farwatch.domain.events import IncidentEvent
from farwatch.domain.routing import Channel, Destination, Preferences
from farwatch.domain.severity import Severity

RECIPIENT_REJECTED = "recipient_rejected"


@dataclass(frozen=True, slots=True)
class ChannelRow:
    """A configured channel. ``secret`` is open here and must stay inside the back end.

    ``config`` and ``secret`` hold, by kind: e-mail ``host port security username sender recipients`` | ``password``;
    Slack nothing | ``webhook_url``; PagerDuty ``url`` | ``routing_key``. ``healthy`` is None until something was sent.
    """

    id: str
    kind: Channel
    name: str
    config: Mapping[str, object]
    secret: Mapping[str, str] = field(repr=False)
    enabled: bool = True
    min_severity: Severity = Severity.INFO
    healthy: bool | None = None
    health_at: int | None = None
    health_error: str = ""
    created_at: int = 0
    version: int = 1


@dataclass(frozen=True, slots=True)
class PersonRow:
    """One person's preferences as stored, with their own destinations open."""

    preferences: Preferences
    own_address: str
    personal: Mapping[str, str] = field(default_factory=dict, repr=False)
    version: int = 0


@dataclass(frozen=True, slots=True)
class Notification:
    """One in-app message to one person. Times are epoch milliseconds."""

    id: str
    user_id: str
    event_id: str
    incident_id: str
    kind: str
    severity: Severity
    title: str
    text: str
    created_at: int
    read_at: int | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to send a delivery: ``outcome`` is ``delivered``, ``retry``, ``failed`` or ``dead``."""

    number: int
    at: int
    outcome: str
    detail: str
    milliseconds: int


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which deliveries to list; empty or None fields choose all."""

    state: tuple[DeliveryState, ...] = ()
    channel: Channel | None = None
    incident_id: str | None = None


@dataclass(frozen=True, slots=True)
class Doorbell:
    """Deliveries of an incident on a channel are due; ``event`` is any event of theirs, to ring the queue with."""

    event: IncidentEvent
    channel: Channel


class DeliveryStore(Protocol):
    """Deliveries and receipts. Every method raises Unavailable when the database cannot be reached."""

    def plan(
        self,
        incident_id: str,
        channel: Channel,
        choose: Callable[[IncidentEvent, Sequence[str]], Sequence[str]],
        now: int,
    ) -> int:
        """Give a receipt for every event of the incident that concerns the channel and has none, in order, and make its
        deliveries; return how many deliveries were made.

        ``choose(event, told)`` returns the recipients; ``told`` are those with a delivery of this incident's trouble.
        """
        ...

    def of_incident(self, incident_id: str, channel: Channel) -> list[Delivery]:
        """Return the incident's deliveries on a channel, in the order of its events."""
        ...

    def event(self, event_id: str) -> IncidentEvent | None:
        """Return an event of the outbox."""
        ...

    def claim(self, delivery_id: str, now: int, lease_until: int) -> Delivery | None:
        """Take a delivery that is due or whose worker died, counting the attempt; None when another has taken it."""
        ...

    def settle(
        self, delivery: Delivery, state: DeliveryState, attempt: Attempt, provider_id: str = ""
    ) -> None:
        """Record how an attempt ended for good."""
        ...

    def retry(self, delivery: Delivery, next_attempt_at: int, attempt: Attempt) -> None:
        """Record a passing fault and when to try again."""
        ...

    def postpone(self, delivery: Delivery, next_attempt_at: int) -> None:
        """Put a delivery off without having tried it."""
        ...

    def suppress(self, delivery: Delivery, why: str) -> None:
        """Close a delivery that has nothing to say any more."""
        ...

    def due(self, now: int, limit: int) -> list[Doorbell]:
        """Return what is due and whose message may have been lost, oldest first."""
        ...


class Audience(Protocol):
    """Who may be told, and how they want it."""

    def all(self) -> list[Preferences]:
        """Return the preferences of every active person who may see incidents."""
        ...

    def get(self, user_id: str) -> PersonRow | None:
        """Return one person's preferences, the defaults if they never set any; None when there is no such person."""
        ...

    def operators(self) -> list[str]:
        """Return the user ids of those who look after channels."""
        ...

    def save(self, person: PersonRow) -> PersonRow:
        """Store preferences read at ``person.version``; raises PreconditionFailed if they changed meanwhile."""
        ...


class Channels(Protocol):
    """The configured channels."""

    def add(self, channel: ChannelRow) -> None:
        """Store a new channel. Raises Conflict for a second mail server."""
        ...

    def save(self, channel: ChannelRow) -> ChannelRow:
        """Store a channel read at ``channel.version``; raises PreconditionFailed if it changed meanwhile."""
        ...

    def remove(self, channel_id: str) -> None:
        """Delete a channel; raises NotFound."""
        ...

    def all(self) -> list[ChannelRow]:
        """Return every channel, by name."""
        ...

    def get(self, channel_id: str) -> ChannelRow | None:
        """Return one channel."""
        ...

    def destinations(self) -> list[Destination]:
        """Return the channels as routing sees them, without opening any secret."""
        ...

    def note_health(self, channel_id: str, *, healthy: bool, error: str, now: int) -> bool:
        """Record how the last sending went; return whether the state has turned."""
        ...


class Inbox(Protocol):
    """In-app notifications."""

    def add(self, notification: Notification) -> bool:
        """Keep a notification; False when that person already has one of that event."""
        ...

    def forget(self, before: int) -> int:
        """Delete notifications made before this time (epoch ms); return how many."""
        ...


class Sender(Protocol):
    """Sends one event to one recipient over one channel."""

    def send(self, event: IncidentEvent, recipient: str, delivery_id: str) -> str:
        """Send and return the far side's id of the message, if it gives one.

        Raises Unavailable for a fault that may pass and Rejected for one that will not; either with the code
        ``RECIPIENT_REJECTED`` concerns this recipient only, with any other the whole destination.
        """
        ...

    def destination(self, recipient: str) -> str:
        """Return what fails together: recipients of the same destination are not tried after one was unavailable."""
        ...
