"""Keeps the simulated fleet alive: twenty agents in one process, with the real agent's spool and sender.

Only the collectors are simulated; batches, acknowledgement, back-off, renewal of the credential and the interval that the
server sets are the agent's own. Spools are in memory, since a demonstration has nothing to lose.
"""

from __future__ import annotations

import argparse
import heapq
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from collector_agent.batch import Builder
from collector_agent.collectors import Sample
from collector_agent.collectors.processes import TopProcess
from collector_agent.log import Log
from collector_agent.renewal import Renewal
from collector_agent.sender import Sender
from collector_agent.spool import Limits, Spool
from collector_agent.state import load_credentials
from collector_agent.ticker import Ticker
from collector_agent.transport import Transport
from infra.local.demo.fleet import DemoHost
from infra.local.demo.history import Series, measure
from infra.local.demo.load import DemoError, DemoState, agent_folder
from infra.local.demo.trouble import Plan
from infra.local.home import Home, Ports, State

_INTERVAL_S = 5.0


class DemoAgent:
    """One simulated host: samples come from the plan, everything after that is the real agent."""

    def __init__(
        self,
        plan: Plan,
        host: DemoHost,
        folder: Path,
        transport: Transport,
        log: Log,
        phase_s: float,
    ) -> None:
        """``folder`` holds the host's credential. Ticks fall ``phase_s`` seconds after multiples of the interval, which
        spreads the fleet evenly. Raises :class:`DemoError` when the host is not enrolled.
        """
        held = load_credentials(folder)
        if held is None:
            raise DemoError(f"{folder}: {host.name} is not enrolled yet")
        self._plan = plan
        self._host = host
        self._phase_s = phase_s
        self._started = False
        self._ticker = Ticker(_INTERVAL_S)
        self._builder = Builder(version="0.1.0-demo", started_at_ms=time.time_ns() // 1_000_000)
        self._spool = Spool(None, log, Limits(batches=2000))
        self.sender = Sender(
            self._spool,
            transport,
            log,
            host_id=held.host_id,
            credential=held.credential,
            renewal=Renewal(folder, held, transport, log),
            own=self._own,
            on_interval=self._interval_told,
        )

    def start(self) -> None:
        """Begin to deliver; at the second call nothing happens."""
        if not self._started:
            self._started = True
            self.sender.start()

    def wait(self, wall: float) -> float:
        """Return the seconds until this host samples next."""
        return self._ticker.wait(wall - self._phase_s)

    def tick(self, wall: float) -> None:
        """Take one batch and hand it to the sender; nothing while the plan has the host silent."""
        tick = self._ticker.tick(wall - self._phase_s)
        if tick is None:
            return
        time_ms = tick.time_ms + round(self._phase_s * 1000)
        if tick.stepped_back:
            self._spool.begin_generation()
        series = measure(self._plan, self._host, np.array([time_ms], np.int64))
        samples: list[Sample] = [
            (name, labels, float(values[0]))
            for (name, labels), values in series.items()
            if not np.isnan(values[0])
        ]
        if not samples:
            return
        self._builder.add(time_ms, samples, self._top(time_ms, series))
        payload = self._builder.take(self._ticker.interval)
        if payload is not None:
            self._spool.append(payload)
            self.sender.spooled()

    def _interval_told(self, interval: float) -> None:
        self._ticker.interval = interval

    def _own(self) -> dict[str, float]:
        return {"spool_batches": self._spool.batches, "dropped_samples": self._spool.dropped_samples}

    def _top(self, now: int, series: Series) -> list[TopProcess]:
        """Return the busiest processes, the culprit of a running trouble first."""
        host = self._host
        cores = float(series["cpu.percent", ()][0]) / 100 * host.cpus
        used = float(series["memory.used_bytes", ()][0])
        shares = [0.42, 0.27, 0.18, 0.08]
        top: list[TopProcess] = []
        kinds = {trouble.kind for trouble in self._plan.of(host.name, now, now)}
        if "cpu_hog" in kinds:
            top.append(_process(41_713, "report-render", 88.0 * cores, 9e8))
            cores *= 0.12
        if "io_saturation" in kinds:
            top.append(_process(39_027, "backup-dump", 35.0, 4e8))
        for index, (name, share) in enumerate(zip(host.processes, shares, strict=False)):
            top.append(_process(1100 + 37 * index, name, 100 * cores * share, used * share * 0.8))
        return top


def _process(pid: int, name: str, cpu_percent: float, rss: float) -> TopProcess:
    return {"pid": pid, "name": name, "cpu_percent": round(cpu_percent, 1), "rss_bytes": int(rss)}


def feed(
    state: DemoState,
    folder: Path,
    api_url: str,
    log: Log,
    stop: threading.Event,
    *,
    stagger_s: float = 0.75,
) -> None:
    """Sample and send for the whole fleet until ``stop`` is set; hosts start ``stagger_s`` seconds apart.

    ``folder`` is the demonstration's. Raises :class:`DemoError` when a host of it is not enrolled.
    """
    hosts, plan = state.plan()
    agents = []
    for index, host in enumerate(hosts):
        phase_s = index * _INTERVAL_S / len(hosts)
        transport = Transport(api_url, timeout=10.0)
        agents.append(DemoAgent(plan, host, agent_folder(folder, host.name), transport, log, phase_s))
    log.info("demonstration started", hosts=len(agents), server=api_url)
    # One after another: twenty at once would make a small machine start twenty workers at the same moment.
    due = [(time.monotonic() + index * stagger_s, index) for index in range(len(agents))]
    try:
        while not stop.wait(max(0.0, due[0][0] - time.monotonic())):
            agent = agents[due[0][1]]
            agent.start()
            agent.tick(time.time())
            heapq.heapreplace(due, (time.monotonic() + agent.wait(time.time()), due[0][1]))
    finally:
        for agent in agents:
            agent.sender.stop(0.1)
        log.info("demonstration stopped")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the feeder of one installation until SIGTERM; exit status 1 when there is no demonstration to run."""
    parser = argparse.ArgumentParser(prog="python -m infra.local.demo.feed", description=__doc__)
    parser.add_argument("--home", help="data folder (default FARWATCH_HOME, else .farwatch)")
    parser.add_argument("--api-url", help="default: that of the running installation")
    arguments = parser.parse_args(argv)
    home = Home.find(arguments.home)
    log = Log("info")
    state = DemoState.read(demo_folder(home))
    if state is None:
        log.error("there is no demonstration in this data folder", folder=str(demo_folder(home)))
        return 1
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    feed(
        state,
        demo_folder(home),
        arguments.api_url or Ports(State.load(home).port_base).urls()["api_url"],
        log,
        threading.Event(),
    )
    return 0


def _leave(*_: object) -> None:
    """End the program; setting an event here could wait for a lock that the interrupted thread holds."""
    raise SystemExit(0)


def demo_folder(home: Home) -> Path:
    """Return where the identities and the plan of the demonstration are kept."""
    return home.path("demo")


if __name__ == "__main__":
    raise SystemExit(main())
