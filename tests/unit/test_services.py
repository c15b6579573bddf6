"""The test servers themselves: isolation between tests, and nothing left over."""

from __future__ import annotations

import psycopg
import redis

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


def test_valkey_is_empty_at_the_start_of_a_test(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("left over", "1")


def test_valkey_is_empty_again_for_the_next_test(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("left over", "1")
