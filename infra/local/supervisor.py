"""Starts every part of one installation, keeps it running and stops it.

Parts start side by side; the agent waits for the API, and the API for all but the dashboard. A part that dies is
started again, at once the first time and then with growing pauses. The engine is deployed anew each time, under
the same ids, so its URLs stay.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import time
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING

from infra.local import engine, first_run
from infra.local.deploy import run_now
from infra.local.function_logs import FunctionLogs
from infra.local.home import DEFAULT_PORT_BASE, Home, Ports, State, start_time
from infra.local.keys import Keys, secrets_document
from infra.local.parts import Part, dashboard_part, engine_part, postgres_part, valkey_part
from infra.local.process import Child, bound_log, end_orphans

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

_PAUSES = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
_STEADY_AFTER = 60.0
_NEEDED_BYTES = 300_000_000
_LOG_PAUSE = 2.0
_ENGINE_BYTES = 1_500_000_000
_FRONT = ("dashboard", "agent", "demo", "demo-history")  # stopped first: they use the others


class StartError(RuntimeError):
    """What `up` needs is not there, or a part did not start. The message says what and how to mend it."""


class Supervisor:
    """Runs one data folder, which the caller holds. `say` receives progress, a line at a time."""

    def __init__(
        self,
        home: Home,
        ports: Ports,
        *,
        demo: bool,
        say: Callable[[str], None],
        tell_once: Callable[[str], None],
    ) -> None:
        """``say`` reports progress and may be a log; ``tell_once`` reaches a person only: it is given the first password."""
        self._home = home
        self._tell_once = tell_once
        self._ports = ports
        self._say = say
        self._began = time.monotonic()
        self._children: dict[str, Child] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()
        me = os.getpid()
        self._state = State(me, start_time(me), ports.base, demo=demo)

    async def run(self) -> None:
        """Start, supervise until a signal or `stop()`, and stop every part.

        Raises `StartError`, or what a part's own set-up raises, when the start fails; nothing is left running.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self.stop)
        try:
            if await self._unless_stopped(self._start()):
                await self._stopping.wait()
        finally:
            await self._stop_everything()

    def stop(self) -> None:
        """Ask for an orderly end. May be called more than once."""
        self._stopping.set()

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> bool:
        """Do `work` unless a stop is asked for meanwhile; True when it was done. Raises what `work` raises."""
        task = asyncio.create_task(work)
        stop = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            return False
        await task
        return True

    # ------------------------------------------------------------------------------------------- start

    async def _start(self) -> None:
        home, ports = self._home, self._ports
        left = await asyncio.to_thread(end_orphans, State.load(home).parts)
        if left:
            self._say(f"  Ended what a killed run had left behind: {', '.join(left)}.")
        _check_space(home)
        await _check_ports(ports)
        keys = Keys.load_or_make(home)
        document = secrets_document(home, keys, ports)
        self._state.save(home)
        dashboard = asyncio.create_task(self._bring_up(dashboard_part(home, ports, keys, document)))
        try:
            await _all(
                self._bring_up(engine_part(home, ports, document)),
                self._bring_up(postgres_part(home, ports, keys, document)),
                self._bring_up(valkey_part(home, ports, keys)),
            )
            api = ports.urls()["api_url"]
            await self._until_ready(f"{api}/api/v1/health/ready")
            await asyncio.to_thread(first_run.stock_rules, home)
            await asyncio.to_thread(first_run.enrol_this_host, home, api)
            await self._bring_up(first_run.agent_part(home, api))
            await dashboard
        finally:
            dashboard.cancel()
        self._say(f"\nReady in {time.monotonic() - self._began:.1f} s.\n{_summary(ports, home)}")
        # Last of all: a start that fails must not have used up the one showing of the password.
        await asyncio.to_thread(first_run.first_administrator, home, self._tell_once)
        self._state.ready = True
        self._state.save(home)
        self._keepers.append(asyncio.create_task(self._tidy_logs()))
        self._keepers.append(asyncio.create_task(self._bound_engine()))
        await asyncio.to_thread(run_now, f"http://127.0.0.1:{ports.engine}", "sweep", "forecast")
        if self._state.demo:
            self._keepers.append(asyncio.create_task(self._run_demo(api)))

    async def _bring_up(self, part: Part) -> None:
        """Start `part`, wait until it can be used, and keep it from then on."""
        began = time.monotonic()
        await self._launch(part)
        self._say(f"  ✓ {part.title:<11} {part.where} ({time.monotonic() - began:.1f} s)")
        self._keepers.append(asyncio.create_task(self._keep(part)))

    async def _launch(self, part: Part) -> None:
        command = await asyncio.to_thread(part.command)
        child = Child(command, self._home.log(part.name))
        before = self._state.parts.get(part.name)
        child.state.restarts = before.restarts if before else 0
        self._children[part.name] = child
        self._mark(part, child, "starting")
        deadline = time.monotonic() + part.patience
        while not await asyncio.to_thread(part.answers):
            if child.exited() is not None:
                raise StartError(f"{part.title} ended while starting. {self._last_words(part)}")
            if time.monotonic() > deadline:
                raise StartError(
                    f"{part.title} did not answer within {part.patience:.0f} s. {self._last_words(part)}"
                )
            await asyncio.sleep(0.02)
        if part.settle is not None:
            await asyncio.to_thread(part.settle)
        self._mark(part, child, "running")

    def _mark(self, part: Part, child: Child, word: str) -> None:
        child.state.state = word
        self._state.parts[part.name] = child.state
        self._state.save(self._home)

    def _last_words(self, part: Part) -> str:
        log = self._home.log(part.name)
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()][-3:]
        return f"Its log, {log}, ends: " + " / ".join(lines)

    async def _until_ready(self, url: str, patience: float = 120.0) -> None:
        deadline = time.monotonic() + patience
        while (status := await asyncio.to_thread(engine.fetch_status, url, 30.0)) != 200:
            if time.monotonic() > deadline:
                raise StartError(
                    f"The API is not ready: GET {url} answered {status or 'nothing'}. "
                    "See ./farwatch logs engine."
                )
            await asyncio.sleep(0.05)

    async def _run_demo(self, api: str) -> None:
        """Add the demonstration fleet to an installation that people use already: live samples, then history."""
        try:
            await asyncio.to_thread(first_run.enrol_demo, self._home, api)
            await self._bring_up(first_run.demo_part(self._home, api))
            log = self._home.log("demo-history")
            loader = Child(first_run.demo_history(self._home), log)
            self._children["demo-history"] = loader
            self._say("  … writing the fleet's history; the last hours come first")
            while loader.exited() is None:
                await asyncio.sleep(0.2)
            del self._children["demo-history"]
            word = log.read_text(errors="replace").strip().splitlines()[-1:]
            self._say(f"  {'✗' if loader.exited() else '✓'} Demo fleet  {' '.join(word)}")
            await asyncio.to_thread(run_now, f"http://127.0.0.1:{self._ports.engine}", "forecast")
        except Exception as error:  # noqa: BLE001 - the installation is worth having without it
            self._say(f"  ✗ Demo fleet  {error}")

    # --------------------------------------------------------------------------------------- keep going

    async def _keep(self, part: Part) -> None:
        """Start `part` again whenever it ends."""
        failures = 0
        while True:
            child, since = self._children[part.name], time.monotonic()
            while child.exited() is None:
                await asyncio.sleep(0.1)
            child.kill_group()
            if time.monotonic() - since > _STEADY_AFTER:
                failures = 0
            child.state.restarts += 1
            self._mark(part, child, "restarting")
            self._say(f"  ! {part.title} ended ({_reason(child.exited())}); starting it again")
            began = time.monotonic()
            while True:
                await asyncio.sleep(_PAUSES[min(failures, len(_PAUSES) - 1)])
                failures += 1
                try:
                    await self._launch(part)
                    break
                except Exception as error:  # noqa: BLE001 - whatever it is, the part must be tried again
                    self._say(f"  ! {part.title}: {error}")
                    failed = self._children[part.name]
                    failed.ask_to_stop()
                    await asyncio.to_thread(failed.finish, time.monotonic() + 5.0)
            self._say(f"  ✓ {part.title} works again ({time.monotonic() - began:.1f} s)")

    async def _tidy_logs(self) -> None:
        while True:
            await asyncio.sleep(30)
            for log in self._home.logs.glob("*.log"):
                await asyncio.to_thread(bound_log, log)

    async def _bound_engine(self) -> None:
        """Keep the engine's memory bounded: take its functions' logs, and end it should it grow all the same."""
        from botocore.exceptions import BotoCoreError, ClientError

        logs = FunctionLogs(f"http://127.0.0.1:{self._ports.engine}", self._home.log("functions"))
        while True:
            await asyncio.sleep(_LOG_PAUSE)
            try:
                await asyncio.to_thread(logs.drain)
            except (BotoCoreError, ClientError):
                continue  # it is being started again; its part says so
            child = self._children["engine"]
            if child.resident_bytes() > _ENGINE_BYTES:
                self._say("  ! The engine has grown too large; it is ended, and starts again")
                child.process.kill()

    # --------------------------------------------------------------------------------------------- stop

    async def _stop_everything(self) -> None:
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        front = {name: child for name, child in self._children.items() if name in _FRONT}
        back = {name: child for name, child in self._children.items() if name not in _FRONT}
        for group, grace in ((front, 3.0), (back, 10.0)):
            for child in group.values():
                child.ask_to_stop()
            deadline = time.monotonic() + grace
            await asyncio.gather(*(asyncio.to_thread(child.finish, deadline) for child in group.values()))
        self._state.parts.clear()
        self._state.ready = False
        self._state.supervisor_pid = 0
        self._state.save(self._home)


async def _all(*work: Coroutine[Any, Any, None]) -> None:
    """Do all of `work` side by side; the first failure cancels the rest and is raised."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _reason(code: int | None) -> str:
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"


def _check_space(home: Home) -> None:
    free = shutil.disk_usage(home.root).free
    if free < _NEEDED_BYTES:
        raise StartError(
            f"Only {free // 1_000_000} MB are free where {home.root} is, and at least "
            f"{_NEEDED_BYTES // 1_000_000} MB are needed. Free some space, or choose another folder with --data."
        )


async def _check_ports(ports: Ports) -> None:
    """Raise `StartError` for a port that somebody else listens on. A port just given up gets a second's grace."""
    for part, port in ports.of().items():
        for attempt in range(20):
            if free(port):
                break
            if attempt == 19:
                raise StartError(
                    f"Port {port}, which {part} needs, is taken{taken_by(port)}. Stop what uses it, or choose "
                    f"four other ports: ./farwatch up --port-base {_free_base(ports.base)}"
                )
            await asyncio.sleep(0.05)


def free(port: int) -> bool:
    """Whether nobody listens on 127.0.0.1:`port`."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _free_base(taken: int) -> int:
    bases = chain(range(taken + 10, 65_000, 10), range(DEFAULT_PORT_BASE, 65_000, 10))
    return next(base for base in bases if all(free(base + i) for i in range(4)))


def taken_by(port: int) -> str:
    """Who listens on `port`, as the end of a sentence; nothing when that cannot be seen."""
    import psutil

    try:
        for connection in psutil.net_connections("tcp"):
            listens = (
                connection.status == psutil.CONN_LISTEN and getattr(connection.laddr, "port", None) == port
            )
            if listens and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        pass  # only root may see other people's sockets; the port's number still helps
    return ""


def _summary(ports: Ports, home: Home) -> str:
    urls = ports.urls()
    return "\n".join(
        [
            f"  Dashboard  {urls['dashboard_url']}",
            f"  API        {urls['api_url']}",
            f"  WebSocket  {urls['ws_url']}",
            f"  Data       {home.root}",
            "  Ctrl-C or ./farwatch down stops it; ./farwatch status shows how it is.",
        ]
    )
