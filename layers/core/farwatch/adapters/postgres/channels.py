"""Configured channels in PostgreSQL; their secrets are sealed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import msgspec
from psycopg.errors import UniqueViolation

from farwatch.adapters.postgres.codec import to_json
from farwatch.adapters.postgres.database import Database, Row
from farwatch.adapters.sealing import Sealer
from farwatch.domain.routing import Channel, Destination
from farwatch.domain.severity import Severity
from farwatch.errors import Conflict, NotFound, PreconditionFailed
from farwatch.ports.deliveries import ChannelRow


class PostgresChannels:
    """The channel store; see the port. Secrets are sealed for the channel's id."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer

    def all(self) -> list[ChannelRow]:
        """Return every channel, by kind and name."""
        with self._database.transaction() as connection:
            rows = connection.execute("SELECT * FROM channels ORDER BY kind, name, id").fetchall()
        return [self._row(row) for row in rows]

    def get(self, channel_id: str) -> ChannelRow | None:
        """Return one channel."""
        with self._database.transaction() as connection:
            row = connection.execute("SELECT * FROM channels WHERE id = %s", (channel_id,)).fetchone()
        return None if row is None else self._row(row)

    def mail_server(self) -> ChannelRow | None:
        """Return the enabled mail server, if one is configured."""
        with self._database.transaction() as connection:
            row = connection.execute("SELECT * FROM channels WHERE kind = 'email' AND enabled").fetchone()
        return None if row is None else self._row(row)

    def destinations(self) -> list[Destination]:
        """Return the channels as routing sees them."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                "SELECT id, kind, name, enabled, min_severity, config FROM channels ORDER BY id"
            ).fetchall()
        return [
            Destination(
                id=row["id"],
                channel=Channel(row["kind"]),
                name=row["name"],
                enabled=row["enabled"],
                min_severity=Severity(row["min_severity"]),
                recipients=tuple(row["config"].get("recipients", ())),
            )
            for row in rows
        ]

    def add(self, channel: ChannelRow) -> None:
        """Store a new channel. Raises Conflict for a second mail server."""
        with self._database.transaction() as connection:
            try:
                connection.execute(
                    """INSERT INTO channels (id, kind, name, config, secret, enabled, min_severity, created_at)
                       VALUES (%s, %s, %s, %s, %s, %s, %s, %s)""",
                    (
                        channel.id,
                        channel.kind,
                        channel.name,
                        to_json(channel.config),
                        self._seal(channel.id, channel.secret),
                        channel.enabled,
                        channel.min_severity,
                        channel.created_at,
                    ),
                )
            except UniqueViolation as error:
                raise Conflict(
                    "there is a mail server already; change that one", code="one_mail_server"
                ) from error

    def save(self, channel: ChannelRow) -> ChannelRow:
        """Store a changed channel, which is untried again; raises PreconditionFailed if it changed meanwhile."""
        with self._database.transaction() as connection:
            done = connection.execute(
                """UPDATE channels SET name = %s, config = %s, secret = %s, enabled = %s, min_severity = %s,
                          healthy = NULL, health_at = NULL, health_error = '', version = version + 1
                   WHERE id = %s AND version = %s""",
                (
                    channel.name,
                    to_json(channel.config),
                    self._seal(channel.id, channel.secret),
                    channel.enabled,
                    channel.min_severity,
                    channel.id,
                    channel.version,
                ),
            )
        if done.rowcount == 0:
            raise PreconditionFailed("somebody changed the channel meanwhile; read it again")
        return replace(channel, version=channel.version + 1, healthy=None, health_at=None, health_error="")

    def remove(self, channel_id: str) -> None:
        """Delete a channel; raises NotFound."""
        with self._database.transaction() as connection:
            if connection.execute("DELETE FROM channels WHERE id = %s", (channel_id,)).rowcount == 0:
                raise NotFound("there is no such channel")

    def note_health(self, channel_id: str, *, healthy: bool, error: str, now: int) -> bool:
        """Record how the last sending went; return whether the state has turned."""
        with self._database.transaction() as connection:
            return (
                connection.execute(
                    """UPDATE channels SET healthy = %s, health_at = %s, health_error = %s
                       WHERE id = %s AND healthy IS DISTINCT FROM %s""",
                    (healthy, now, error[:500], channel_id, healthy),
                ).rowcount
                == 1
            )

    def _seal(self, owner: str, secret: Mapping[str, str]) -> bytes:
        return self._sealer.seal(msgspec.json.encode(dict(secret)), owner)

    def _row(self, row: Row) -> ChannelRow:
        return ChannelRow(
            **{
                **row,
                "kind": Channel(row["kind"]),
                "min_severity": Severity(row["min_severity"]),
                "secret": msgspec.json.decode(
                    self._sealer.open(bytes(row["secret"]), row["id"]), type=dict[str, str]
                ),
            }
        )
