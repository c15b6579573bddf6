"""Files of one agent beside its spool: the lock, the credentials and the status."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple


class StateError(Exception):
    """The state folder cannot be used as asked; the message says what to do."""


class InUse(StateError):
    """Another agent holds the state folder."""


class Credentials(NamedTuple):
    """What enrolment gave this agent.

    ``previous`` is the credential before the last renewal, kept until the back end has accepted the new one.
    """

    server: str
    host_id: str
    credential: str
    interval_s: float | None = None
    previous: str = ""

    def __repr__(self) -> str:
        """Show everything but the secret, so that no traceback or log line can hold it."""
        return f"Credentials(server={self.server!r}, host_id={self.host_id!r}, credential='***')"


@contextlib.contextmanager
def lock(state_dir: Path) -> Iterator[None]:
    """Hold the folder for this process; raise :class:`StateError` when another agent has it.

    The lock is the kernel's, so it ends with the process however that ends.
    """
    try:
        state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(state_dir / "agent.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateError(
            f"{state_dir}: cannot be used ({error.strerror}); choose a folder this user may write with"
            " FARWATCH_AGENT_STATE_DIR"
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
            raise InUse(f"{state_dir}: is in use by another agent (process {holder})") from error
        with contextlib.suppress(OSError):  # the number is for people only; a full disk must not stop us
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def save_credentials(state_dir: Path, credentials: Credentials) -> Path:
    """Write the credentials readable by this user alone, all or nothing; return where."""
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = state_dir / "credentials.json"
    _replace(path, json.dumps(credentials._asdict(), indent=2) + "\n", durable=True)
    return path


def load_credentials(state_dir: Path) -> Credentials | None:
    """Return the credentials, ``None`` before enrolment; raise :class:`StateError` when unreadable."""
    path = state_dir / "credentials.json"
    try:
        values = json.loads(path.read_text("utf-8"))
        return Credentials(
            str(values["server"]),
            str(values["host_id"]),
            str(values["credential"]),
            values.get("interval_s"),
            str(values.get("previous", "")),
        )
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StateError(f"{path}: is damaged; enrol again with farwatch-agent enrol --force") from error


def readable_by_others(state_dir: Path) -> bool:
    """Return whether anybody but the owner may read the credentials."""
    return bool((state_dir / "credentials.json").stat().st_mode & 0o077)


def save_status(state_dir: Path, status: Mapping[str, Any]) -> None:
    """Write what ``farwatch-agent status`` shows; raises ``OSError``."""
    _replace(state_dir / "status.json", json.dumps(status), durable=False)


def load_status(state_dir: Path) -> dict[str, Any] | None:
    """Return the last status written, or ``None``."""
    try:
        value = json.loads((state_dir / "status.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _replace(path: Path, text: str, *, durable: bool) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        draft.replace(path)
        if durable:  # or a power cut could bring the earlier file back
            folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
