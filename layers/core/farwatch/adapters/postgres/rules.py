"""Rules in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from psycopg.types.json import Jsonb

from farwatch.adapters.postgres.database import Database
from farwatch.domain.rules import Rule


class PostgresRules:
    """Rules as JSON documents with a version for optimistic locking."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> Sequence[Rule]:
        """Return every rule, enabled or not, by name."""
        with self._database.transaction() as connection:
            rows = connection.execute("SELECT document FROM rules ORDER BY name, id").fetchall()
        return [msgspec.convert(row["document"], Rule) for row in rows]

    def get(self, rule_id: str) -> tuple[Rule, int] | None:
        """Return the rule and its version."""
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT document, version FROM rules WHERE id = %s", (rule_id,)
            ).fetchone()
        return None if row is None else (msgspec.convert(row["document"], Rule), int(row["version"]))

    def put(self, rule: Rule, expected_version: int | None = None) -> int | None:
        """Insert or replace the rule and return its new version; None when ``expected_version`` is not the stored one."""
        document = Jsonb(msgspec.to_builtins(rule))
        with self._database.transaction() as connection:
            row = connection.execute(
                """INSERT INTO rules (id, name, document) VALUES (%(id)s, %(name)s, %(document)s)
                   ON CONFLICT (id) DO UPDATE
                   SET name = excluded.name, document = excluded.document, version = rules.version + 1, updated_at = now()
                   WHERE %(expected)s::bigint IS NULL OR rules.version = %(expected)s
                   RETURNING version""",
                {"id": rule.id, "name": rule.name, "document": document, "expected": expected_version},
            ).fetchone()
        return None if row is None else int(row["version"])

    def install_stock(self, rules: Sequence[Rule]) -> int:
        """Insert the stock rules that were never installed here and return how many.

        What was installed once is remembered, so a stock rule that people deleted does not come back with an upgrade,
        and one that they edited stays as they made it.
        """
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT value FROM config WHERE key = 'stock_rules' FOR UPDATE"
            ).fetchone()
            installed = set(row["value"]) if row is not None else set()
            fresh = [rule for rule in rules if rule.id not in installed]
            for rule in fresh:
                connection.execute(
                    "INSERT INTO rules (id, name, document) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                    (rule.id, rule.name, Jsonb(msgspec.to_builtins(rule))),
                )
            connection.execute(
                """INSERT INTO config (key, value) VALUES ('stock_rules', %s)
                   ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_at = now()""",
                (Jsonb(sorted(installed | {rule.id for rule in fresh})),),
            )
        return len(fresh)

    def delete(self, rule_id: str) -> bool:
        """Delete the rule; False when there was none."""
        with self._database.transaction() as connection:
            return connection.execute("DELETE FROM rules WHERE id = %s", (rule_id,)).rowcount == 1
