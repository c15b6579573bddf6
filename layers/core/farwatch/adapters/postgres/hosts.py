"""Hosts, agents' progress and fleet configuration in PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, LiteralString

from psycopg import sql
from psycopg.types.json import Jsonb

from farwatch.adapters.postgres.database import Database, Row
from farwatch.domain.hosts import Host

_SELECT: LiteralString = """
    SELECT h.*, (SELECT value::float8 FROM config WHERE key = 'default_interval_s') AS fleet_interval_s
    FROM hosts h"""


class PostgresHosts:
    """The register of hosts; ``default_interval_s`` applies until the fleet's own setting is made."""

    def __init__(self, database: Database, default_interval_s: float) -> None:
        self._database = database
        self._default_interval_s = default_interval_s

    def get(self, host_id: str) -> Host | None:
        """Return the host, retired ones included."""
        with self._database.transaction() as connection:
            row = connection.execute(_SELECT + " WHERE h.id = %s", (host_id,)).fetchone()
        return None if row is None else self._host(row)

    def all(self) -> list[Host]:
        """Return every host that is not retired, by name."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                _SELECT + " WHERE h.retired_at IS NULL ORDER BY h.name, h.id"
            ).fetchall()
        return [self._host(row) for row in rows]

    def newest_seen_at(self) -> int | None:
        """Return when the newest stored batch, of any host, reached the back end (epoch ms); None before the first."""
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT extract(epoch FROM max(last_seen_at)) * 1000 AS at FROM hosts WHERE retired_at IS NULL"
            ).fetchone()
        return None if row is None or row["at"] is None else round(row["at"])

    def update(
        self, host_id: str, changes: dict[str, Any], expected_version: int | None = None
    ) -> int | None:
        """Set ``interval_s`` (None: the fleet's), ``labels``, ``may_be_off`` or ``name`` and return the new version.

        None when there is no such host, or ``expected_version`` is not the stored one. Raises ValueError for any other
        column.
        """
        allowed = {"interval_s", "labels", "may_be_off", "name"}
        if not changes.keys() <= allowed:
            raise ValueError(f"cannot set {sorted(changes.keys() - allowed)}")
        values = {name: Jsonb(value) if name == "labels" else value for name, value in changes.items()}
        statement = sql.SQL(
            """UPDATE hosts SET {}, version = version + 1
               WHERE id = %(id)s AND retired_at IS NULL AND (%(expected)s::bigint IS NULL OR version = %(expected)s)
               RETURNING version"""
        ).format(
            sql.SQL(", ").join(
                sql.SQL("{} = {}").format(sql.Identifier(n), sql.Placeholder(n)) for n in values
            )
        )
        with self._database.transaction() as connection:
            row = connection.execute(
                statement, {**values, "id": host_id, "expected": expected_version}
            ).fetchone()
        return None if row is None else int(row["version"])

    def open_incidents(self, host_ids: list[str]) -> dict[str, int]:
        """Return, for each of the hosts that has any, how many incidents are not resolved."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                """SELECT host_id, count(*) AS open FROM incidents
                   WHERE status <> 'resolved' AND host_id = ANY(%s) GROUP BY host_id""",
                (host_ids,),
            ).fetchall()
        return {row["host_id"]: int(row["open"]) for row in rows}

    def stored_through(self, host_id: str, spool_id: str) -> int:
        """Return the highest sequence number stored without a gap, 0 when there is none."""
        with self._database.statement() as connection:
            row = connection.execute(
                "SELECT stored_through FROM agent_progress WHERE host_id = %s AND spool_id = %s",
                (host_id, spool_id),
            ).fetchone()
        return 0 if row is None else int(row["stored_through"])

    def record_stored(self, host_id: str, spool_id: str, seq: int, at: int, agent_version: str) -> None:
        """Advance the progress (it never goes back) and the host's last sign of life, both or neither."""
        with self._database.statement() as connection:
            connection.execute(
                """WITH progress AS (
                       INSERT INTO agent_progress (host_id, spool_id, stored_through)
                       VALUES (%(host)s, %(spool)s, %(seq)s)
                       ON CONFLICT (host_id, spool_id) DO UPDATE
                       SET stored_through = greatest(agent_progress.stored_through, excluded.stored_through),
                           updated_at = now())
                   UPDATE hosts SET last_seen_at = greatest(last_seen_at, to_timestamp(%(at)s / 1000.0)),
                                    agent_version = %(version)s
                   WHERE id = %(host)s""",
                {"host": host_id, "spool": spool_id, "seq": seq, "at": at, "version": agent_version},
            )

    def fleet_config(self, key: str) -> tuple[Any, int]:
        """Return a fleet-wide setting and its version; None and 0 while nobody has made it."""
        with self._database.transaction() as connection:
            row = connection.execute("SELECT value, version FROM config WHERE key = %s", (key,)).fetchone()
        return (None, 0) if row is None else (row["value"], int(row["version"]))

    def set_fleet_config(
        self, key: str, value: Any, by: str, expected_version: int | None = None
    ) -> int | None:
        """Set one fleet-wide setting and return its new version; ``by`` is the principal's id.

        None, and nothing is set, when ``expected_version`` is not the stored one.
        """
        with self._database.transaction() as connection:
            row = connection.execute(
                """INSERT INTO config (key, value, updated_by) VALUES (%(key)s, %(value)s, %(by)s)
                   ON CONFLICT (key) DO UPDATE
                   SET value = excluded.value, updated_at = now(), updated_by = excluded.updated_by,
                       version = config.version + 1
                   WHERE %(expected)s::bigint IS NULL OR config.version = %(expected)s
                   RETURNING version""",
                {"key": key, "value": Jsonb(value), "by": by, "expected": expected_version},
            ).fetchone()
        return None if row is None else int(row["version"])

    def _host(self, row: Row) -> Host:
        own = row["interval_s"]
        return Host(
            id=row["id"],
            name=row["name"],
            labels=row["labels"],
            os=row["os"],
            agent_version=row["agent_version"],
            enrolled_at=_ms(row["enrolled_at"]) or 0,
            last_seen_at=_ms(row["last_seen_at"]),
            interval_s=own or row["fleet_interval_s"] or self._default_interval_s,
            interval_overridden=own is not None,
            may_be_off=row["may_be_off"],
            retired_at=_ms(row["retired_at"]),
            facts=row["facts"],
            version=row["version"],
        )


def _ms(at: datetime | None) -> int | None:
    return None if at is None else round(at.astimezone(UTC).timestamp() * 1000)
