"""Deliveries, receipts and attempts in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, LiteralString

import msgspec
from psycopg import sql

from farwatch.adapters.postgres.codec import clean
from farwatch.adapters.postgres.database import Connection, Database, Row
from farwatch.domain.deliveries import Delivery, DeliveryState, delivery_id
from farwatch.domain.events import EventKind, IncidentEvent
from farwatch.domain.routing import Channel
from farwatch.errors import Conflict, NotFound
from farwatch.ports.deliveries import Attempt, DeliveryFilter, Doorbell

_FIRING = [kind.value for kind in EventKind if kind.firing]
_COLUMNS: LiteralString = (
    "id, event_id, event_kind, event_seq, incident_id, channel, recipient, state, attempts, next_attempt_at,"
    " created_at, lease_until, delivered_at, provider_id, last_error"
)


class PostgresDeliveries:
    """The delivery store; see the port for what each method promises.

    The number of attempts is the fencing token of a claim: a worker that was given up for dead and comes back cannot
    overwrite what its successor has recorded.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def plan(
        self,
        incident_id: str,
        channel: Channel,
        choose: Callable[[IncidentEvent, Sequence[str]], Sequence[str]],
        now: int,
    ) -> int:
        """Plan every event of the incident that the channel has not planned yet."""
        planned = 0
        with self._database.transaction() as connection:
            rows = connection.execute(
                """SELECT body FROM incident_events e
                   WHERE incident_id = %(incident)s AND %(channel)s = ANY(channels)
                     AND NOT EXISTS (SELECT FROM event_receipts r WHERE r.event_id = e.id AND r.channel = %(channel)s)
                   ORDER BY seq""",
                {"incident": incident_id, "channel": channel},
            ).fetchall()
            for row in rows:
                event = msgspec.convert(row["body"], IncidentEvent)
                planned += self._plan_event(connection, event, channel, choose, now)
        return planned

    def _plan_event(
        self,
        connection: Connection,
        event: IncidentEvent,
        channel: Channel,
        choose: Callable[[IncidentEvent, Sequence[str]], Sequence[str]],
        now: int,
    ) -> int:
        # Two workers with the same message meet here: the second waits for the first and then finds its receipt.
        receipt = connection.execute(
            "INSERT INTO event_receipts (event_id, channel, at) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
            (event.id, channel, now),
        )
        if receipt.rowcount == 0:
            return 0
        told = connection.execute(
            """SELECT recipient FROM deliveries
               WHERE incident_id = %s AND channel = %s AND event_kind = ANY(%s) AND event_seq < %s
               GROUP BY recipient ORDER BY min(event_seq), recipient""",
            (event.incident_id, channel, _FIRING, event.seq),
        ).fetchall()
        recipients = choose(event, [row["recipient"] for row in told])
        with connection.cursor() as cursor:
            cursor.executemany(
                """INSERT INTO deliveries (id, event_id, incident_id, event_seq, event_kind, channel, recipient, state,
                                           next_attempt_at, created_at)
                   VALUES (%s, %s, %s, %s, %s, %s, %s, 'pending', %s, %s) ON CONFLICT DO NOTHING""",
                [
                    (
                        delivery_id(event.id, channel, recipient),
                        event.id,
                        event.incident_id,
                        event.seq,
                        event.kind,
                        channel,
                        recipient,
                        now,
                        now,
                    )
                    for recipient in recipients
                ],
            )
        return len(recipients)

    def of_incident(self, incident_id: str, channel: Channel) -> list[Delivery]:
        """Return the incident's deliveries on a channel, in the order of its events."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                sql.SQL(
                    "SELECT {} FROM deliveries WHERE incident_id = %s AND channel = %s ORDER BY event_seq, recipient"
                ).format(sql.SQL(_COLUMNS)),
                (incident_id, channel),
            ).fetchall()
        return [_delivery(row) for row in rows]

    def event(self, event_id: str) -> IncidentEvent | None:
        """Return an event of the outbox."""
        with self._database.transaction() as connection:
            row = connection.execute("SELECT body FROM incident_events WHERE id = %s", (event_id,)).fetchone()
        return None if row is None else msgspec.convert(row["body"], IncidentEvent)

    def claim(self, delivery_id: str, now: int, lease_until: int) -> Delivery | None:
        """Take a delivery that is due, or whose lease is over."""
        with self._database.transaction() as connection:
            row = connection.execute(
                sql.SQL(
                    """UPDATE deliveries SET state = 'sending', attempts = attempts + 1, lease_until = %(lease)s
                       WHERE id = %(id)s AND ((state = 'pending' AND next_attempt_at <= %(now)s)
                                              OR (state = 'sending' AND lease_until <= %(now)s))
                       RETURNING {}"""
                ).format(sql.SQL(_COLUMNS)),
                {"id": delivery_id, "now": now, "lease": lease_until},
            ).fetchone()
        return None if row is None else _delivery(row)

    def settle(
        self, delivery: Delivery, state: DeliveryState, attempt: Attempt, provider_id: str = ""
    ) -> None:
        """Record how an attempt ended for good."""
        with self._database.transaction() as connection:
            connection.execute(
                """UPDATE deliveries SET state = %s, lease_until = NULL, provider_id = %s, last_error = %s,
                          delivered_at = CASE WHEN %s = 'delivered' THEN %s::bigint END
                   WHERE id = %s AND state = 'sending' AND attempts = %s""",
                (
                    state,
                    clean(provider_id),
                    "" if state is DeliveryState.DELIVERED else clean(attempt.detail),
                    state,
                    attempt.at,
                    delivery.id,
                    delivery.attempts,
                ),
            )
            _record(connection, delivery, attempt)

    def retry(self, delivery: Delivery, next_attempt_at: int, attempt: Attempt) -> None:
        """Record a passing fault and when to try again."""
        with self._database.transaction() as connection:
            connection.execute(
                """UPDATE deliveries SET state = 'pending', lease_until = NULL, next_attempt_at = %s, last_error = %s
                   WHERE id = %s AND state = 'sending' AND attempts = %s""",
                (next_attempt_at, clean(attempt.detail), delivery.id, delivery.attempts),
            )
            _record(connection, delivery, attempt)

    def postpone(self, delivery: Delivery, next_attempt_at: int) -> None:
        """Put a delivery off without having tried it; one claimed meanwhile stays with whoever claimed it."""
        with self._database.transaction() as connection:
            connection.execute(
                """UPDATE deliveries SET next_attempt_at = %s
                   WHERE id = %s AND state IN ('pending', 'sending') AND attempts = %s""",
                (next_attempt_at, delivery.id, delivery.attempts),
            )

    def suppress(self, delivery: Delivery, why: str) -> None:
        """Close a delivery that has nothing to say any more."""
        with self._database.transaction() as connection:
            connection.execute(
                """UPDATE deliveries SET state = 'suppressed', lease_until = NULL, last_error = %s
                   WHERE id = %s AND state IN ('pending', 'sending')""",
                (why, delivery.id),
            )

    def due(self, now: int, limit: int) -> list[Doorbell]:
        """Return what is due, one doorbell for each incident and channel.

        What waits for an earlier message to the same recipient is not due. It would be at any time, and the ends of many
        incidents would keep others from being rung for while their openings cannot be sent.
        """
        with self._database.transaction() as connection:
            rows = connection.execute(
                """SELECT e.body, w.channel
                   FROM (SELECT incident_id, channel, min(event_id) AS event_id, min(next_attempt_at) AS due
                         FROM deliveries d
                         WHERE state IN ('pending', 'sending') AND next_attempt_at <= %(now)s
                           AND (state = 'pending' OR lease_until <= %(now)s)
                           AND NOT EXISTS (SELECT FROM deliveries earlier
                                           WHERE earlier.incident_id = d.incident_id AND earlier.channel = d.channel
                                             AND earlier.recipient = d.recipient AND earlier.event_seq < d.event_seq
                                             AND earlier.state IN ('pending', 'sending'))
                         GROUP BY incident_id, channel) w
                   JOIN incident_events e ON e.id = w.event_id
                   ORDER BY w.due LIMIT %(limit)s""",
                {"now": now, "limit": limit},
            ).fetchall()
        return [
            Doorbell(msgspec.convert(row["body"], IncidentEvent), Channel(row["channel"])) for row in rows
        ]

    def find(
        self, wanted: DeliveryFilter, *, limit: int, before: tuple[int, str] | None = None
    ) -> list[Delivery]:
        """Return deliveries, newest first, that come after ``before`` (created_at, id) in that order."""
        query = sql.SQL(
            """SELECT {} FROM deliveries
               WHERE (%(states)s::text[] IS NULL OR state = ANY(%(states)s))
                 AND (%(channel)s::text IS NULL OR channel = %(channel)s)
                 AND (%(incident)s::text IS NULL OR incident_id = %(incident)s)
                 AND (%(at)s::bigint IS NULL OR (created_at, id) < (%(at)s, %(id)s))
               ORDER BY created_at DESC, id DESC LIMIT %(limit)s"""
        ).format(sql.SQL(_COLUMNS))
        values: dict[str, Any] = {
            "states": [state.value for state in wanted.state] or None,
            "channel": wanted.channel,
            "incident": wanted.incident_id,
            "at": before[0] if before is not None else None,
            "id": before[1] if before is not None else None,
            "limit": limit,
        }
        with self._database.transaction() as connection:
            return [_delivery(row) for row in connection.execute(query, values).fetchall()]

    def undelivered(self, since: int) -> dict[str, int]:
        """Count the deliveries made since then that are ``waiting``, ``failed`` or ``dead``."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                """SELECT CASE WHEN state IN ('pending', 'sending') THEN 'waiting' ELSE state END AS state,
                          count(*) AS count
                   FROM deliveries
                   WHERE created_at >= %s AND state IN ('pending', 'sending', 'failed', 'dead')
                   GROUP BY 1 ORDER BY 1""",
                (since,),
            ).fetchall()
        return {row["state"]: row["count"] for row in rows}

    def get(self, delivery_id: str) -> Delivery | None:
        """Return one delivery."""
        with self._database.transaction() as connection:
            row = connection.execute(
                sql.SQL("SELECT {} FROM deliveries WHERE id = %s").format(sql.SQL(_COLUMNS)), (delivery_id,)
            ).fetchone()
        return None if row is None else _delivery(row)

    def attempts(self, delivery_id: str) -> list[Attempt]:
        """Return every attempt of a delivery, in order."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                """SELECT number, at, outcome, detail, milliseconds FROM delivery_attempts
                   WHERE delivery_id = %s ORDER BY number""",
                (delivery_id,),
            ).fetchall()
        return [Attempt(**row) for row in rows]

    def redrive(self, delivery_id: str, now: int) -> Delivery:
        """Let a failed, dead or suppressed delivery be tried again, and with it the end that was held back for it.

        Raises NotFound, and Conflict when the delivery is delivered or still being tried, or when the recipient has been
        told of the end: news of trouble after it would be followed by no other.
        """
        with self._database.transaction() as connection:
            row = connection.execute(
                sql.SQL(
                    """UPDATE deliveries SET state = 'pending', next_attempt_at = %s, created_at = %s
                       WHERE id = %s AND state IN ('failed', 'dead', 'suppressed') RETURNING {}"""
                ).format(sql.SQL(_COLUMNS)),
                (now, now, delivery_id),
            ).fetchone()
            if row is None:
                if self.get(delivery_id) is None:
                    raise NotFound("there is no such delivery")
                raise Conflict("the delivery is delivered or still being tried", code="not_redrivable")
            delivery = _delivery(row)
            if _end_was_told(connection, delivery):
                raise Conflict("the recipient has been told since that it is over", code="not_redrivable")
            connection.execute(
                """UPDATE deliveries SET state = 'pending', next_attempt_at = %s, created_at = %s
                   WHERE incident_id = %s AND channel = %s AND recipient = %s AND event_seq > %s
                     AND state = 'suppressed'""",
                (now, now, delivery.incident_id, delivery.channel, delivery.recipient, delivery.event_seq),
            )
        return delivery


def _end_was_told(connection: Connection, delivery: Delivery) -> bool:
    row = connection.execute(
        """SELECT FROM deliveries
           WHERE incident_id = %s AND channel = %s AND recipient = %s AND event_seq > %s AND event_kind = %s
             AND state IN ('sending', 'delivered')""",
        (
            delivery.incident_id,
            delivery.channel,
            delivery.recipient,
            delivery.event_seq,
            EventKind.RESOLVED,
        ),
    ).fetchone()
    return row is not None


def _record(connection: Connection, delivery: Delivery, attempt: Attempt) -> None:
    connection.execute(
        """INSERT INTO delivery_attempts (delivery_id, number, at, outcome, detail, milliseconds)
           VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (delivery_id, number) DO NOTHING""",
        (
            delivery.id,
            attempt.number,
            attempt.at,
            attempt.outcome,
            clean(attempt.detail),
            attempt.milliseconds,
        ),
    )


def _delivery(row: Row) -> Delivery:
    return Delivery(
        **{
            **row,
            "event_kind": EventKind(row["event_kind"]),
            "channel": Channel(row["channel"]),
            "state": DeliveryState(row["state"]),
        }
    )
