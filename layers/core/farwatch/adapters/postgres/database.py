"""One PostgreSQL connection per container, kept alive and replaced when it breaks.

A Lambda container serves one request at a time, so one connection is the pool; on AWS RDS Proxy multiplexes them.
"""

from __future__ import annotations

import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.rows import dict_row

from farwatch.errors import Unavailable

Row = dict[str, Any]
Connection = psycopg.Connection[Row]


class Database:
    """A lazily opened connection to ``url``; ``application`` is shown in ``pg_stat_activity``."""

    def __init__(self, url: str, *, application: str = "farwatch") -> None:
        self._url = url
        self._application = application
        self._connection: Connection | None = None
        self._lock = threading.RLock()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Yield a connection inside one transaction: committed at the end, rolled back on an exception.

        Raises Unavailable when PostgreSQL cannot be reached or went away; the next call connects anew. Nested use in
        the same thread is a savepoint of the outer transaction.
        """
        with self.statement() as connection, connection.transaction():
            yield connection

    @contextmanager
    def statement(self) -> Iterator[Connection]:
        """Yield a connection for one statement, which is a transaction of its own (inside another one, a part of it).

        It saves the two messages to the server and back that begin and commit one. Raises Unavailable as `transaction`
        does.
        """
        with self._lock:
            try:
                yield self._live()
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                self.close()
                raise Unavailable(
                    "postgres", type(error).__name__ + ": " + str(error).split("\n")[0]
                ) from error

    def _live(self) -> Connection:
        # A broken connection found before any work costs one reconnect, not a failed request.
        if self._connection is not None and _is_cut(self._connection):
            self.close()
        if self._connection is None:
            self._connection = psycopg.connect(
                self._url,
                autocommit=True,
                row_factory=dict_row,
                connect_timeout=5,
                application_name=self._application,
                options="-c statement_timeout=30000 -c timezone=UTC",
                keepalives_idle=30,
            )
        return self._connection

    def close(self) -> None:
        """Close the connection, if any; the next transaction opens a new one."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def ping(self) -> None:
        """Return when PostgreSQL answers; raises Unavailable when it does not."""
        with self.transaction() as connection:
            connection.execute("SELECT 1")


def _is_cut(connection: Connection) -> bool:
    """Whether the server has closed an idle connection, found without asking it anything.

    Between transactions nothing arrives on the socket but notices and the end, so a quiet socket is a good one.
    """
    if connection.closed:
        return True
    try:
        # The server's last words are read first, the end of the stream only after them.
        while select.select([connection.fileno()], [], [], 0)[0]:
            connection.pgconn.consume_input()
    except psycopg.OperationalError:
        return True
    return False
