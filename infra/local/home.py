"""The data folder: where everything of one installation lives, and what is remembered between runs.

`FARWATCH_HOME` (by default `.farwatch/` in the checkout) holds the data of PostgreSQL and Valkey, the agent's
spool, secrets, logs and `state.json`, which says what runs now: ports, process ids, URLs.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).resolve().parents[2]
DEFAULT_PORT_BASE = 8501


class AlreadyRunning(RuntimeError):
    """Another supervisor holds this data folder."""


@dataclass(frozen=True)
class Home:
    """The paths of one data folder."""

    root: Path

    @classmethod
    def find(cls, chosen: str | None = None) -> Home:
        """The folder named by `chosen`, else by `FARWATCH_HOME`, else `.farwatch/` in the checkout."""
        named = chosen or os.environ.get("FARWATCH_HOME")
        return cls(Path(named).expanduser().resolve() if named else CHECKOUT / ".farwatch")

    def path(self, *parts: str) -> Path:
        """A path below the data folder."""
        return self.root.joinpath(*parts)

    @property
    def logs(self) -> Path:
        """Folder of one log file per part."""
        return self.root / "logs"

    @property
    def secrets(self) -> Path:
        """The secrets document that functions and command-line programs read."""
        return self.root / "secrets.json"

    def log(self, part: str) -> Path:
        """The log file of `part`."""
        return self.logs / f"{part}.log"

    def create(self) -> None:
        """Make the folder, closed to others except for passing through (PostgreSQL may run as another user)."""
        self.root.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o711)
        self.logs.mkdir(exist_ok=True)
        self.logs.chmod(0o700)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder for one supervisor. Raises `AlreadyRunning`; the kernel frees it whatever happens."""
        with (self.root / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AlreadyRunning(f"{self.root} is in use by a running Farwatch") from None
            yield

    def is_held(self) -> bool:
        """Whether a supervisor holds the folder now."""
        try:
            with self.held():
                return False
        except AlreadyRunning:
            return True
        except FileNotFoundError:
            return False


@dataclass(frozen=True)
class Ports:
    """The four ports of one installation: a base port and the three after it."""

    base: int

    @property
    def dashboard(self) -> int:
        """Port of the Streamlit dashboard."""
        return self.base

    @property
    def engine(self) -> int:
        """Port of the local engine: HTTP API, WebSocket API, queues."""
        return self.base + 1

    @property
    def postgres(self) -> int:
        """Port of PostgreSQL."""
        return self.base + 2

    @property
    def valkey(self) -> int:
        """Port of Valkey."""
        return self.base + 3

    def of(self) -> dict[str, int]:
        """Part -> port, for every part that listens."""
        return {
            "dashboard": self.dashboard,
            "engine": self.engine,
            "postgres": self.postgres,
            "valkey": self.valkey,
        }

    def urls(self) -> dict[str, str]:
        """The addresses people and programs use."""
        engine = f"127.0.0.1:{self.engine}/_aws/execute-api"
        return {
            "dashboard_url": f"http://127.0.0.1:{self.dashboard}",
            "api_url": f"http://{engine}/farwatch",
            "ws_url": f"ws://{engine}/farwatchws/live",
        }


@dataclass
class PartState:
    """One process as `state.json` knows it. `started` is the kernel's start time, which tells reused ids apart."""

    pid: int
    started: int
    state: str = "starting"
    restarts: int = 0


@dataclass
class State:
    """What runs now. Written by the supervisor, read by every other command."""

    supervisor_pid: int = 0
    supervisor_started: int = 0
    port_base: int = DEFAULT_PORT_BASE
    ready: bool = False
    demo: bool = False
    parts: dict[str, PartState] = field(default_factory=dict)

    @classmethod
    def load(cls, home: Home) -> State:
        """What the last supervisor wrote; an empty state when there is none or it cannot be read."""
        try:
            data: dict[str, Any] = json.loads((home.root / "state.json").read_text())
            parts = {name: PartState(**part) for name, part in data.pop("parts").items()}
            data.pop("urls")
            return cls(parts=parts, **data)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return cls()

    def save(self, home: Home) -> None:
        """Write the state, all of it or nothing."""
        data = {**asdict(self), "urls": Ports(self.port_base).urls()}
        write_private(home.root / "state.json", json.dumps(data, indent=1))

    def supervisor_runs(self) -> bool:
        """Whether the supervisor that wrote this state is alive."""
        return is_process(self.supervisor_pid, self.supervisor_started)


def write_private(path: Path, text: str) -> None:
    """Replace `path` by a file that only its owner can read; readers see the old text or the new, never half."""
    scratch = path.with_name(path.name + ".new")
    with suppress(FileNotFoundError):
        scratch.unlink()
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)


def start_time(pid: int) -> int:
    """When process `pid` started, in kernel ticks since boot; 0 when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    fields = stat.rpartition(")")[2].split()
    return 0 if fields[0] == "Z" else int(fields[19])


def is_process(pid: int, started: int) -> bool:
    """Whether `pid` is alive and still the process that started at `started`."""
    return pid > 0 and started > 0 and start_time(pid) == started
