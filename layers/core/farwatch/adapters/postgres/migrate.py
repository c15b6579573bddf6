"""Schema migrations: numbered SQL files in ``migrations/``, applied by yoyo, each in a transaction of its own."""

from __future__ import annotations

from pathlib import Path

MIGRATIONS = Path(__file__).parent / "migrations"
_ONE_AT_A_TIME = 0x46617277  # of advisory locks; nothing else takes one with this key


def migrate(database_url: str) -> list[str]:
    """Apply what has not been applied yet and return the names applied, in order; several at once wait for each other.

    ``database_url`` is a libpq URL (``postgresql://user:password@host:port/name``).
    """
    import psycopg
    from yoyo import get_backend, read_migrations

    migrations = read_migrations(str(MIGRATIONS))
    with psycopg.connect(database_url, autocommit=True) as guard:
        guard.execute("SET lock_timeout = '60s'")
        guard.execute("SELECT pg_advisory_lock(%s)", (_ONE_AT_A_TIME,))
        # Made here, since opening it makes yoyo's own tables.
        backend = get_backend(database_url.replace("postgresql://", "postgresql+psycopg://", 1))
        # yoyo's lock is a row, which outlives a process that is killed; ours ends with the connection, so a row that is
        # there now is such a one.
        backend.break_lock()
        with backend.lock():
            wanted = backend.to_apply(migrations)
            backend.apply_migrations(wanted)
            names = [migration.id for migration in wanted]
        backend.connection.close()
    return names
