"""Child processes that cannot outlive their supervisor, and finding those of one that was killed."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from infra.local.home import PartState, is_process, start_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_LOG_LIMIT = 20_000_000
_LOG_KEPT = 5_000_000
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Command:
    """How to start one part: `user` is a uid and gid to become, `stop` the signal that ends it in good order."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    stop: signal.Signals = signal.SIGTERM
    user: int | None = None


class Child:
    """A running process in a session of its own, its output in a log file.

    Must be created in the main thread: Linux sends the parent-death signal when the *thread* that forked ends.
    """

    def __init__(self, command: Command, log: Path) -> None:
        self._stop = command.stop
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                list(command.argv),
                env=dict(command.env),
                cwd=command.cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                user=command.user,
                group=command.user,
                extra_groups=[] if command.user is not None else None,
                preexec_fn=_dies_with_parent(command.stop),  # noqa: PLW1509 - one system call, no locks, no imports
            )
        self.state = PartState(self.process.pid, start_time(self.process.pid))

    def exited(self) -> int | None:
        """The exit code, or None while it runs."""
        return self.process.poll()

    def resident_bytes(self) -> int:
        """Physical memory of the process itself; 0 once it has ended."""
        try:
            pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return 0
        return pages * os.sysconf("SC_PAGE_SIZE")

    def ask_to_stop(self) -> None:
        """Send the part's own stop signal."""
        with suppress(ProcessLookupError):
            self.process.send_signal(self._stop)

    def finish(self, deadline: float) -> None:
        """Wait for the end until `deadline` (monotonic), then kill; whatever the process left behind goes too."""
        try:
            self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.kill_group()

    def kill_group(self) -> None:
        """Kill what is left of the process's session, such as the engine's function workers."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)


def _dies_with_parent(stop: signal.Signals) -> Callable[[], None] | None:
    if _libc is None:
        return None
    libc, parent = _libc, os.getpid()

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, stop)
        if os.getppid() != parent:  # the supervisor died between fork and here
            os.kill(os.getpid(), stop)

    return prepare


def end_orphans(parts: Mapping[str, PartState], grace: float = 5.0) -> list[str]:
    """End the parts of a supervisor that was killed; return the names of those that were still there.

    Each gets SIGTERM (PostgreSQL: SIGINT, its fast shutdown) and, after `grace` seconds, SIGKILL.
    """
    alive = {name: part for name, part in parts.items() if is_process(part.pid, part.started)}
    for name, part in alive.items():
        _signal(part.pid, signal.SIGINT if name == "postgres" else signal.SIGTERM)
    deadline = time.monotonic() + grace
    while time.monotonic() < deadline and any(is_process(p.pid, p.started) for p in alive.values()):
        time.sleep(0.05)
    for part in parts.values():
        if is_process(part.pid, part.started):
            _signal(part.pid, signal.SIGKILL)
    for part in alive.values():
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(part.pid, signal.SIGKILL)
    return list(alive)


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def bound_log(log: Path) -> None:
    """Keep a log file below 20 MB: its last 5 MB move to `NAME.1` and it starts again.

    Writers append, so they go on at the new end; a line written between copy and cut may be lost.
    """
    try:
        size = log.stat().st_size
        if size < _LOG_LIMIT:
            return
        with log.open("rb+") as file:
            file.seek(size - _LOG_KEPT)
            file.readline()
            log.with_name(log.name + ".1").write_bytes(file.read())
            file.truncate(0)
    except OSError as error:
        print(f"  ! {log} could not be shortened: {error.strerror}", file=sys.stderr)
