"""What the metrics of a simulated host were, or are, at any moments: a pure function of plan, host and time.

Few hidden quantities move everything, as on a real machine: traffic, shared by a region, drives processor, network
and disk together; jobs of the night move a batch machine; memory and disks have slow lives of their own. The troubles
of the plan bend the hidden quantities, never a metric alone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from infra.local.demo.fleet import DemoHost
from infra.local.demo.noise import Floats, Times, bursts, normal, smooth, uniform
from infra.local.demo.trouble import DAY_MS, HOUR_MS, MINUTE_MS, Plan, Trouble

Labels = tuple[tuple[str, str], ...]
Series = dict[tuple[str, Labels], Floats]

_WEEKEND = 0.62
_MONDAY_MS = 4 * DAY_MS  # 1 January 1970 was a Thursday


def history(plan: Plan, host: DemoHost, start: int, end: int, step_s: float) -> tuple[Times, Series]:
    """Return the times in [start, end) (epoch ms, each ``step_s`` seconds) and the values of every series at them."""
    times = np.arange(start, end, round(step_s * 1000), dtype=np.int64)
    return times, measure(plan, host, times)


def measure(plan: Plan, host: DemoHost, times: Times) -> Series:
    """Return the values of every series of ``host`` at ``times`` (epoch ms); NaN while the host is silent."""
    if len(times) == 0:
        return {}
    machine = _Machine(plan, host, times)
    series = machine.series()
    gone = machine.any_of("silence") > 0
    if gone.any():
        series = {key: np.where(gone, np.nan, values) for key, values in series.items()}
    return series


class _Machine:
    """The hidden quantities of one host over ``times``, and the metrics that follow from them."""

    def __init__(self, plan: Plan, host: DemoHost, times: Times) -> None:
        self.host = host
        self.t = times
        self.key = f"{plan.seed}/{host.name}"
        self.troubles = plan.of(host.name, int(times[0]) - 2 * DAY_MS, int(times[-1]))
        self.local = times + round(host.utc_offset_h * HOUR_MS)
        self.traffic = self._traffic(f"{plan.seed}/{host.labels['region']}")
        self.job = self._job()

    def noise(self, name: str, period_s: float) -> Floats:
        return smooth(f"{self.key}/{name}", self.t, period_s)

    def white(self, name: str) -> Floats:
        return normal(f"{self.key}/{name}", self.t // 1000)

    def with_kind(self, kind: str) -> list[Trouble]:
        return [trouble for trouble in self.troubles if trouble.kind == kind]

    def any_of(self, kind: str, ramp_ms: int = 1) -> Floats:
        total = np.zeros(len(self.t))
        for trouble in self.with_kind(kind):
            total = np.maximum(total, trouble.inside(self.t, ramp_ms))
        return total

    def _traffic(self, region: str) -> Floats:
        """Traffic from 0 to about 1.2: a day with two humps, a quiet night, quieter weekends, and weather."""
        hour = (self.local % DAY_MS) / HOUR_MS
        day = 0.5 - 0.5 * np.cos(2 * np.pi * (hour - 3.5) / 24)
        day = day**1.3 + 0.10 * np.cos(2 * np.pi * (hour - 11) / 8)
        weekday = ((self.local - _MONDAY_MS) // DAY_MS) % 7
        level = (0.12 + 0.78 * day) * np.where(weekday >= 5, _WEEKEND, 1.0)
        weather = 0.07 * smooth(f"{region}/weather", self.t, 3600) + 0.05 * smooth(
            f"{region}/wind", self.t, 420
        )
        own = 0.05 * self.noise("own", 150) + 0.03 * self.noise("jitter", 20)
        return np.clip(level * (1 + weather + own), 0.02, 1.4)

    def _job(self) -> Floats:
        """Work of timed jobs from 0 to 1: on batch machines each night and each hour, elsewhere a short nightly one."""
        minute = (self.local % DAY_MS) / MINUTE_MS
        night = self.local // DAY_MS
        begin = 120 + 6 * normal(f"{self.key}/night", night)
        lasting = (95 if self.host.role == "batch" else 14) * (
            1 + 0.08 * normal(f"{self.key}/lasting", night)
        )
        nightly = np.clip(np.minimum(minute - begin, begin + lasting - minute) / 3.0, 0.0, 1.0)
        for trouble in self.with_kind("job_stopped"):
            nightly = np.where(self.t >= trouble.start, 0.0, nightly)
        if self.host.role != "batch":
            return 0.35 * nightly
        hourly = np.clip(np.minimum(minute % 60 - 7, 13 - minute % 60), 0.0, 1.0)
        return np.maximum(nightly, 0.45 * hourly)

    def series(self) -> Series:
        """Return every series of the host."""
        result: Series = {}

        def put(name: str, values: Floats, digits: int, *labels: tuple[str, str]) -> None:
            result[name, labels] = np.round(values, digits)

        self._processor(put)
        self._memory(put)
        self._disks(put)
        self._network(put)
        self._rest(put)
        return result

    def _processor(self, put: Callable[..., None]) -> None:
        host, hog = self.host, self.any_of("cpu_hog", 20_000)
        stalled = self.any_of("io_saturation", 30_000)
        dearer = 1.0 + 0.55 * self.any_of("level_shift")
        spikes = bursts(f"{self.key}/spike", self.t, 2400, 25)
        work = host.busy * dearer * self.traffic + 0.62 * self.job * (0.9 + 0.1 * self.noise("job", 45))
        work = work + 0.015 * self.white("cpu") * np.sqrt(0.2 + self.traffic) + 0.04 * np.minimum(spikes, 5.0)
        work = np.clip(work, 0.006, 0.95)
        user = 100 * (work * 0.76 + hog * (0.985 - work * 0.9))
        system = 100 * (work * 0.22 + 0.006) + 1.2 * np.abs(self.white("sys")) * np.sqrt(work)
        iowait = 100 * (0.012 * work + 0.10 * self.job) * np.exp(0.5 * self.noise("wait", 60))
        iowait = iowait + stalled * (42 + 8 * self.noise("stall", 40))
        steal = np.where(host.is_metal, 0.0, np.maximum(0.0, 0.4 + 0.5 * self.noise("steal", 900)))
        busy = np.minimum(user + system + steal, 99.7)
        iowait = np.minimum(np.maximum(iowait, 0.0), 100.0 - busy)
        scale = busy / np.maximum(user + system + steal, 1e-9)
        self.busy = busy
        put("cpu.percent", busy, 2)
        put("cpu.user_percent", user * scale, 2)
        put("cpu.system_percent", system * scale, 2)
        put("cpu.iowait_percent", iowait, 2)
        put("cpu.steal_percent", steal * scale, 2)
        queue = host.cpus * (busy / 100) ** 1.2 * (1 + 0.9 * hog) + host.cpus * 0.02 * iowait
        put("load.1m", queue * np.exp(0.10 * self.noise("load", 60)) + 0.02, 2)
        put("load.5m", queue * np.exp(0.05 * self.noise("load", 300)) + 0.02, 2)
        put("load.15m", queue * np.exp(0.02 * self.noise("load", 900)) + 0.02, 2)
        put("processes.running", np.maximum(1.0, np.floor(queue + 0.7 * np.abs(self.white("run")))), 0)

    def _memory(self, put: Callable[..., None]) -> None:
        host = self.host
        share = host.memory_base * (1 + 0.02 * self.noise("memory", 5400) + 0.004 * self.noise("pages", 120))
        share = (
            share
            + 0.10 * self.traffic * (host.role in ("web", "api"))
            + 0.22 * self.job * (host.role == "batch")
        )
        share = share + 0.11 * self.any_of("level_shift", 600_000)
        leaked = np.zeros(len(self.t))
        for leak in self.with_kind("memory_leak"):
            leaked = leaked + leak.progress(self.t, leak.end - leak.start)
        share = np.clip(share + leaked * (0.975 - share), 0.04, 0.985)
        used = np.floor(share * host.memory_bytes / 4096) * 4096
        put("memory.used_percent", 100 * used / host.memory_bytes, 2)
        put("memory.used_bytes", used, 0)
        put("memory.available_bytes", host.memory_bytes - used, 0)
        put("memory.total_bytes", np.full(len(self.t), float(host.memory_bytes)), 0)
        if host.has_swap:
            swapped = np.clip(
                0.04 + 0.02 * self.noise("swap", 40_000) + 0.5 * np.maximum(0, share - 0.93), 0, 1
            )
            put("swap.used_percent", 100 * swapped, 2)
            put("swap.used_bytes", swapped * host.memory_bytes / 4, 0)

    def _disks(self, put: Callable[..., None]) -> None:
        host = self.host
        for mount, size in host.mounts.items():
            # Grows for a week, and is cleaned up in the night to Sunday.
            week = ((self.local - _MONDAY_MS - 6 * DAY_MS - 3 * HOUR_MS) % (7 * DAY_MS)) / (7 * DAY_MS)
            used = host.disk_base[mount] + (6.0 if mount == "/" else 4.5) * week
            used = used + 0.15 * self.noise(f"disk{mount}", 3000)
            if mount == "/":
                for filling in self.with_kind("disk_filling"):
                    share = filling.progress(self.t, 30 * HOUR_MS)
                    used = used + share * (98.6 - used)
            used = np.clip(used, 0.5, 99.4)
            put("disk.used_percent", used, 2, ("mount", mount))
            put("disk.free_bytes", np.floor((1 - used / 100) * size / 4096) * 4096, 0, ("mount", mount))
            put("disk.total_bytes", np.full(len(self.t), float(size)), 0, ("mount", mount))
            put("disk.inodes_used_percent", 0.22 * used + 0.8, 2, ("mount", mount))
        stalled = self.any_of("io_saturation", 30_000)
        weight = {"db": 38.0, "batch": 9.0, "queue": 16.0}.get(host.role, 2.2)
        activity = self.traffic * np.exp(0.35 * self.noise("io", 45)) + 6.0 * self.job
        flush = bursts(f"{self.key}/flush", self.t, 180, 10)
        write = 1e6 * weight * (0.10 * activity + 0.25 * np.minimum(flush, 4) * self.traffic) + 4e3
        write = write * (1 + 7 * stalled) + 9e7 * stalled
        read = 1e6 * weight * (0.16 * activity * np.exp(0.3 * self.noise("read", 30))) * (1 + 1.5 * stalled)
        device = ("device", host.device)
        put("disk.write_bytes_per_second", write, 2, device)
        put("disk.read_bytes_per_second", read, 2, device)
        put("disk.writes_per_second", write / 14_000 * np.exp(0.1 * self.white("ws")), 2, device)
        put("disk.reads_per_second", read / 22_000 * np.exp(0.1 * self.white("rs")), 2, device)
        busy = 100 * (1 - np.exp(-(write + read) / (2.6e6 * max(weight, 8.0)))) * (1 - stalled)
        busy = busy + stalled * (98.8 - 0.8 * np.abs(self.white("busy")))
        put("disk.busy_percent", np.clip(busy, 0, 100), 2, device)

    def _network(self, put: Callable[..., None]) -> None:
        host = self.host
        failing = self.any_of("network_errors", 15_000)
        weight = {"web": 9.0, "cache": 14.0, "api": 6.0, "db": 7.0, "queue": 5.0}.get(host.role, 0.6)
        flow = 1e6 * weight * self.traffic * np.exp(0.12 * self.noise("net", 30) + 0.05 * self.white("net"))
        flow = (flow + 4e7 * self.job * (host.role == "batch") + 900) * (1 - 0.35 * failing)
        ratio = 2.4 if host.role in ("web", "cache", "db") else 0.8
        nic = ("interface", host.interface)
        put("net.bytes_sent_per_second", flow * ratio, 2, nic)
        put("net.bytes_received_per_second", flow, 2, nic)
        put("net.packets_sent_per_second", flow * ratio / 820, 2, nic)
        put("net.packets_received_per_second", flow / 610, 2, nic)
        rare = uniform(f"{self.key}/rare", self.t // 1000) < 0.002
        put(
            "net.errors_per_second",
            failing * (55 + 40 * np.abs(self.noise("errors", 25))) + 0.2 * rare,
            2,
            nic,
        )
        put(
            "net.drops_per_second", failing * (90 + 60 * np.abs(self.noise("drops", 25))) + 0.4 * rare, 2, nic
        )

    def _rest(self, put: Callable[..., None]) -> None:
        host = self.host
        count = 110 + 9 * host.cpus + 40 * self.traffic + 25 * self.job + 2 * self.noise("count", 200)
        put("processes.count", np.floor(count), 0)
        put("files.open", np.floor(1800 + 5200 * self.traffic + 220 * self.noise("files", 300)), 0)
        put("uptime.seconds", (self.t - self._booted()) / 1000, 0)
        if host.is_metal:
            heat = (
                37
                + 26 * (self.busy / 100) ** 0.8
                + 1.5 * self.noise("room", 7200)
                + 0.4 * self.white("sensor")
            )
            put("temperature.celsius", heat, 1, ("sensor", "coretemp/Package id 0"))
        put("agent.cpu_percent", 0.09 + 0.02 * np.abs(self.white("agent")), 3)
        put("agent.rss_bytes", np.full(len(self.t), 23_592_960.0), 0)
        put("agent.spool_batches", np.ones(len(self.t)), 0)
        put("agent.dropped_samples", np.zeros(len(self.t)), 0)

    def _booted(self) -> Times:
        """Return when the host had last started: at a patch day every eight weeks, and after a crash."""
        cycle = 56 * DAY_MS
        phase = round(float(uniform(f"{self.key}/boot", np.zeros(1, np.int64))[0]) * cycle)
        booted = (self.t - phase) // cycle * cycle + phase
        for trouble in self.with_kind("silence"):
            if "restarted" in trouble.note:
                booted = np.where(self.t >= trouble.end, np.maximum(booted, trouble.end - 40_000), booted)
        return booted
