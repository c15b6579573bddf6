"""The audit log in PostgreSQL: appended under one lock, so that the chain has no forks."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from farwatch.adapters.postgres.database import Database
from farwatch.domain.audit import GENESIS, Link, entry_text, link_hash
from farwatch.domain.rbac import Caller
from farwatch.ports.audit import AuditFilter

_LOCK = 0x0A0D17  # any constant, as long as nobody else locks on it
_CHUNK = 5_000


class PostgresAuditLog:
    """Implements ``farwatch.ports.audit.AuditLog`` and the house's ``AccessLog``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._recorded = ""

    def record(
        self,
        caller: Caller,
        *,
        action: str,
        target: str,
        outcome: str = "done",
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        """Append one row, inside the surrounding transaction when there is one; call it last, it takes the log's lock."""
        with self._database.transaction() as connection:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            last = connection.execute("SELECT seq, hash FROM audit_log ORDER BY seq DESC LIMIT 1").fetchone()
            seq, previous = (last["seq"] + 1, last["hash"]) if last is not None else (1, GENESIS)
            text = entry_text(
                caller,
                seq=seq,
                at=time.time_ns() // 1_000_000,
                action=action,
                target=target,
                outcome=outcome,
                before=before,
                after=after,
                detail=detail,
            )
            connection.execute(
                "INSERT INTO audit_log (seq, entry, previous, hash) VALUES (%s, %s, %s, %s)",
                (seq, text, previous, link_hash(previous, text)),
            )
        self._recorded = caller.request_id

    def record_request(
        self,
        caller: Caller,
        *,
        action: str,
        target: str,
        outcome: str,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
        detail: Mapping[str, object],
    ) -> None:
        """Append a row for a request, unless its use case wrote a fuller one already."""
        if caller.request_id and caller.request_id == self._recorded:
            return
        self.record(
            caller,
            action=action,
            target=target,
            outcome=outcome,
            before=before,
            after=after,
            detail=detail,
        )

    def rows(self, wanted: AuditFilter, *, before_seq: int | None, limit: int) -> Sequence[Mapping[str, Any]]:
        """Return up to ``limit`` entries, newest first, older than ``before_seq``; each with ``seq`` and ``hash``."""
        with self._database.transaction() as connection:
            found = connection.execute(
                """SELECT entry, hash FROM audit_log
                   WHERE (%(before)s::bigint IS NULL OR seq < %(before)s)
                     AND (%(actor)s::text IS NULL OR actor_id = %(actor)s)
                     AND (%(action)s::text IS NULL OR action = %(action)s)
                     AND (%(target)s::text IS NULL OR target = %(target)s)
                     AND (%(outcome)s::text IS NULL OR outcome = %(outcome)s)
                     AND (%(address)s::text IS NULL OR entry ->> 'address' = %(address)s)
                     AND (%(since)s::bigint IS NULL OR at >= %(since)s)
                     AND (%(until)s::bigint IS NULL OR at < %(until)s)
                   ORDER BY seq DESC LIMIT %(limit)s""",
                {
                    "before": before_seq,
                    "actor": wanted.actor_id,
                    "action": wanted.action,
                    "target": wanted.target,
                    "outcome": wanted.outcome,
                    "address": wanted.address,
                    "since": wanted.since,
                    "until": wanted.until,
                    "limit": limit,
                },
            ).fetchall()
        return [{**row["entry"], "hash": row["hash"].hex()} for row in found]

    def links(self) -> Iterator[Link]:
        """Yield the whole chain, oldest first, without holding it in memory."""
        last = 0
        while True:
            with self._database.transaction() as connection:
                rows = connection.execute(
                    """SELECT seq, entry::text AS text, previous, hash FROM audit_log
                       WHERE seq > %s ORDER BY seq LIMIT %s""",
                    (last, _CHUNK),
                ).fetchall()
            for row in rows:
                last = row["seq"]
                yield Link(row["seq"], row["text"], row["previous"], row["hash"])
            if len(rows) < _CHUNK:
                return
