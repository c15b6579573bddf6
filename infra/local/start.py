"""What `up`, `up --detach` and `down` do around the supervisor: hold the folder, print, wait, explain."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from infra.local.home import CHECKOUT, AlreadyRunning, Home, Ports, State, is_process

if TYPE_CHECKING:
    from pathlib import Path

_FAILED = 1
_PORT_OPTION = "--port-base"
_SECRET_PIPE = "FARWATCH_SECRET_PIPE"  # noqa: S105 - the name of a variable that holds a file descriptor


def foreground(home: Home, base: int, *, demo: bool) -> int:
    """Run until Ctrl-C, SIGTERM or `down`; return the exit code."""
    from infra.local.supervisor import Supervisor

    refusal = _made(home)
    if refusal:
        return _failed(refusal)
    try:
        with home.held():
            _say(f"Starting Farwatch, with its data in {home.root}")
            supervisor = Supervisor(home, Ports(base), demo=demo, say=_say, tell_once=_tell_once)
            asyncio.run(supervisor.run())
            _say("Stopped.")
            return 0
    except AlreadyRunning:
        urls = Ports(State.load(home).port_base).urls()
        return _failed(
            f"Farwatch is already running in {home.root}: {urls['dashboard_url']}. ./farwatch status shows how it "
            "is, ./farwatch down stops it, --data starts another one elsewhere."
        )
    except Exception as error:
        if os.environ.get("FARWATCH_DEBUG"):
            raise
        return _failed(
            f"{_described(error)}\nNothing is left running. ./farwatch doctor looks for the cause."
        )


def detached(home: Home, base: int, *, demo: bool) -> int:
    """Start a supervisor of its own, print its progress, and return when it is ready or has failed."""
    refusal = _made(home)
    if refusal:
        return _failed(refusal)
    if home.is_held():
        return foreground(home, base, demo=demo)  # which says that it runs already
    log = home.log("supervisor")
    reader, writer = os.pipe()
    with log.open("ab") as output:
        begin = output.tell()
        argv = [
            sys.executable,
            "-I",
            "-m",
            "infra.local",
            "up",
            "--data",
            str(home.root),
            _PORT_OPTION,
            str(base),
        ]
        child = subprocess.Popen(
            [*argv, *(["--demo"] if demo else [])],
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env={**os.environ, _SECRET_PIPE: str(writer)},
            pass_fds=[writer],
        )
    os.close(writer)
    while True:
        begin = _print_from(log, begin)
        if child.poll() is not None:
            _print_from(log, begin)
            return child.returncode or _FAILED
        state = State.load(home)
        if state.supervisor_pid == child.pid and state.ready:
            _print_from(log, begin)
            with os.fdopen(reader) as told:  # ends when the supervisor closes its side
                sys.stdout.write(told.read())
            return 0
        time.sleep(0.05)


def stop(home: Home, patience: float = 30.0) -> int:
    """Ask the running supervisor to end and wait for it; end orphans of one that was killed."""
    from infra.local.process import end_orphans

    state = State.load(home)
    if state.supervisor_runs():
        os.kill(state.supervisor_pid, signal.SIGTERM)
        deadline = time.monotonic() + patience
        while is_process(state.supervisor_pid, state.supervisor_started):
            if time.monotonic() > deadline:
                return _failed(f"Process {state.supervisor_pid} has not ended within {patience:.0f} s.")
            time.sleep(0.05)
        _say("Stopped.")
        return 0
    left = end_orphans(state.parts)
    _say(f"Ended what a killed run had left behind: {', '.join(left)}." if left else "Nothing was running.")
    return 0


def _made(home: Home) -> str:
    """Make the data folder; return why that cannot be, empty when it is there."""
    try:
        home.create()
    except OSError as error:
        return f"The data folder {home.root} cannot be made: {error.strerror}. Choose another with --data."
    return ""


def _tell_once(text: str) -> None:
    """Tell the person who ran the command: on the terminal, or by the pipe of `up --detach`, and in no log."""
    pipe = os.environ.pop(_SECRET_PIPE, "")
    line = f"{text}\n" if text else ""
    if not pipe:
        sys.stdout.write(line)
        sys.stdout.flush()
        return
    try:
        with os.fdopen(int(pipe), "w") as person:  # closing it is the sign that nothing more comes
            person.write(line)
    except BrokenPipeError as error:
        raise RuntimeError(
            "The command that started this is gone, so nobody would read the first password. Start it again."
        ) from error


def _print_from(log: Path, begin: int) -> int:
    with log.open("rb") as file:
        file.seek(begin)
        sys.stdout.write(file.read().decode(errors="replace"))
        sys.stdout.flush()
        return file.tell()


def _described(error: BaseException) -> str:
    """An exception as one sentence for people; a full disk is named as such wherever it showed."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'The disk'}: {error.strerror}."
    return str(error) or type(error).__name__


def _say(line: str) -> None:
    print(line, flush=True)


def _failed(message: str) -> int:
    print(f"✗ {message}", file=sys.stderr, flush=True)
    return _FAILED
