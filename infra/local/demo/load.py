"""Enrols the simulated fleet and writes its history through the metric store."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from collector_agent.enrolment import ENROL_PATH
from collector_agent.state import Credentials, save_credentials
from collector_agent.transport import Transport
from infra.local.demo.fleet import DemoHost, fleet
from infra.local.demo.history import Series, history
from infra.local.demo.noise import Times
from infra.local.demo.trouble import DAY_MS, HOUR_MS, MINUTE_MS, Plan
from infra.local.home import write_private

if TYPE_CHECKING:
    from farwatch.domain.samples import SampleBlock
    from farwatch.ports.metric_store import MetricStore

_STATE = "fleet.json"
_RAW_MS = 2 * HOUR_MS
_RAW_STEP_S = 30


class DemoError(Exception):
    """The demonstration cannot be set up; the message says why."""


@dataclass
class DemoState:
    """What is kept of a demonstration between runs; ``hosts`` holds host ids by host name.

    Each host's credential lies in a folder of its own, as an agent's does, because it is renewed as an agent's is.
    """

    seed: int
    anchor: int
    loaded_through: int = 0
    hosts: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> DemoState | None:
        """Return the state kept in ``folder``, or None when there is none."""
        try:
            return cls(**json.loads((folder / _STATE).read_text()))
        except FileNotFoundError:
            return None

    def save(self, folder: Path) -> None:
        """Keep the state, readable by its owner alone."""
        folder.mkdir(parents=True, exist_ok=True)
        write_private(folder / _STATE, json.dumps(asdict(self), indent=1))

    def plan(self) -> tuple[tuple[DemoHost, ...], Plan]:
        """Return the fleet and its troubles."""
        hosts = fleet(self.seed)
        return hosts, Plan(hosts, self.anchor, self.seed)


@dataclass(frozen=True)
class Loaded:
    """What one call of :func:`load` did."""

    hosts: int
    samples: int
    seconds: float


def enrol(
    *,
    api_url: str,
    folder: Path,
    new_token: Callable[[], str],
    is_known: Callable[[str], bool],
    now: int | None = None,
    seed: int = 7,
) -> int:
    """Give the fleet its identities, unless it has them; return how many hosts were enrolled.

    ``folder`` keeps identities and plan (and ``manifest.json``, the troubles injected). ``new_token`` returns an
    enrolment token good for twenty hosts; ``is_known`` says whether the back end still has a host id. Afterwards
    the feeder can start, also before the history is loaded. Raises :class:`DemoError` when the API refuses.
    """
    state = DemoState.read(folder)
    if state is None or state.seed != seed or not all(map(is_known, state.hosts.values())):
        state = DemoState(seed, _minute(now))
    hosts, plan = state.plan()
    missing = [host for host in hosts if host.name not in state.hosts]
    if missing:
        _enrol(missing, state, folder, api_url, new_token())
    (folder / "manifest.json").write_text(json.dumps(plan.manifest(), indent=1))
    return len(missing)


def agent_folder(folder: Path, host_name: str) -> Path:
    """Return the state folder of one host's agent."""
    return folder / "agents" / host_name


def load(store: MetricStore, *, folder: Path, now: int | None = None, days: float = 7.0) -> Loaded:
    """Write the history of the enrolled fleet; a later call only fills the time since the one before.

    Most useful first: the last two hours each 30 seconds and hourly values for ``days``, then the last day by the
    minute, then the days before in steps of ten minutes. Raises :class:`DemoError` before :func:`enrol`.
    """
    began = time.monotonic()
    state = DemoState.read(folder)
    if state is None:
        raise DemoError(f"{folder}: the fleet is not enrolled yet")
    end = _minute(now)
    hosts, plan = state.plan()
    samples = 0
    for write in (_recent, _hours, _minutes, _older):
        for host in hosts:
            writer = _Writer(store, plan, host, state.hosts[host.name], state.loaded_through, end, days)
            samples += write(writer)
    state.loaded_through = end
    state.save(folder)
    return Loaded(len(hosts), samples, time.monotonic() - began)


def _minute(now: int | None) -> int:
    return (time.time_ns() // 1_000_000 if now is None else now) // MINUTE_MS * MINUTE_MS


def _enrol(missing: list[DemoHost], state: DemoState, folder: Path, api_url: str, token: str) -> None:
    transport = Transport(api_url, timeout=30.0)
    try:
        for host in missing:
            held = _enrol_one(transport, api_url, host, token, folder)
            save_credentials(agent_folder(folder, host.name), held)
            state.hosts[host.name] = held.host_id
            state.save(folder)
    finally:
        transport.close()


def _enrol_one(transport: Transport, api_url: str, host: DemoHost, token: str, folder: Path) -> Credentials:
    body = {
        "token": token,
        "hostname": host.name,
        "machine_id": hashlib.sha256(f"{folder}/{host.name}".encode()).hexdigest()[:32],
        "os": host.os,
        "kernel": host.kernel,
        "cpus": host.cpus,
        "memory_bytes": host.memory_bytes,
        "agent_version": "0.1.0-demo",
        "labels": dict(host.labels),
    }
    content = json.dumps(body).encode()
    for _ in range(5):
        answer = transport.request("POST", ENROL_PATH, body=content, content_type="application/json")
        if answer.status != 429:
            break
        time.sleep(min(60.0, answer.retry_after or 5.0))
    values = answer.json() or {}
    if answer.status != 201 or "host_id" not in values:
        raise DemoError(f"{host.name} could not be enrolled: {answer.explain()}")
    return Credentials(api_url, str(values["host_id"]), str(values["credential"]))


@dataclass(frozen=True)
class _Writer:
    """One host's history between ``since`` and ``end`` (epoch ms)."""

    store: MetricStore
    plan: Plan
    host: DemoHost
    host_id: str
    since: int
    end: int
    days: float

    def block(self, start: int, end: int, step_s: float) -> SampleBlock | None:
        """Return the samples from ``start`` (never before ``since``) to ``end``; None when there is no time."""
        start = max(self.since, start)
        return _block(*history(self.plan, self.host, start, end, step_s)) if start < end else None


def _recent(writer: _Writer) -> int:
    block = writer.block(writer.end - _RAW_MS, writer.end, _RAW_STEP_S)
    if block is None:
        return 0
    # Told as if it were fresh: the roll-ups of these minutes are written too and need no second making.
    writer.store.write(writer.host_id, block, int(block.times[0]))
    return block.count()


def _hours(writer: _Writer) -> int:
    end = writer.end // HOUR_MS * HOUR_MS
    start = max(writer.since // HOUR_MS * HOUR_MS, end - round(writer.days * 24) * HOUR_MS)
    if start >= end:
        return 0
    block = _hourly(*history(writer.plan, writer.host, start, end, 60))
    writer.store.write_history(writer.host_id, block, 3600)
    return block.count()


def _minutes(writer: _Writer) -> int:
    block = writer.block(writer.end - DAY_MS, writer.end, 60)
    if block is None:
        return 0
    writer.store.write_history(writer.host_id, block, 60)
    return block.count()


def _older(writer: _Writer) -> int:
    block = writer.block(writer.end - round(writer.days * DAY_MS), writer.end - DAY_MS, 600)
    if block is None:
        return 0
    writer.store.write_history(writer.host_id, block, 60)
    return block.count()


def _block(times: Times, series: Series) -> SampleBlock:
    from farwatch.domain.samples import SampleBlock, SeriesKey

    keys = tuple(SeriesKey(metric, labels) for metric, labels in series)
    return SampleBlock(times, keys, np.column_stack(list(series.values())))


def _hourly(times: Times, series: Series) -> SampleBlock:
    """Return hourly means of values by the minute; NaN where the host was silent for the whole hour."""
    fine = _block(times, series)
    shape = (len(times) // 60, 60, len(fine.series))
    values = fine.values.reshape(shape)
    known = ~np.isnan(values)
    count = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    means = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return type(fine)(times[::60].copy(), fine.series, means)
