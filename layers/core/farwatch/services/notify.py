"""Notify: bring an event to every recipient of one channel, once each and in order.

A queue message is a doorbell, not the truth. Whatever arrives, doubled or out of order, ``handle`` plans every event of
that incident this channel has not planned yet, then sends what is due. A crash between sending and recording
leaves the delivery leased; when the lease is over it is sent again. What the far side then does with the second copy is
said in ``docs/notifications.md`` for each channel.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from farwatch.domain.deliveries import (
    GIVE_UP_AFTER_S,
    LEASE_S,
    Delivery,
    DeliveryState,
    Next,
    next_step,
    retry_after_s,
)
from farwatch.domain.events import IncidentEvent
from farwatch.domain.routing import Channel, recipients
from farwatch.domain.severity import Severity
from farwatch.errors import DependencyError, FarwatchError, Misconfigured, Rejected, Unavailable
from farwatch.ids import new_id
from farwatch.observability import logger
from farwatch.ports.deliveries import (
    RECIPIENT_REJECTED,
    Attempt,
    Audience,
    Channels,
    DeliveryStore,
    Inbox,
    Notification,
    Sender,
)
from farwatch.ports.messaging import PushQueue
from farwatch.services.inbox import push_notification

UNHEALTHY_AFTER_ATTEMPTS = 3


@dataclass(slots=True)
class Round:
    """What one batch of messages has learnt: destinations that were unavailable, and until when to leave them alone."""

    resting: dict[str, int] = field(default_factory=dict)


class Notify:
    """The use case behind the channel queues; ``clock`` returns epoch milliseconds."""

    def __init__(
        self,
        deliveries: DeliveryStore,
        people: Audience,
        channels: Channels,
        inbox: Inbox,
        pushes: PushQueue,
        senders: Mapping[Channel, Sender],
        *,
        ready: Callable[[Channel], bool],
        clock: Callable[[], int],
    ) -> None:
        self._deliveries = deliveries
        self._people = people
        self._channels = channels
        self._inbox = inbox
        self._pushes = pushes
        self._senders = senders
        self._ready = ready
        self._clock = clock

    def handle(self, event: IncidentEvent, channel: Channel, current: Round | None = None) -> int | None:
        """Plan and send what is due for the event's incident on a channel.

        Returns when to come back for what is left (epoch ms), or None when nothing is. Raises Unavailable when the
        database cannot be reached.
        """
        current = current if current is not None else Round()
        self._deliveries.plan(
            event.incident_id, channel, lambda each, told: self._choose(each, channel, told), self._clock()
        )
        events = {event.id: event}
        while True:
            known = self._deliveries.of_incident(event.incident_id, channel)
            due = self._due(known)
            if not due:
                return self._come_back_at(known)
            for delivery in due:
                self._attempt(delivery, events, current)

    def _choose(self, event: IncidentEvent, channel: Channel, told: Sequence[str]) -> list[str]:
        if event.kind.firing and not self._ready(channel):
            return []
        if not event.kind.firing:
            return recipients(event, channel, (), (), told)
        return recipients(event, channel, self._people.all(), self._channels.destinations(), told)

    def _due(self, known: Sequence[Delivery]) -> list[Delivery]:
        now = self._clock()
        due: list[Delivery] = []
        for delivery, earlier in _with_earlier(known):
            if delivery.state.settled:
                continue
            step = next_step(delivery, earlier, now=now)
            if step is Next.SEND:
                due.append(delivery)
            elif step is Next.SUPPRESS:
                self._deliveries.suppress(delivery, "no news of the trouble reached this recipient")
        return due

    def _come_back_at(self, known: Sequence[Delivery]) -> int | None:
        """Return when the first delivery in its recipient's line may be tried again."""
        waiting = [
            max(delivery.next_attempt_at, delivery.lease_until or 0)
            for delivery, earlier in _with_earlier(known)
            if not delivery.state.settled and all(other.state.settled for other in earlier)
        ]
        return min(waiting, default=None)

    def _attempt(self, delivery: Delivery, events: dict[str, IncidentEvent], current: Round) -> None:
        sender = self._senders[delivery.channel]
        destination = sender.destination(delivery.recipient)
        now = self._clock()
        resting_until = current.resting.get(destination, 0)
        if resting_until > now:
            self._deliveries.postpone(delivery, resting_until)
            return
        claimed = self._deliveries.claim(delivery.id, now, now + round(LEASE_S * 1000))
        if claimed is None:
            return
        event = events.get(claimed.event_id) or self._deliveries.event(claimed.event_id)
        if event is None:  # its incident was deleted meanwhile, and the delivery with it
            return
        events[event.id] = event
        if delivery.state is DeliveryState.SENDING and now - claimed.created_at >= GIVE_UP_AFTER_S * 1000:
            # Nobody has lived to record a failure, so nothing else would ever end this.
            fault = Unavailable("farwatch", "the worker that sent this died, and a day is over")
            self._failed(claimed, fault, destination, 0, current)
            return
        started = time.perf_counter()
        try:
            provider_id = sender.send(event, claimed.recipient, claimed.id)
        except (DependencyError, Misconfigured) as error:
            self._failed(claimed, error, destination, _elapsed(started), current)
            return
        except Exception as error:  # noqa: BLE001 - one message that cannot be made must not hold up its neighbours
            logger.exception("a message could not be made", extra={"delivery_id": claimed.id})
            fault = Unavailable("farwatch", f"the message could not be made ({type(error).__name__})")
            self._failed(claimed, fault, destination, _elapsed(started), current)
            return
        attempt = Attempt(claimed.attempts, self._clock(), "delivered", provider_id, _elapsed(started))
        self._deliveries.settle(claimed, DeliveryState.DELIVERED, attempt, provider_id)
        self._note_health(destination, healthy=True, error="")
        logger.info("delivered", extra=_said_of(claimed, attempt))

    def _failed(
        self, claimed: Delivery, error: FarwatchError, destination: str, milliseconds: int, current: Round
    ) -> None:
        now = self._clock()
        if isinstance(error, Rejected):
            attempt = Attempt(claimed.attempts, now, "failed", error.message, milliseconds)
            self._deliveries.settle(claimed, DeliveryState.FAILED, attempt)
            if error.code != RECIPIENT_REJECTED:
                self._note_health(destination, healthy=False, error=error.message)
        elif now - claimed.created_at >= GIVE_UP_AFTER_S * 1000:
            attempt = Attempt(claimed.attempts, now, "dead", error.message, milliseconds)
            self._deliveries.settle(claimed, DeliveryState.DEAD, attempt)
            self._note_health(destination, healthy=False, error=error.message)
        else:
            wished = error.retry_after_s if isinstance(error, Unavailable) else None
            wait = retry_after_s(claimed.attempts, wished, random.random())  # noqa: S311 - jitter, not a secret
            attempt = Attempt(claimed.attempts, now, "retry", error.message, milliseconds)
            self._deliveries.retry(claimed, now + round(wait * 1000), attempt)
            if error.code != RECIPIENT_REJECTED:
                current.resting[destination] = now + round(wait * 1000)
            if error.code != RECIPIENT_REJECTED and claimed.attempts >= UNHEALTHY_AFTER_ATTEMPTS:
                self._note_health(destination, healthy=False, error=error.message)
        logger.warning("not delivered", extra=_said_of(claimed, attempt))

    def _note_health(self, destination: str, *, healthy: bool, error: str) -> None:
        now = self._clock()
        turned = self._channels.note_health(destination, healthy=healthy, error=error, now=now)
        if not turned or healthy:
            return
        channel = self._channels.get(destination)
        name = channel.name if channel is not None else destination
        for user_id in self._people.operators():
            notice = Notification(
                id=new_id("ntf"),
                user_id=user_id,
                event_id=f"health:{destination}:{now}",
                incident_id="",
                kind="channel.unhealthy",
                severity=Severity.WARNING,
                title=f"The channel {name} does not deliver",
                text=error[:500],
                created_at=now,
            )
            if self._inbox.add(notice):
                push_notification(self._pushes, notice)


def _with_earlier(known: Sequence[Delivery]) -> list[tuple[Delivery, list[Delivery]]]:
    """Pair each delivery with the earlier ones of the same recipient; ``known`` is in the order of events."""
    lines: dict[str, list[Delivery]] = defaultdict(list)
    pairs = []
    for delivery in known:
        line = lines[delivery.recipient]
        pairs.append((delivery, list(line)))
        line.append(delivery)
    return pairs


def _elapsed(started: float) -> int:
    return round((time.perf_counter() - started) * 1000)


def _said_of(delivery: Delivery, attempt: Attempt) -> dict[str, object]:
    return {
        "delivery_id": delivery.id,
        "incident_id": delivery.incident_id,
        "channel": delivery.channel,
        "attempt": attempt.number,
        "outcome": attempt.outcome,
        "detail": attempt.detail,
        "milliseconds": attempt.milliseconds,
    }
