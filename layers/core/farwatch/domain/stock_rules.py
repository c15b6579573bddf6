"""The rules a new installation starts with: enough to be paged for what matters on any host, unasked.

Critical and high are for now, warning is for today, info is for the record. A percentage that means little on a large disk
is paired with an absolute amount. Every rule leaves at another value than it enters, and its summary says what to look at
first. They are ordinary rules once installed: people edit, switch off or delete them.
"""

from __future__ import annotations

from farwatch.domain.rules import Comparison, Condition, Measure, Rule
from farwatch.domain.severity import Severity

_CRITICAL, _HIGH, _WARNING, _INFO = Severity.CRITICAL, Severity.HIGH, Severity.WARNING, Severity.INFO
_GIB = float(2**30)


def _above(metric: str, enter: float, leave: float) -> Condition:
    return Condition(metric, Comparison.ABOVE, enter, leave)


def _below(metric: str, enter: float, leave: float) -> Condition:
    return Condition(metric, Comparison.BELOW, enter, leave)


def _rising(metric: str, enter: float, leave: float, window_s: float) -> Condition:
    return Condition(metric, Comparison.ABOVE, enter, leave, Measure.CHANGE, window_s)


def _rule(
    slug: str,
    name: str,
    severity: Severity,
    for_s: float,
    summary: str,
    *conditions: Condition,
    keep_s: float = 120,
) -> Rule:
    return Rule(
        id=f"rule_stock_{slug}",
        name=name,
        conditions=conditions,
        severity=severity,
        for_s=for_s,
        keep_firing_for_s=keep_s,
        summary=summary,
        stock=True,
    )


# fmt: off
_CPU = (
    _rule(
        "cpu_busy", "CPU is busy", _WARNING, 300,
        "The processors have little to spare: look at the busiest processes.",
        _above("cpu.percent", 85, 75),
    ),
    _rule(
        "cpu_saturated", "CPU is saturated", _HIGH, 120,
        "Every processor is busy and work queues up: look at the busiest processes.",
        _above("cpu.percent", 95, 85),
    ),
    _rule(
        "cpu_pinned", "CPU has been saturated for long", _CRITICAL, 1800,
        "Half an hour without a free processor is no burst: stop or move what causes it.",
        _above("cpu.percent", 97, 90),
    ),
    _rule(
        "cpu_iowait", "CPU waits for disks", _WARNING, 300,
        "Processes wait for storage: look at disk.busy_percent and at who reads or writes.",
        _above("cpu.iowait_percent", 25, 15),
    ),
    _rule(
        "cpu_iowait_heavy", "CPU waits mostly for disks", _HIGH, 300,
        "Storage cannot keep up: look for a failing disk, a rebuild or a backup in working hours.",
        _above("cpu.iowait_percent", 50, 35),
    ),
    _rule(
        "cpu_steal", "Other machines take this one's CPU", _WARNING, 300,
        "The hypervisor gives time away: a noisy neighbour, or burst credits are used up.",
        _above("cpu.steal_percent", 10, 5),
    ),
    _rule(
        "cpu_steal_heavy", "Other machines take most of this one's CPU", _HIGH, 300,
        "Move the machine, or choose an instance type without shared processors.",
        _above("cpu.steal_percent", 30, 20),
    ),
    _rule(
        "cpu_system", "The kernel uses much CPU", _WARNING, 600,
        "System time this high points to the network stack, memory reclaim or a driver.",
        _above("cpu.system_percent", 40, 30),
    ),
    _rule(
        "processes_queueing", "Many processes want to run", _WARNING, 300,
        "More work is ready than processors can take: look at load and at the busiest processes.",
        _above("processes.running", 100, 60),
    ),
)

_MEMORY = (
    _rule(
        "memory_low", "Memory is low", _WARNING, 300,
        "Little is left for caches and new work: look at the largest processes.",
        _above("memory.used_percent", 88, 82), _below("memory.available_bytes", 4 * _GIB, 5 * _GIB),
    ),
    _rule(
        "memory_exhausted", "Memory is exhausted", _CRITICAL, 60,
        "The kernel is about to kill processes: restart or limit the largest one.",
        _above("memory.used_percent", 95, 90), _below("memory.available_bytes", 1 * _GIB, 2 * _GIB),
    ),
    _rule(
        "memory_leak", "Memory use keeps growing", _WARNING, 600,
        "A steady climb over an hour looks like a leak: compare the largest processes now and an hour ago.",
        _rising("memory.used_percent", 8, 4, 3600), _above("memory.used_percent", 60, 55),
    ),
    _rule(
        "swap_used", "Swap is in use", _WARNING, 600,
        "Memory spilled to disk slows everything: look at the largest processes.",
        _above("swap.used_percent", 60, 50),
    ),
    _rule(
        "swap_exhausted", "Swap is nearly full", _HIGH, 120,
        "With swap gone the kernel kills processes next: free memory now.",
        _above("swap.used_percent", 90, 80),
    ),
)

_DISK = (
    _rule(
        "disk_filling", "Disk is filling", _WARNING, 300,
        "Look for logs and caches that grow; extend the volume in time.",
        _above("disk.used_percent", 85, 80), _below("disk.free_bytes", 50 * _GIB, 60 * _GIB),
    ),
    _rule(
        "disk_nearly_full", "Disk is nearly full", _HIGH, 120,
        "Free space soon: old logs, package caches, core dumps, forgotten snapshots.",
        _above("disk.used_percent", 92, 89), _below("disk.free_bytes", 20 * _GIB, 25 * _GIB),
    ),
    _rule(
        "disk_full", "Disk is full", _CRITICAL, 60,
        "Writes fail now or within minutes: delete or move something, then find the writer.",
        _above("disk.used_percent", 97, 95), _below("disk.free_bytes", 5 * _GIB, 8 * _GIB),
    ),
    _rule(
        "disk_filling_fast", "Disk is filling fast", _HIGH, 0,
        "Something writes without end: a log in a loop, a runaway export, a dump.",
        _rising("disk.used_percent", 10, 5, 1800), _above("disk.used_percent", 50, 45),
    ),
    _rule(
        "inodes_filling", "Disk runs out of inodes", _WARNING, 300,
        "Many small files: sessions, mail queues, caches. Space may look free and writes fail all the same.",
        _above("disk.inodes_used_percent", 85, 80),
    ),
    _rule(
        "inodes_full", "Disk has no inodes left", _CRITICAL, 60,
        "No new file can be made: delete the folder with millions of small files.",
        _above("disk.inodes_used_percent", 97, 94),
    ),
    _rule(
        "disk_busy", "Disk is busy", _WARNING, 900,
        "Requests queue at the device: look at who reads and writes, and at the time of backups.",
        _above("disk.busy_percent", 90, 75),
    ),
    _rule(
        "disk_saturated", "Disk has been saturated for long", _HIGH, 3600,
        "An hour without a pause: spread the load or choose a faster volume.",
        _above("disk.busy_percent", 98, 90),
    ),
)

_NETWORK = (
    _rule(
        "net_errors", "Network errors", _WARNING, 300,
        "Damaged frames point to a cable, a port or a duplex mismatch.",
        _above("net.errors_per_second", 5, 1),
    ),
    _rule(
        "net_errors_many", "Many network errors", _HIGH, 120,
        "The link is barely usable: swap the cable or port, or fail over.",
        _above("net.errors_per_second", 100, 20),
    ),
    _rule(
        "net_drops", "Network packets are dropped", _WARNING, 300,
        "Receive buffers overflow: look at interrupt load and ring sizes.",
        _above("net.drops_per_second", 50, 10),
    ),
)

_SYSTEM = (
    _rule(
        "rebooted", "Host was restarted", _INFO, 0,
        "Planned? If not, read the kernel log of the previous boot.",
        _below("uptime.seconds", 300, 600), keep_s=0,
    ),
    _rule(
        "temperature_high", "Temperature is high", _WARNING, 300,
        "Check fans, filters and the room.",
        _above("temperature.celsius", 85, 78),
    ),
    _rule(
        "temperature_critical", "Temperature is critical", _CRITICAL, 60,
        "The machine will slow down or switch off: reduce load, restore cooling.",
        _above("temperature.celsius", 95, 88),
    ),
    _rule(
        "processes_multiply", "Processes multiply", _HIGH, 60,
        "Thousands of new processes within the hour: a fork loop, a stuck job runner, children never reaped.",
        _rising("processes.count", 3000, 500, 600),
    ),
    _rule(
        "files_open", "Many files are open", _WARNING, 600,
        "A descriptor leak ends in 'too many open files': find the process that holds them.",
        _above("files.open", 500_000, 400_000),
    ),
)

_AGENT = (
    _rule(
        "agent_backlog", "Agent cannot deliver", _WARNING, 300,
        "Batches wait on the host's disk: the network or this service is slow. Nothing is lost yet.",
        _above("agent.spool_batches", 100, 20),
    ),
    _rule(
        "agent_dropping", "Agent drops samples", _HIGH, 0,
        "The spool is full and the oldest samples are gone: restore the connection, or enlarge the spool.",
        _rising("agent.dropped_samples", 0, 0, 600),
    ),
    _rule(
        "agent_heavy", "Agent uses much CPU", _INFO, 600,
        "Lengthen the sampling interval or switch collectors off on this host.",
        _above("agent.cpu_percent", 20, 10),
    ),
)

# fmt: on
STOCK_RULES: tuple[Rule, ...] = (*_CPU, *_MEMORY, *_DISK, *_NETWORK, *_SYSTEM, *_AGENT)
