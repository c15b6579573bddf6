"""The few processes that use the most processor time and memory."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypedDict

import psutil


class TopProcess(TypedDict):
    """One process as it is sent."""

    pid: int
    name: str
    cpu_percent: float
    rss_bytes: int


class _Seen(NamedTuple):
    pid: int
    started: float
    name: str
    cpu_seconds: float
    rss_bytes: int


class TopProcesses:
    """Ranks processes by processor time since the last look, and by memory.

    A look costs about 15 µs a process on Linux, which is more than all other collectors together, so it is
    taken every ``every`` seconds only, and at every tick while the host's processors are busier than
    ``busy_percent``.  Between looks the last ranking stands.
    """

    def __init__(
        self,
        count: int = 5,
        every: float = 30.0,
        busy_percent: float = 60.0,
        proc: Path = Path("/proc"),
    ) -> None:
        self._count = count
        self._every = every
        self._busy = busy_percent
        self._proc = proc
        self._last: dict[tuple[int, float], float] = {}
        self._looked_at = float("-inf")
        self._top: list[TopProcess] = []

    def look(self, now: float, cpu_percent: float) -> list[TopProcess]:
        """Return at most ``2 × count`` processes: the first by processor time, then those by memory."""
        if self._count <= 0:
            return []
        if now - self._looked_at < self._every and cpu_percent < self._busy:
            return self._top
        elapsed = now - self._looked_at
        spent: dict[tuple[int, float], float] = {}
        ranked: list[tuple[float, _Seen]] = []
        for seen in self._processes():
            key = (seen.pid, seen.started)
            spent[key] = seen.cpu_seconds
            before = self._last.get(key)
            share = 0.0 if before is None else 100.0 * max(0.0, seen.cpu_seconds - before) / elapsed
            ranked.append((share, seen))
        by_cpu = heapq.nlargest(self._count, (r for r in ranked if r[0] > 0), key=lambda r: r[0])
        by_memory = heapq.nlargest(self._count, ranked, key=lambda r: r[1].rss_bytes)
        chosen = {seen.pid: (share, seen) for share, seen in by_cpu + by_memory}
        self._last = spent
        self._looked_at = now
        self._top = [
            {"pid": seen.pid, "name": seen.name, "cpu_percent": round(share, 1), "rss_bytes": seen.rss_bytes}
            for share, seen in chosen.values()
        ]
        return self._top

    def _processes(self) -> Iterator[_Seen]:
        if (self._proc / "self" / "stat").exists():
            return self._from_proc()
        return _from_psutil()

    def _from_proc(self) -> Iterator[_Seen]:
        ticks = os.sysconf("SC_CLK_TCK")
        page = os.sysconf("SC_PAGE_SIZE")
        for entry in os.listdir(self._proc):  # noqa: PTH208 - pathlib would make an object for every process
            if not entry.isdigit():
                continue
            try:
                with open(f"{self._proc}/{entry}/stat", "rb", 0) as file:  # noqa: PTH123 - as above
                    text = file.read(1024)
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue  # gone since the folder was listed, or hidden from us
            # The name is in brackets and may itself hold brackets and blanks: look for the last one.
            head, _, tail = text.rpartition(b")")
            fields = tail.split()
            if len(fields) < 22:
                continue
            yield _Seen(
                int(entry),
                float(fields[19]),
                head.partition(b"(")[2].decode("utf-8", "replace"),
                (int(fields[11]) + int(fields[12])) / ticks,
                int(fields[21]) * page,
            )


def _from_psutil() -> Iterator[_Seen]:
    for process in psutil.process_iter(["name", "cpu_times", "memory_info", "create_time"]):
        info = process.info
        if info["cpu_times"] is None or info["memory_info"] is None:
            continue  # not ours to look at
        times = info["cpu_times"]
        yield _Seen(
            process.pid,
            info["create_time"] or 0.0,
            info["name"] or "",
            times.user + times.system,
            info["memory_info"].rss,
        )
