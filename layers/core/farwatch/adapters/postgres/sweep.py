"""The sweep's record in PostgreSQL."""

from __future__ import annotations

from typing import Any

from farwatch.adapters.postgres.database import Database

GAP_MS = 180_000


class PostgresSweepLog:
    """Runs and steps of the sweep."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def tick(self, now: int) -> int:
        """Note a run and return since when the sweep has run with no gap longer than three minutes.

        A clock that is set back by more than that is a gap as well: otherwise the sweep would wait for the time to come
        again before it calls any host silent.
        """
        with self._database.transaction() as connection:
            row = connection.execute(
                """INSERT INTO sweep_clock (since, last_run) VALUES (%(now)s, %(now)s)
                   ON CONFLICT (one) DO UPDATE
                   SET since = CASE WHEN abs(%(now)s - sweep_clock.last_run) > %(gap)s THEN %(now)s
                                    ELSE sweep_clock.since END,
                       last_run = CASE WHEN sweep_clock.last_run - %(now)s > %(gap)s THEN %(now)s
                                       ELSE greatest(sweep_clock.last_run, %(now)s) END
                   RETURNING since""",
                {"now": now, "gap": GAP_MS},
            ).fetchone()
        return int(row["since"]) if row is not None else now

    def record(self, step: str, now: int, error: str | None) -> None:
        """Note how a step went and how often it has failed in a row."""
        with self._database.transaction() as connection:
            connection.execute(
                """INSERT INTO sweep_steps (step, last_run_at, last_ok_at, failures, last_error)
                   VALUES (%(step)s, %(now)s, CASE WHEN %(error)s::text IS NULL THEN %(now)s::bigint END,
                           (%(error)s::text IS NOT NULL)::int, coalesce(%(error)s, ''))
                   ON CONFLICT (step) DO UPDATE
                   SET last_run_at = excluded.last_run_at,
                       last_ok_at = coalesce(excluded.last_ok_at, sweep_steps.last_ok_at),
                       failures = CASE WHEN excluded.failures = 0 THEN 0 ELSE sweep_steps.failures + 1 END,
                       last_error = excluded.last_error""",
                {"step": step, "now": now, "error": error},
            )

    def steps(self) -> list[dict[str, Any]]:
        """Return every step with ``last_run_at``, ``last_ok_at``, ``failures`` in a row and ``last_error``."""
        with self._database.transaction() as connection:
            return connection.execute("SELECT * FROM sweep_steps ORDER BY step").fetchall()
