"""The metrics the stock agent sends, as the back end knows them; a test holds this table to the agent's own.

The agent stands alone and carries its catalogue with it, so the two are compared rather than shared. Metrics that are not
here (custom ones) are stored and watched all the same; their unit is read off their name.
"""

from __future__ import annotations

from typing import Literal, NamedTuple


class CatalogueEntry(NamedTuple):
    """One metric: the direction in which it is trouble (``bad``), its hard bounds if any, and its meaning."""

    name: str
    bad: Literal["high", "low", "both", "none"]
    low: float | None
    high: float | None
    description: str


CATALOGUE: tuple[CatalogueEntry, ...] = (
    CatalogueEntry(
        "cpu.percent", "high", 0.0, 100.0, "Time all processors were not idle and not waiting for I/O."
    ),
    CatalogueEntry("cpu.user_percent", "high", 0.0, 100.0, "Time spent in programs, niced ones included."),
    CatalogueEntry(
        "cpu.system_percent", "high", 0.0, 100.0, "Time spent in the kernel, interrupts included."
    ),
    CatalogueEntry(
        "cpu.iowait_percent",
        "high",
        0.0,
        100.0,
        "Time processors were idle while a disk request was outstanding.",
    ),
    CatalogueEntry(
        "cpu.steal_percent",
        "high",
        0.0,
        100.0,
        "Time the hypervisor gave to other machines while this one wanted to run.",
    ),
    CatalogueEntry(
        "load.1m", "high", 0.0, None, "Tasks running or waiting to run or for disk, averaged over 1 minute."
    ),
    CatalogueEntry("load.5m", "high", 0.0, None, "The same averaged over 5 minutes."),
    CatalogueEntry("load.15m", "high", 0.0, None, "The same averaged over 15 minutes."),
    CatalogueEntry(
        "memory.used_percent",
        "high",
        0.0,
        100.0,
        "Memory that is not available to new programs without swapping.",
    ),
    CatalogueEntry(
        "memory.available_bytes", "low", 0.0, None, "Memory that new programs can have without swapping."
    ),
    CatalogueEntry("memory.used_bytes", "high", 0.0, None, "Memory in use by programs, caches left out."),
    CatalogueEntry("memory.total_bytes", "none", 0.0, None, "Memory of the host."),
    CatalogueEntry(
        "swap.used_percent",
        "high",
        0.0,
        100.0,
        "Share of the swap space in use; not sent on a host without swap.",
    ),
    CatalogueEntry("swap.used_bytes", "high", 0.0, None, "Swap space in use."),
    CatalogueEntry(
        "disk.used_percent", "high", 0.0, 100.0, "Space in use, as a share of what ordinary users can have."
    ),
    CatalogueEntry("disk.free_bytes", "low", 0.0, None, "Space that ordinary users can still have."),
    CatalogueEntry("disk.total_bytes", "none", 0.0, None, "Size of the file system."),
    CatalogueEntry(
        "disk.inodes_used_percent",
        "high",
        0.0,
        100.0,
        "Inodes in use; not sent where the file system has no fixed number.",
    ),
    CatalogueEntry("disk.read_bytes_per_second", "both", 0.0, None, "Bytes read from the device."),
    CatalogueEntry("disk.write_bytes_per_second", "both", 0.0, None, "Bytes written to the device."),
    CatalogueEntry("disk.reads_per_second", "both", 0.0, None, "Read requests completed."),
    CatalogueEntry("disk.writes_per_second", "both", 0.0, None, "Write requests completed."),
    CatalogueEntry(
        "disk.busy_percent", "high", 0.0, 100.0, "Time the device had at least one request in progress."
    ),
    CatalogueEntry("net.bytes_sent_per_second", "both", 0.0, None, "Bytes sent."),
    CatalogueEntry("net.bytes_received_per_second", "both", 0.0, None, "Bytes received."),
    CatalogueEntry("net.packets_sent_per_second", "both", 0.0, None, "Packets sent."),
    CatalogueEntry("net.packets_received_per_second", "both", 0.0, None, "Packets received."),
    CatalogueEntry("net.errors_per_second", "high", 0.0, None, "Packets damaged on receipt or on sending."),
    CatalogueEntry("net.drops_per_second", "high", 0.0, None, "Packets dropped, received and sent."),
    CatalogueEntry("processes.count", "both", 0.0, None, "Processes that exist."),
    CatalogueEntry("processes.running", "high", 0.0, None, "Tasks that run or could run at this moment."),
    CatalogueEntry(
        "uptime.seconds", "low", 0.0, None, "Time since the host started; falls back to 0 at a restart."
    ),
    CatalogueEntry("temperature.celsius", "high", None, None, "Temperature of a sensor."),
    CatalogueEntry("files.open", "high", 0.0, None, "File handles the kernel has given out."),
    CatalogueEntry(
        "agent.cpu_percent", "high", 0.0, None, "Processor time of the agent itself, as a share of one core."
    ),
    CatalogueEntry("agent.rss_bytes", "high", 0.0, None, "Memory of the agent itself."),
    CatalogueEntry(
        "agent.spool_batches", "high", 0.0, None, "Batches taken but not yet confirmed as stored."
    ),
    CatalogueEntry(
        "agent.dropped_samples",
        "high",
        0.0,
        None,
        "Samples given up since the spool was made, because it was full or damaged.",
    ),
    CatalogueEntry(
        "cpu.core_percent", "high", 0.0, 100.0, "Time one processor was not idle and not waiting for I/O."
    ),
)

BY_NAME = {entry.name: entry for entry in CATALOGUE}


def within_bounds(metric: str, value: float) -> float:
    """Return ``value``, moved to the nearest that the metric can have; as it is where the metric is not known."""
    entry = BY_NAME.get(metric)
    if entry is None:
        return value
    if entry.low is not None and value < entry.low:
        return entry.low
    return entry.high if entry.high is not None and value > entry.high else value
