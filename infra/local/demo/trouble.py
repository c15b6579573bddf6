"""What goes wrong in the simulated fleet: which host, which metrics, when, and of which kind.

The plan is fixed by its seed and its *anchor*, the moment up to which history is made. Before the anchor lie the
troubles of the past days; some of them are still going on. After it, one short trouble follows another for ever, so
that whoever watches the demonstration sees incidents open and resolve.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from infra.local.demo.fleet import DemoHost
from infra.local.demo.noise import Floats, Times

Kind = Literal[
    "cpu_hog",
    "memory_leak",
    "disk_filling",
    "io_saturation",
    "network_errors",
    "silence",
    "level_shift",
    "job_stopped",
]

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
FOREVER = 2**53

METRICS: dict[Kind, tuple[str, ...]] = {
    "cpu_hog": ("cpu.percent", "cpu.user_percent", "load.1m", "load.5m", "load.15m", "processes.running"),
    "memory_leak": ("memory.used_percent", "memory.used_bytes", "memory.available_bytes"),
    "disk_filling": ("disk.used_percent", "disk.free_bytes"),
    "io_saturation": (
        "disk.busy_percent",
        "disk.write_bytes_per_second",
        "disk.writes_per_second",
        "cpu.iowait_percent",
        "load.1m",
    ),
    "network_errors": ("net.errors_per_second", "net.drops_per_second"),
    "silence": ("*",),
    "level_shift": ("cpu.percent", "cpu.user_percent", "memory.used_percent"),
    "job_stopped": ("cpu.percent", "disk.read_bytes_per_second", "disk.write_bytes_per_second"),
}


@dataclass(frozen=True, slots=True)
class Trouble:
    """One injected trouble; ``start`` and ``end`` are epoch ms, ``end`` is FOREVER while it lasts."""

    host: str
    kind: Kind
    start: int
    end: int
    note: str

    def touches(self, first: int, last: int) -> bool:
        """Return whether it lies at least partly in [first, last]."""
        return self.start <= last and self.end > first

    def inside(self, times: Times, ramp_ms: int = 1) -> Floats:
        """Return 0 outside and 1 inside, rising and falling over ``ramp_ms``."""
        rise = (times - self.start) / ramp_ms
        fall = (self.end - times) / ramp_ms
        return np.clip(np.minimum(rise, fall), 0.0, 1.0)

    def progress(self, times: Times, whole_ms: int) -> Floats:
        """Return how far it has come: 0 at its start, 1 after ``whole_ms``, 0 again after its end."""
        share = np.clip((times - self.start) / whole_ms, 0.0, 1.0)
        return np.where(times < self.end, share, 0.0)


class Plan:
    """All troubles of a fleet, past, present and to come."""

    LIVE_EVERY_MS = 12 * MINUTE_MS
    LIVE_FIRST_MS = 30_000
    _LIVE: tuple[tuple[Kind, int, str], ...] = (
        ("cpu_hog", 7, "a report runs away"),
        ("io_saturation", 8, "a backup runs in working hours"),
        ("silence", 4, "the host is cut off and comes back"),
        ("network_errors", 7, "a cable fails"),
    )

    def __init__(self, hosts: Sequence[DemoHost], anchor: int, seed: int = 7, days: float = 7.0) -> None:
        """``anchor`` is the epoch ms at which history ends; the past troubles lie in the ``days`` before it."""
        self.anchor = anchor
        self.seed = seed
        self._hosts = hosts
        self.past = tuple(self._make_past(np.random.default_rng([seed, 2]), days))

    def _make_past(self, chance: np.random.Generator, days: float) -> Iterator[Trouble]:
        def pick(*roles: str) -> str:
            names = [host.name for host in self._hosts if host.role in roles and host.name not in used]
            name = str(chance.choice(names))
            used.add(name)
            return name

        def ago(share: float) -> int:
            return self.anchor - round(share * days * DAY_MS)

        def plan(host: str, kind: Kind, start: int, lasting_ms: int | None, note: str) -> Trouble:
            return Trouble(host, kind, start, FOREVER if lasting_ms is None else start + lasting_ms, note)

        used: set[str] = set()
        hog, leak, shift = pick("web"), pick("api"), pick("api")
        yield plan(hog, "cpu_hog", ago(0.62), 45 * MINUTE_MS, "an endless loop in a template")
        yield plan(hog, "cpu_hog", ago(0.21), 30 * MINUTE_MS, "the same loop again")
        yield plan(leak, "memory_leak", ago(0.48), 9 * HOUR_MS, "a cache without a bound; the kernel ends it")
        yield plan(shift, "level_shift", ago(0.35), None, "a deploy made every request dearer")
        disk = pick("queue")
        yield plan(
            disk, "disk_filling", self.anchor - 26 * HOUR_MS, 46 * HOUR_MS, "a log that nobody rotates"
        )
        io = pick("db")
        yield plan(io, "io_saturation", ago(0.55), 50 * MINUTE_MS, "a rebuild of the array")
        yield plan(io, "io_saturation", ago(0.12), 35 * MINUTE_MS, "the rebuild again")
        net = pick("web", "cache")
        yield plan(net, "network_errors", ago(0.3), 40 * MINUTE_MS, "a failing port on the switch")
        silent = pick("cache")
        yield plan(silent, "silence", ago(0.4), 25 * MINUTE_MS, "the hypervisor crashed; the host restarted")
        yield plan(pick("batch"), "job_stopped", ago(0.3), None, "the nightly job was never run again")

    def live(self, first: int, last: int) -> Iterator[Trouble]:
        """Yield the short troubles after the anchor that touch [first, last]."""
        begin = self.anchor + self.LIVE_FIRST_MS
        slot = max(0, (first - begin) // self.LIVE_EVERY_MS - 1)
        free = [
            host
            for host in self._hosts
            if host.name not in {t.host for t in self.past if t.end > self.anchor}
        ]
        while begin + slot * self.LIVE_EVERY_MS <= last:
            kind, minutes, note = self._LIVE[slot % len(self._LIVE)]
            start = begin + slot * self.LIVE_EVERY_MS
            chance = np.random.default_rng([self.seed, 3, slot])
            host = free[int(chance.integers(len(free)))].name
            trouble = Trouble(host, kind, start, start + minutes * MINUTE_MS, note)
            if trouble.touches(first, last):
                yield trouble
            slot += 1

    def of(self, host: str, first: int, last: int) -> list[Trouble]:
        """Return the troubles of ``host`` that touch [first, last]."""
        both = (*self.past, *self.live(first, last))
        return [t for t in both if t.host == host and t.touches(first, last)]

    def manifest(self) -> list[dict[str, Any]]:
        """Return what was injected before the anchor, for tests and for people: host, kind, metrics, start, end."""
        return [
            {**asdict(t), "end": None if t.end == FOREVER else t.end, "metrics": list(METRICS[t.kind])}
            for t in self.past
        ]
