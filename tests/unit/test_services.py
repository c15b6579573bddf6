"""The test servers themselves: isolation between tests, and nothing left over."""

from __future__ import annotations

import psycopg
import redis
from psycopg import sql

from tests.services import PostgresServer


def test_each_test_gets_a_database_of_its_own_with_the_schema_in_it(postgres: PostgresServer) -> None:
    first, second = postgres.create_database(), postgres.create_database()
    with psycopg.connect(first) as connection:
        connection.execute("INSERT INTO hosts (id, name) VALUES ('host_1', 'web-1')")
    with psycopg.connect(second) as connection:
        assert connection.execute("SELECT count(*) FROM hosts").fetchone() == (0,)
    for url in (first, second):
        postgres.drop_database(url)


def test_a_database_can_be_dropped_while_somebody_is_connected(postgres: PostgresServer) -> None:
    url = postgres.create_database()
    connection = psycopg.connect(url)
    postgres.drop_database(url)
    with psycopg.connect(postgres.url("postgres")) as admin:
        name = url.rsplit("/", 1)[1]
        assert admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is None
    connection.close()


def contents(url: str) -> dict[str, int | None]:
    """The rows in each table, and the numbers handed out by each sequence."""
    with psycopg.connect(url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        sequences = connection.execute("SELECT sequencename, last_value FROM pg_sequences").fetchall()
        counted: dict[str, int | None] = dict(sequences)
        for (table,) in tables:
            (counted[table],) = connection.execute(
                sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))
            ).fetchone() or (None,)
        return counted


def test_a_database_that_is_used_again_is_as_empty_as_a_new_one(postgres: PostgresServer) -> None:
    with postgres.database() as first:
        left_open = psycopg.connect(first)
        left_open.execute("INSERT INTO hosts (id, name) VALUES ('host_1', 'web-1')")
        left_open.execute("INSERT INTO series (host_id, metric) VALUES ('host_1', 'cpu.percent')")
        left_open.execute("CREATE TABLE samples_0 PARTITION OF samples FOR VALUES FROM (0) TO (86400000)")
        left_open.execute("INSERT INTO samples (series_id, at, value) VALUES (1, 1000, 50)")
        left_open.execute("INSERT INTO audit_log (seq, entry, previous, hash) VALUES (1, '{}', '', '')")
        left_open.commit()
        left_open.execute("INSERT INTO hosts (id, name) VALUES ('host_2', 'web-2')")  # and never committed
        changed = contents(first)
    with postgres.database() as second:
        assert second == first
        fresh = postgres.create_database()
        assert contents(second) == contents(fresh) != changed
        postgres.drop_database(fresh)
    left_open.close()


def test_a_database_whose_tables_were_altered_is_not_used_again(postgres: PostgresServer) -> None:
    with postgres.database() as first, psycopg.connect(first) as connection:
        connection.execute("ALTER TABLE hosts ADD COLUMN colour text")
    with postgres.database() as second:
        assert second != first


def test_valkey_is_empty_at_the_start_of_a_test(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("left over", "1")


def test_valkey_is_empty_again_for_the_next_test(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("left over", "1")
