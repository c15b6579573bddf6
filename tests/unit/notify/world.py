"""A back end in one process for these tests: the real stores on PostgreSQL, and queues and senders that misbehave."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from farwatch.adapters.postgres.channels import PostgresChannels
from farwatch.adapters.postgres.database import Database
from farwatch.adapters.postgres.deliveries import PostgresDeliveries
from farwatch.adapters.postgres.incidents import PostgresIncidents
from farwatch.adapters.postgres.outbox import PostgresOutbox
from farwatch.adapters.postgres.preferences import PostgresAudience, PostgresInbox
from farwatch.adapters.sealing import Sealer
from farwatch.domain.events import IncidentEvent
from farwatch.domain.incidents import Policy
from farwatch.domain.pushes import Push
from farwatch.domain.routing import Channel, channels_for
from farwatch.domain.signals import Signal
from farwatch.errors import Unavailable
from farwatch.ports.deliveries import ChannelRow
from farwatch.services.inbox import InAppSender
from farwatch.services.incidents import Incidents
from farwatch.services.notify import Notify
from farwatch.services.outbox import Publisher
from farwatch.wire.messages import decode_event, encode_event
from tests.unit.notify.makers import NOW

PEPPER = "p" * 40


class Killed(BaseException):
    """The worker was killed at this point: no code of ours may catch it."""


class Queues:
    """A topic with a queue per channel. ``lose``, ``double`` are chances; ``shuffle`` delivers in any order."""

    def __init__(self, rng: random.Random, *, lose: float = 0.0, double: float = 0.0) -> None:
        self.rng = rng
        self.lose = lose
        self.double = double
        self.down = False
        self.waiting: list[tuple[Channel, str]] = []

    def publish(self, events: Sequence[IncidentEvent], only: Channel | None = None) -> list[str]:
        if self.down:
            return []
        for event in events:
            for channel in [only] if only else sorted(channels_for(event)):
                if self.rng.random() >= self.lose:
                    self.waiting.append((channel, encode_event(event)))
                    if self.rng.random() < self.double:
                        self.waiting.append((channel, encode_event(event)))
        return [event.id for event in events]

    def take(self) -> tuple[Channel, IncidentEvent]:
        channel, text = self.waiting.pop(self.rng.randrange(len(self.waiting)))
        return channel, decode_event(text)


class FarSide:
    """A sender that records what arrived; ``before`` and ``after`` each send may raise."""

    def __init__(self) -> None:
        self.arrived: list[tuple[str, str, IncidentEvent]] = []
        self.before: Callable[[], None] = lambda: None
        self.after: Callable[[], None] = lambda: None

    def destination(self, recipient: str) -> str:
        return recipient

    def send(self, event: IncidentEvent, recipient: str, delivery_id: str) -> str:
        self.before()
        self.arrived.append((recipient, delivery_id, event))
        self.after()
        return f"far-{len(self.arrived)}"


class Pushes:
    """Keeps pushes; refuses while ``down``."""

    def __init__(self) -> None:
        self.sent: list[Push] = []
        self.down = False

    def send(self, pushes: Sequence[Push]) -> None:
        if self.down:
            raise Unavailable("sqs", "down")
        self.sent.extend(pushes)


class Signals:
    """Keeps signals in order."""

    def __init__(self) -> None:
        self.sent: list[Signal] = []

    def send(self, signals: Sequence[Signal]) -> None:
        self.sent.extend(signals)


class World:
    """Everything from a signal to a delivery, on one database and one clock that tests move."""

    def __init__(
        self,
        url: str,
        *,
        seed: int = 1,
        lose: float = 0.0,
        double: float = 0.0,
        database: Database | None = None,
    ) -> None:
        self.now = NOW
        self.rng = random.Random(seed)
        self.database = database if database is not None else Database(url)
        self.sealer = Sealer(PEPPER)
        self.store = PostgresIncidents(self.database)
        self.outbox = PostgresOutbox(self.database)
        self.deliveries = PostgresDeliveries(self.database)
        self.channels = PostgresChannels(self.database, self.sealer)
        self.people = PostgresAudience(self.database, self.sealer)
        self.inbox = PostgresInbox(self.database)
        self.queues = Queues(self.rng, lose=lose, double=double)
        self.publisher = Publisher(self.outbox, self.queues)
        self.incidents = Incidents(self.store, self.publisher, Policy())
        self.pushes = Pushes()
        self.far = {channel: FarSide() for channel in (Channel.EMAIL, Channel.SLACK, Channel.PAGERDUTY)}
        self.mail_configured = True
        self.notify = Notify(
            self.deliveries,
            self.people,
            self.channels,
            self.inbox,
            self.pushes,
            {**self.far, Channel.IN_APP: InAppSender(self.inbox, self.pushes)},
            ready=lambda channel: channel is not Channel.EMAIL or self.mail_configured,
            clock=lambda: self.now,
        )

    def add_user(self, user_id: str, *, role: str = "operator", email: str | None = None) -> str:
        with self.database.transaction() as connection:
            connection.execute(
                "INSERT INTO users (id, email, name, role) VALUES (%s, %s, %s, %s)",
                (user_id, email or f"{user_id}@example.test", user_id.title(), role),
            )
        return user_id

    def add_channel(self, kind: Channel, channel_id: str, **changes: Any) -> ChannelRow:
        row = ChannelRow(
            id=channel_id,
            kind=kind,
            name=changes.pop("name", channel_id),
            config=changes.pop("config", {}),
            secret=changes.pop("secret", {}),
            created_at=self.now,
            **changes,
        )
        self.channels.add(row)
        return row

    def signal(self, signal: Signal) -> None:
        self.incidents.receive(signal, self.now)

    def pump(self, most: int = 100_000) -> None:
        """Handle messages until the queues are empty."""
        for _ in range(most):
            if not self.queues.waiting:
                return
            channel, event = self.queues.take()
            self.notify.handle(event, channel)
        raise AssertionError("the queues never emptied")

    def sweep(self, seconds: int = 61) -> None:
        """Let time pass and do what the sweep does about events and deliveries."""
        self.now += seconds * 1000
        with suppress(Unavailable):  # the sweep's next step does not depend on it
            self.publisher.publish_again(self.now)
        for bell in self.deliveries.due(self.now, 10_000):
            self.queues.publish([bell.event], bell.channel)

    def settled(self) -> bool:
        with self.database.transaction() as connection:
            row = connection.execute(
                """SELECT (SELECT count(*) FROM deliveries WHERE state IN ('pending', 'sending'))
                        + (SELECT count(*) FROM incident_events e WHERE e.channels <> '{}'
                           AND cardinality(e.channels) > (SELECT count(*) FROM event_receipts r
                                                          WHERE r.event_id = e.id)) AS open"""
            ).fetchone()
        return row is not None and row["open"] == 0

    def states(self) -> Counter[tuple[str, str, str]]:
        """Count deliveries by (channel, event kind, state)."""
        with self.database.transaction() as connection:
            rows = connection.execute("SELECT channel, event_kind, state FROM deliveries").fetchall()
        return Counter((row["channel"], row["event_kind"], row["state"]) for row in rows)
