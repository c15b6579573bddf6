"""Incidents, their signals and timeline in PostgreSQL; each change and its events are written in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, LiteralString

import msgspec
from psycopg import sql

from farwatch.adapters.postgres.codec import clean, to_json
from farwatch.adapters.postgres.database import Connection, Database, Row
from farwatch.domain.events import Evidence, IncidentEvent
from farwatch.domain.incidents import (
    Change,
    Group,
    Incident,
    IncidentStatus,
    TimelineEntry,
    TrackedSignal,
)
from farwatch.domain.routing import channels_for
from farwatch.domain.severity import Severity
from farwatch.errors import NotFound, PreconditionFailed
from farwatch.ports.incidents import IncidentFilter, StaleSignal

Decide = Callable[[Group], Change | None]

_COLUMNS = tuple(field.name for field in fields(Incident))
_JSON = {"host_labels", "evidence"}
_SAVE = sql.SQL(
    "INSERT INTO incidents ({names}) VALUES ({values}) ON CONFLICT (id) DO UPDATE SET {updates}"
).format(
    names=sql.SQL(", ").join(map(sql.Identifier, _COLUMNS)),
    values=sql.SQL(", ").join(map(sql.Placeholder, _COLUMNS)),
    updates=sql.SQL(", ").join(
        sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in _COLUMNS if name != "id"
    ),
)
# Events are published right after the commit; one that is still waiting after this long was lost on the way.
_PUBLISHED_BY_NOW_MS = 10_000
# One decision at a time per group, also while the group has no incident row that could be locked.
_LOCK: LiteralString = "SELECT pg_advisory_xact_lock(20, hashtext(%s))"


class PostgresIncidents:
    """The incident store; see the port for what each method promises."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def change_group(self, key: str, fingerprint: str | None, decide: Decide) -> Change | None:
        """Load the group's active incident with its signals (and ``fingerprint``), decide, and write the outcome."""
        with self._database.transaction() as connection:
            connection.execute(_LOCK, (key,))
            row = connection.execute(
                "SELECT * FROM incidents WHERE group_key = %s AND status <> 'resolved'", (key,)
            ).fetchone()
            incident = None if row is None else _incident(row)
            signals = connection.execute(
                """SELECT body FROM signals
                   WHERE group_key = %(key)s AND (fingerprint = %(fingerprint)s OR incident_id = %(incident)s)""",
                {
                    "key": key,
                    "fingerprint": fingerprint,
                    "incident": incident.id if incident is not None else None,
                },
            ).fetchall()
            return self._decide(connection, Group(key, incident, _by_fingerprint(signals)), decide)

    def change_incident(
        self, incident_id: str, decide: Decide, expected_version: int | None = None
    ) -> Change | None:
        """Load one incident, resolved or not, with its signals, decide, and write the outcome."""
        with self._database.transaction() as connection:
            found = connection.execute(
                "SELECT group_key FROM incidents WHERE id = %s", (incident_id,)
            ).fetchone()
            if found is None:
                raise NotFound("there is no such incident")
            connection.execute(_LOCK, (found["group_key"],))
            row = connection.execute("SELECT * FROM incidents WHERE id = %s", (incident_id,)).fetchone()
            if row is None:
                raise NotFound("there is no such incident")
            incident = _incident(row)
            if expected_version is not None and incident.version != expected_version:
                raise PreconditionFailed(
                    "somebody changed the incident meanwhile; read it again, then decide again"
                )
            signals = connection.execute(
                "SELECT body FROM signals WHERE incident_id = %s", (incident_id,)
            ).fetchall()
            group = Group(incident.group_key, incident, _by_fingerprint(signals))
            return self._decide(connection, group, decide)

    def create(self, change: Change) -> None:
        """Write an incident that a person opened."""
        with self._database.transaction() as connection:
            self._write(connection, change)

    def _decide(self, connection: Connection, group: Group, decide: Decide) -> Change | None:
        change = decide(group)
        if change is not None:
            self._write(connection, change)
        return change

    def _write(self, connection: Connection, change: Change) -> None:
        incident = change.group.incident
        if incident is not None and (change.events or change.timeline):
            values: dict[str, Any] = {name: getattr(incident, name) for name in _COLUMNS}
            values |= {name: to_json(values[name]) for name in _JSON}
            values = {
                name: clean(value) if isinstance(value, str) else value for name, value in values.items()
            }
            connection.execute(_SAVE, values)
        with connection.cursor() as cursor:
            for signal in change.touched:
                _write_signal(cursor.connection, change.group.key, signal)
            if incident is not None and change.timeline:
                cursor.executemany(
                    """INSERT INTO incident_timeline (incident_id, at, kind, text, actor, fingerprint)
                       VALUES (%s, %s, %s, %s, %s, %s)""",
                    [
                        (incident.id, line.at, line.kind, clean(line.text), line.actor, line.fingerprint)
                        for line in change.timeline
                    ],
                )
            if change.events:
                cursor.executemany(
                    """INSERT INTO incident_events (id, incident_id, seq, kind, at, channels, body, next_publish_at)
                       VALUES (%s, %s, %s, %s, %s, %s, %s, %s)""",
                    [_event_row(event) for event in change.events],
                )

    def get(self, incident_id: str) -> Incident | None:
        """Return one incident."""
        with self._database.transaction() as connection:
            row = connection.execute("SELECT * FROM incidents WHERE id = %s", (incident_id,)).fetchone()
        return None if row is None else _incident(row)

    def find(
        self, wanted: IncidentFilter, *, limit: int, before: tuple[int, str] | None = None
    ) -> list[Incident]:
        """Return incidents, newest first, that come after ``before`` (opened_at, id) in that order."""
        conditions: list[sql.Composable] = [sql.SQL("true")]
        values: dict[str, Any] = {"limit": limit}

        def where(condition: LiteralString, name: str, value: Any) -> None:
            if value is not None and value != ():
                conditions.append(sql.SQL(condition))
                values[name] = list(value) if isinstance(value, tuple) else value

        where("status = ANY(%(status)s)", "status", tuple(s.value for s in wanted.status))
        where("severity = ANY(%(severity)s)", "severity", tuple(s.value for s in wanted.severity))
        where("host_id = %(host)s", "host", wanted.host_id)
        where("assignee = %(assignee)s", "assignee", wanted.assignee)
        where("opened_at >= %(since)s", "since", wanted.since)
        where("opened_at < %(until)s", "until", wanted.until)
        where("strpos(lower(title || ' ' || host_name), lower(%(text)s)) > 0", "text", wanted.text)
        if before is not None:
            conditions.append(sql.SQL("(opened_at, id) < (%(before_at)s, %(before_id)s)"))
            values |= {"before_at": before[0], "before_id": before[1]}
        query = sql.SQL(
            "SELECT * FROM incidents WHERE {} ORDER BY opened_at DESC, id DESC LIMIT %(limit)s"
        ).format(sql.SQL(" AND ").join(conditions))
        with self._database.transaction() as connection:
            return [_incident(row) for row in connection.execute(query, values).fetchall()]

    def signals(self, incident_id: str) -> list[TrackedSignal]:
        """Return the incident's signals as it last heard of them, oldest first."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                "SELECT body FROM incident_signals WHERE incident_id = %s", (incident_id,)
            ).fetchall()
        return sorted(
            _by_fingerprint(rows).values(), key=lambda signal: (signal.joined_at or 0, signal.title)
        )

    def timeline(self, incident_id: str) -> list[TimelineEntry]:
        """Return the incident's history, oldest first."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                """SELECT at, kind, text, actor, fingerprint FROM incident_timeline
                   WHERE incident_id = %s ORDER BY position""",
                (incident_id,),
            ).fetchall()
        return [TimelineEntry(**row) for row in rows]

    def due_to_announce(self, now: int) -> list[str]:
        """Return the groups whose group wait is over and whose opening has not been announced."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                """SELECT group_key FROM incidents
                   WHERE status <> 'resolved' AND NOT announced AND announce_at <= %s ORDER BY announce_at LIMIT 500""",
                (now,),
            ).fetchall()
        return [row["group_key"] for row in rows]

    def firing_signals(self) -> list[StaleSignal]:
        """Return every firing signal with when it was last heard and when its host's last silence ended."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                """SELECT s.group_key, s.fingerprint, s.host_id, s.kind, s.heard_at,
                          (SELECT max(q.resolved_at) FROM signals q
                           WHERE q.host_id = s.host_id AND q.kind = 'silence') AS silence_ended_at
                   FROM signals s WHERE s.state = 'firing'"""
            ).fetchall()
        return [StaleSignal(**row) for row in rows]

    def forget(self, *, signals_before: int, incidents_before: int) -> int:
        """Delete signals last heard and incidents resolved before these times; return how many rows went."""
        with self._database.transaction() as connection:
            signals = connection.execute(
                "DELETE FROM signals WHERE state <> 'firing' AND heard_at < %s", (signals_before,)
            )
            incidents = connection.execute(
                "DELETE FROM incidents WHERE status = 'resolved' AND resolved_at < %s", (incidents_before,)
            )
        return signals.rowcount + incidents.rowcount


def _write_signal(connection: Connection, key: str, signal: TrackedSignal) -> None:
    body = to_json(signal)
    connection.execute(
        """INSERT INTO signals (group_key, fingerprint, host_id, kind, state, incident_id, heard_at, resolved_at, body)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
           ON CONFLICT (group_key, fingerprint) DO UPDATE
           SET kind = excluded.kind, state = excluded.state, incident_id = excluded.incident_id,
               heard_at = excluded.heard_at, resolved_at = excluded.resolved_at, body = excluded.body""",
        (
            key,
            signal.fingerprint,
            signal.host_id,
            signal.kind,
            signal.state,
            signal.incident_id,
            signal.heard_at,
            signal.resolved_at,
            body,
        ),
    )
    if signal.incident_id is not None:
        connection.execute(
            """INSERT INTO incident_signals (incident_id, fingerprint, body) VALUES (%s, %s, %s)
               ON CONFLICT (incident_id, fingerprint) DO UPDATE SET body = excluded.body""",
            (signal.incident_id, signal.fingerprint, body),
        )


def _event_row(event: IncidentEvent) -> tuple[Any, ...]:
    channels: Sequence[str] = sorted(channel.value for channel in channels_for(event))
    return (
        event.id,
        event.incident_id,
        event.seq,
        event.kind,
        event.at,
        list(channels),
        to_json(event),
        event.at + _PUBLISHED_BY_NOW_MS,
    )


def _by_fingerprint(rows: Sequence[Row]) -> dict[str, TrackedSignal]:
    found = [msgspec.convert(row["body"], TrackedSignal) for row in rows]
    return {signal.fingerprint: signal for signal in found}


def _incident(row: Row) -> Incident:
    return Incident(
        **{
            **row,
            "status": IncidentStatus(row["status"]),
            "severity": Severity(row["severity"]),
            "peak": Severity(row["peak"]),
            "evidence": msgspec.convert(row["evidence"], tuple[Evidence, ...]),
        }
    )
