"""The connection of a container: replaced when the server has cut it, without losing a transaction."""

from __future__ import annotations

import psycopg
import pytest

from farwatch.adapters.postgres.database import Database
from farwatch.errors import Unavailable


def backend(database: Database) -> int:
    with database.transaction() as connection:
        row = connection.execute("SELECT pg_backend_pid() AS pid").fetchone()
        assert row is not None
        return int(row["pid"])


def end(url: str, pid: int) -> None:
    with psycopg.connect(url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))


def cut_within_a_transaction(database: Database, url: str, pid: int) -> None:
    with database.transaction() as connection:
        end(url, pid)
        connection.execute("SELECT 1")


def test_the_transaction_after_a_restart_of_the_server_succeeds(postgres_url: str) -> None:
    database = Database(postgres_url)
    first = backend(database)
    end(postgres_url, first)
    assert backend(database) != first
    database.close()


def test_a_notice_from_the_server_does_not_cost_the_connection(postgres_url: str) -> None:
    database = Database(postgres_url)
    with database.transaction() as connection:
        connection.execute("LISTEN something")
    first = backend(database)
    with psycopg.connect(postgres_url, autocommit=True) as other:
        other.execute("NOTIFY something")
    assert backend(database) == first
    database.close()


def test_a_connection_cut_within_a_transaction_fails_it_and_the_next_one_connects_anew(
    postgres_url: str,
) -> None:
    database = Database(postgres_url)
    first = backend(database)
    with pytest.raises(Unavailable):
        cut_within_a_transaction(database, postgres_url, first)
    assert backend(database) != first
    database.close()
