"""People's preferences and their in-app notifications in PostgreSQL."""

from __future__ import annotations

from typing import LiteralString

import msgspec

from farwatch.adapters.postgres.codec import clean
from farwatch.adapters.postgres.database import Database, Row
from farwatch.adapters.sealing import Sealer
from farwatch.domain.routing import Channel, Preferences
from farwatch.domain.severity import Severity
from farwatch.errors import PreconditionFailed
from farwatch.ports.deliveries import Notification, PersonRow

_PEOPLE: LiteralString = """
    SELECT u.id, u.name, u.email, p.address, p.channels, p.min_severity, p.timezone, p.personal, p.personal_kinds,
           p.version
    FROM users u LEFT JOIN preferences p ON p.user_id = u.id
    WHERE u.disabled_at IS NULL"""


class PostgresAudience:
    """Who may be told, and how they want it. Whoever never set preferences wants everything."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer

    def all(self) -> list[Preferences]:
        """Return the preferences of every active person who may see incidents (not guests)."""
        with self._database.transaction() as connection:
            rows = connection.execute(_PEOPLE + " AND u.role <> 'guest' ORDER BY u.id").fetchall()
        return [_preferences(row) for row in rows]

    def get(self, user_id: str) -> PersonRow | None:
        """Return one active person's preferences."""
        with self._database.transaction() as connection:
            row = connection.execute(_PEOPLE + " AND u.id = %s", (user_id,)).fetchone()
        if row is None:
            return None
        sealed = row["personal"]
        personal = b"{}" if sealed is None else self._sealer.open(bytes(sealed), user_id)
        return PersonRow(
            preferences=_preferences(row),
            own_address=row["address"] or "",
            personal=msgspec.json.decode(personal, type=dict[str, str]),
            version=row["version"] or 0,
        )

    def operators(self) -> list[str]:
        """Return the user ids of active administrators and operators."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                "SELECT id FROM users WHERE disabled_at IS NULL AND role IN ('admin', 'operator') ORDER BY id"
            ).fetchall()
        return [row["id"] for row in rows]

    def save(self, person: PersonRow) -> PersonRow:
        """Store preferences read at ``person.version``; raises PreconditionFailed if they changed meanwhile."""
        wanted = person.preferences
        sealed = (
            self._sealer.seal(msgspec.json.encode(dict(person.personal)), wanted.user_id)
            if person.personal
            else None
        )
        with self._database.transaction() as connection:
            row = connection.execute(
                """INSERT INTO preferences
                          (user_id, address, channels, min_severity, timezone, personal, personal_kinds)
                   VALUES (%(user)s, %(address)s, %(channels)s, %(severity)s, %(timezone)s, %(personal)s, %(kinds)s)
                   ON CONFLICT (user_id) DO UPDATE
                   SET address = excluded.address, channels = excluded.channels, min_severity = excluded.min_severity,
                       timezone = excluded.timezone, personal = excluded.personal,
                       personal_kinds = excluded.personal_kinds, version = preferences.version + 1
                   WHERE preferences.version = %(version)s
                   RETURNING version""",
                {
                    "user": wanted.user_id,
                    "address": person.own_address,
                    "channels": sorted(channel.value for channel in wanted.enabled),
                    "severity": wanted.min_severity,
                    "timezone": wanted.timezone,
                    "personal": sealed,
                    "kinds": sorted(channel.value for channel in wanted.personal),
                    "version": person.version,
                },
            ).fetchone()
        if row is None:
            raise PreconditionFailed("your preferences were changed meanwhile; read them again")
        stored = self.get(wanted.user_id)
        return person if stored is None else stored


def _preferences(row: Row) -> Preferences:
    known = row["version"] is not None
    return Preferences(
        user_id=row["id"],
        name=row["name"],
        address=row["address"] or row["email"],
        enabled=frozenset(Channel(name) for name in row["channels"]) if known else frozenset(Channel),
        personal=frozenset(Channel(name) for name in row["personal_kinds"] or ()),
        min_severity=Severity(row["min_severity"]) if known else Severity.INFO,
        timezone=row["timezone"] or "UTC",
    )


class PostgresInbox:
    """In-app notifications, at most one per person and event."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, notification: Notification) -> bool:
        """Keep a notification; False when that person already has one of that event."""
        with self._database.transaction() as connection:
            return (
                connection.execute(
                    """INSERT INTO notifications
                              (id, user_id, event_id, incident_id, kind, severity, title, text, created_at)
                       VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING""",
                    (
                        notification.id,
                        notification.user_id,
                        notification.event_id,
                        notification.incident_id,
                        notification.kind,
                        notification.severity,
                        clean(notification.title),
                        clean(notification.text),
                        notification.created_at,
                    ),
                ).rowcount
                == 1
            )

    def find(
        self, user_id: str, *, unread: bool, limit: int, before: tuple[int, str] | None = None
    ) -> list[Notification]:
        """Return a person's notifications, newest first, that come after ``before`` (created_at, id) in that order."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                """SELECT * FROM notifications
                   WHERE user_id = %(user)s AND (NOT %(unread)s OR read_at IS NULL)
                     AND (%(at)s::bigint IS NULL OR (created_at, id) < (%(at)s, %(id)s))
                   ORDER BY created_at DESC, id DESC LIMIT %(limit)s""",
                {
                    "user": user_id,
                    "unread": unread,
                    "at": before[0] if before is not None else None,
                    "id": before[1] if before is not None else None,
                    "limit": limit,
                },
            ).fetchall()
        return [Notification(**{**row, "severity": Severity(row["severity"])}) for row in rows]

    def unread(self, user_id: str) -> int:
        """Return how many notifications a person has not read."""
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT count(*) AS count FROM notifications WHERE user_id = %s AND read_at IS NULL",
                (user_id,),
            ).fetchone()
        return int(row["count"]) if row is not None else 0

    def mark_read(self, user_id: str, notification_id: str | None, now: int) -> int:
        """Mark one notification of a person read, or all of them; return how many were unread."""
        with self._database.transaction() as connection:
            return connection.execute(
                """UPDATE notifications SET read_at = %s
                   WHERE user_id = %s AND (%s::text IS NULL OR id = %s) AND read_at IS NULL""",
                (now, user_id, notification_id, notification_id),
            ).rowcount

    def has(self, user_id: str, notification_id: str) -> bool:
        """Whether a person has this notification, read or not."""
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT 1 AS one FROM notifications WHERE user_id = %s AND id = %s",
                (user_id, notification_id),
            ).fetchone()
        return row is not None

    def forget(self, before: int) -> int:
        """Delete notifications made before this time."""
        with self._database.transaction() as connection:
            return connection.execute("DELETE FROM notifications WHERE created_at < %s", (before,)).rowcount
