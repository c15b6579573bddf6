"""A whole installation for tests: `up` in a folder and on ports of its own, with helpers to use and to hurt it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.local.home import CHECKOUT, Home, State

START_PATIENCE = 180.0


@dataclass
class RunningStack:
    """An installation that is ready. `output` is what `up` printed so far."""

    home: Home
    base: int
    process: subprocess.Popen[bytes]
    log: Path
    _token: str = field(default="", repr=False)

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def dashboard_url(self) -> str:
        return f"http://127.0.0.1:{self.base}"

    @property
    def engine_url(self) -> str:
        return f"http://127.0.0.1:{self.base + 1}"

    @property
    def api_url(self) -> str:
        return f"{self.engine_url}/_aws/execute-api/farwatch"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.base + 1}/_aws/execute-api/farwatchws/live"

    @property
    def secrets(self) -> dict[str, Any]:
        """The secrets document: `database_url`, `redis_url` and the rest."""
        document: dict[str, Any] = json.loads(self.home.secrets.read_text())
        return document

    @property
    def admin(self) -> tuple[str, str]:
        """E-mail and password of the first administrator, as `up` printed them."""
        found = re.search(r"Sign in as (\S+) with the password (\S+)", self.output)
        assert found, f"up printed no password:\n{self.output}"
        return found[1], found[2]

    def call(self, method: str, path: str, body: Any = None, *, token: str | None = None) -> tuple[int, Any]:
        """Call the API as the administrator (or with `token`, or with none for ""); return status and JSON."""
        request = urllib.request.Request(f"{self.api_url}{path}", method=method)
        bearer = self.token() if token is None else token
        if bearer:
            request.add_header("Authorization", f"Bearer {bearer}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                text, status = answer.read(), answer.status
        except urllib.error.HTTPError as error:
            text, status = error.read(), error.code
        return status, json.loads(text) if text else None

    def token(self) -> str:
        """An access token of the administrator."""
        if not self._token:
            email, password = self.admin
            status, answer = self.call(
                "POST", "/api/v1/auth/login", {"email": email, "password": password}, token=""
            )
            assert status == 200, answer
            self._token = answer["access_token"]
        return self._token

    @property
    def own_host(self) -> dict[str, Any]:
        """The host that the installation's own agent watches: this one."""
        status, fleet = self.call("GET", "/api/v1/hosts")
        assert status == 200, fleet
        [own] = [host for host in fleet["items"] if host["labels"].get("env") == "local"]
        return dict(own)

    def pid(self, part: str) -> int:
        """The process id of a part."""
        return State.load(self.home).parts[part].pid

    def kill(self, part: str) -> None:
        """`kill -9` a part's process."""
        os.kill(self.pid(part), signal.SIGKILL)

    def wait_until_back(self, part: str, before: int, patience: float = 120.0) -> float:
        """Wait until `part` runs as another process than `before`; return how many seconds that took."""
        began = time.monotonic()
        while time.monotonic() - began < patience:
            state = State.load(self.home).parts.get(part)
            if state is not None and state.pid != before and state.state == "running":
                return time.monotonic() - began
            time.sleep(0.05)
        raise AssertionError(f"{part} did not come back within {patience:.0f} s:\n{self.output}")

    def last_words(self, lines: int = 6) -> list[tuple[str, str]]:
        """The name and the last lines of each log, and of the functions' log only what they complained of."""
        logs = {"up": self.output}
        logs |= {path.stem: path.read_text(errors="replace") for path in sorted(self.home.logs.glob("*.log"))}
        complaints = [
            line for line in logs.get("functions", "").splitlines() if '"level": "INFO"' not in line
        ]
        logs["functions"] = "\n".join(complaints)
        tails = {name: [line[:400] for line in text.splitlines()[-lines:]] for name, text in logs.items()}
        return [(name, "\n".join(tail)) for name, tail in tails.items() if tail]

    def stop(self) -> int:
        """Ctrl-C; return the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


@contextmanager
def open_folder() -> Iterator[Path]:
    """A temporary folder that PostgreSQL's user can pass through; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory(prefix="farwatch-stack-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


def free_base() -> int:
    """The first of four ports in a row that nobody listens on."""
    for _ in range(200):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            base: int = probe.getsockname()[1]
        if base < 65_000 and all(_is_free(base + offset) for offset in range(4)):
            return base
    raise RuntimeError("no four free ports in a row")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def environment() -> dict[str, str]:
    """The environment for a command line of ours: this checkout's code, and nobody's data folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FARWATCH_", "AWS_"))}
    return {**kept, "PYTHONPATH": f"{CHECKOUT}:{CHECKOUT / 'layers' / 'core'}"}


def farwatch(*arguments: str, home: Home) -> subprocess.CompletedProcess[str]:
    """Run one command of the command line on `home` and return what it printed."""
    return subprocess.run(
        [sys.executable, "-m", "infra.local", *arguments, "--data", str(home.root)],
        cwd=CHECKOUT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )


@contextmanager
def running_stack(
    folder: Path, *options: str, base: int | None = None, settings: Mapping[str, str] | None = None
) -> Iterator[RunningStack]:
    """Run `up` with its data in `folder` and `settings` in its environment, yield it once it is ready, and stop it."""
    chosen = base or free_base()
    home = Home(folder)
    log = folder.with_name(folder.name + ".out")
    argv = [sys.executable, "-m", "infra.local", "up", "--data", str(folder), "--port-base", str(chosen)]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*argv, *options],
            cwd=CHECKOUT,
            env={**environment(), **(settings or {})},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    stack = RunningStack(home, chosen, process, log)
    try:
        deadline = time.monotonic() + START_PATIENCE
        while not (State.load(home).supervisor_pid == process.pid and State.load(home).ready):
            assert process.poll() is None, f"up ended:\n{stack.output}"
            assert time.monotonic() < deadline, f"up was not ready in time:\n{stack.output}"
            time.sleep(0.05)
        yield stack
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
