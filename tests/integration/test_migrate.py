"""Bringing a database to the present schema, also where that was broken off or is asked for twice."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from farwatch.adapters.postgres.migrate import MIGRATIONS, migrate
from tests.services import PostgresServer


@pytest.fixture
def empty_url(postgres: PostgresServer) -> Iterator[str]:
    """URL of a database in which nothing has been made yet."""
    name = f"unmade_{secrets.token_hex(6)}"
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    yield postgres.url(name)
    postgres.drop_database(postgres.url(name))


def test_a_process_that_was_killed_while_migrating_leaves_no_lock(empty_url: str) -> None:
    """Its lock was a row of a table, and no start after it came through."""
    applied = migrate(empty_url)
    with psycopg.connect(empty_url, autocommit=True) as connection:
        connection.execute("INSERT INTO yoyo_lock (locked, ctime, pid) VALUES (1, now(), 4242)")
    assert applied
    assert migrate(empty_url) == []


def test_of_two_at_once_one_applies_everything_and_the_other_waits(empty_url: str) -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(migrate, [empty_url] * 2)
    assert sorted([len(first), len(second)]) == [0, len(list(MIGRATIONS.glob("*.sql")))]
