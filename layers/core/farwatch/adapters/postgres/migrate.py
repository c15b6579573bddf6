"""Schema migrations: numbered SQL files in ``migrations/``, applied by yoyo, each in a transaction of its own."""

from __future__ import annotations

from pathlib import Path

MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(database_url: str) -> list[str]:
    """Apply what has not been applied yet, under yoyo's lock, and return the names applied, in order.

    ``database_url`` is a libpq URL (``postgresql://user:password@host:port/name``).
    """
    from yoyo import get_backend, read_migrations

    backend = get_backend(database_url.replace("postgresql://", "postgresql+psycopg://", 1))
    migrations = read_migrations(str(MIGRATIONS))
    with backend.lock():
        wanted = backend.to_apply(migrations)
        backend.apply_migrations(wanted)
        names = [migration.id for migration in wanted]
    backend.connection.close()
    return names
