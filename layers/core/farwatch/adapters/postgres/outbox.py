"""The outbox of incident events: what is to be published, and which channels have taken note."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from farwatch.adapters.postgres.database import Database
from farwatch.domain.events import IncidentEvent


class PostgresOutbox:
    """Reads and marks rows of ``incident_events``; the rows are written by the incident store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def published(self, event_ids: Sequence[str], next_publish_at: int) -> None:
        """Note that events were published, and when to look again whether every channel has a receipt."""
        with self._database.transaction() as connection:
            connection.execute(
                """UPDATE incident_events
                   SET publish_count = publish_count + 1,
                       next_publish_at = CASE WHEN channels = '{}' THEN NULL ELSE %s::bigint END
                   WHERE id = ANY(%s)""",
                (next_publish_at, list(event_ids)),
            )

    def settle(self) -> int:
        """Close events whose channels all have given a receipt; return how many."""
        with self._database.transaction() as connection:
            return connection.execute(
                """UPDATE incident_events e SET next_publish_at = NULL
                   WHERE next_publish_at IS NOT NULL AND publish_count > 0
                     AND NOT EXISTS (SELECT FROM unnest(e.channels) wanted
                                     WHERE NOT EXISTS (SELECT FROM event_receipts r
                                                       WHERE r.event_id = e.id AND r.channel = wanted))"""
            ).rowcount

    def due(self, now: int, limit: int) -> list[tuple[IncidentEvent, int]]:
        """Return events to publish (again) with how often they have been published, oldest first."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                """SELECT body, publish_count FROM incident_events
                   WHERE next_publish_at <= %s ORDER BY next_publish_at LIMIT %s""",
                (now, limit),
            ).fetchall()
        return [(msgspec.convert(row["body"], IncidentEvent), row["publish_count"]) for row in rows]
