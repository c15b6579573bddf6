"""Every metric the agent can send: its name, unit, kind, bad direction, bounds and meaning.

The table is the single place where a metric is introduced.  Tests hold the collectors and the documentation
to it: a collector that emits a name, a label or a value outside the table fails the suite.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["gauge", "rate", "counter"]
Bad = Literal["high", "low", "both", "none"]


class Metric(NamedTuple):
    """One row of the catalogue.

    ``kind`` is ``gauge`` (a level), ``rate`` (a change per second, made by the agent from a counter) or
    ``counter`` (grows until the process or host restarts).  ``bad`` says in which direction an unusual value
    is trouble.  ``low`` and ``high`` are hard bounds of the value, ``None`` where there is none.  ``digits``
    is the number of decimals sent.
    """

    name: str
    unit: str
    kind: Kind
    bad: Bad
    low: float | None
    high: float | None
    labels: tuple[str, ...]
    digits: int
    description: str


def _percent(name: str, description: str, *labels: str, bad: Bad = "high") -> Metric:
    return Metric(name, "percent", "gauge", bad, 0.0, 100.0, labels, 2, description)


def _bytes(name: str, description: str, *labels: str, bad: Bad = "none") -> Metric:
    return Metric(name, "bytes", "gauge", bad, 0.0, None, labels, 0, description)


def _rate(name: str, unit: str, description: str, *labels: str, bad: Bad = "both") -> Metric:
    return Metric(name, unit, "rate", bad, 0.0, None, labels, 2, description)


def _number(
    name: str, unit: str, description: str, *labels: str, bad: Bad = "high", digits: int = 0
) -> Metric:
    return Metric(name, unit, "gauge", bad, 0.0, None, labels, digits, description)


METRICS: tuple[Metric, ...] = (
    _percent("cpu.percent", "Time all processors were not idle and not waiting for I/O."),
    _percent("cpu.user_percent", "Time spent in programs, niced ones included."),
    _percent("cpu.system_percent", "Time spent in the kernel, interrupts included."),
    _percent("cpu.iowait_percent", "Time processors were idle while a disk request was outstanding."),
    _percent("cpu.steal_percent", "Time the hypervisor gave to other machines while this one wanted to run."),
    _number(
        "load.1m", "tasks", "Tasks running or waiting to run or for disk, averaged over 1 minute.", digits=2
    ),
    _number("load.5m", "tasks", "The same averaged over 5 minutes.", digits=2),
    _number("load.15m", "tasks", "The same averaged over 15 minutes.", digits=2),
    _percent("memory.used_percent", "Memory that is not available to new programs without swapping."),
    _bytes("memory.available_bytes", "Memory that new programs can have without swapping.", bad="low"),
    _bytes("memory.used_bytes", "Memory in use by programs, caches left out.", bad="high"),
    _bytes("memory.total_bytes", "Memory of the host."),
    _percent("swap.used_percent", "Share of the swap space in use; not sent on a host without swap."),
    _bytes("swap.used_bytes", "Swap space in use.", bad="high"),
    _percent("disk.used_percent", "Space in use, as a share of what ordinary users can have.", "mount"),
    _bytes("disk.free_bytes", "Space that ordinary users can still have.", "mount", bad="low"),
    _bytes("disk.total_bytes", "Size of the file system.", "mount"),
    _percent(
        "disk.inodes_used_percent",
        "Inodes in use; not sent where the file system has no fixed number.",
        "mount",
    ),
    _rate("disk.read_bytes_per_second", "bytes/s", "Bytes read from the device.", "device"),
    _rate("disk.write_bytes_per_second", "bytes/s", "Bytes written to the device.", "device"),
    _rate("disk.reads_per_second", "operations/s", "Read requests completed.", "device"),
    _rate("disk.writes_per_second", "operations/s", "Write requests completed.", "device"),
    _percent("disk.busy_percent", "Time the device had at least one request in progress.", "device"),
    _rate("net.bytes_sent_per_second", "bytes/s", "Bytes sent.", "interface"),
    _rate("net.bytes_received_per_second", "bytes/s", "Bytes received.", "interface"),
    _rate("net.packets_sent_per_second", "packets/s", "Packets sent.", "interface"),
    _rate("net.packets_received_per_second", "packets/s", "Packets received.", "interface"),
    _rate(
        "net.errors_per_second",
        "packets/s",
        "Packets damaged on receipt or on sending.",
        "interface",
        bad="high",
    ),
    _rate(
        "net.drops_per_second", "packets/s", "Packets dropped, received and sent.", "interface", bad="high"
    ),
    _number("processes.count", "processes", "Processes that exist.", bad="both"),
    _number("processes.running", "tasks", "Tasks that run or could run at this moment."),
    _number(
        "uptime.seconds", "seconds", "Time since the host started; falls back to 0 at a restart.", bad="low"
    ),
    Metric(
        "temperature.celsius",
        "celsius",
        "gauge",
        "high",
        None,
        None,
        ("sensor",),
        1,
        "Temperature of a sensor.",
    ),
    _number("files.open", "files", "File handles the kernel has given out."),
    Metric(
        "agent.cpu_percent",
        "percent",
        "gauge",
        "high",
        0.0,
        None,
        (),
        3,
        "Processor time of the agent itself, as a share of one core.",
    ),
    _bytes("agent.rss_bytes", "Memory of the agent itself.", bad="high"),
    _number("agent.spool_batches", "batches", "Batches taken but not yet confirmed as stored."),
    Metric(
        "agent.dropped_samples",
        "samples",
        "counter",
        "high",
        0.0,
        None,
        (),
        0,
        "Samples given up since the spool was made, because it was full or damaged.",
    ),
    # Last, because the first thing to give way on a host with very many series is the detail of each core.
    _percent("cpu.core_percent", "Time one processor was not idle and not waiting for I/O.", "core"),
)

BY_NAME: dict[str, Metric] = {metric.name: metric for metric in METRICS}
"""The catalogue by metric name."""

ORDER: dict[str, int] = {metric.name: index for index, metric in enumerate(METRICS)}
"""Place of a metric in the catalogue: what comes first is kept when a host has too many series."""
