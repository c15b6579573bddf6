"""What to try first, per kind of trouble: the maintained table behind "Suggested fixes" in messages and pages.

An entry is chosen by the longest metric prefix. Each fix is one imperative sentence somebody woken at night can follow,
with the command where there is one. Keep entries at four fixes or fewer, the quickest and least harmful first.
"""

from __future__ import annotations

from farwatch.domain.signals import SignalKind

FIXES: dict[str, tuple[str, ...]] = {
    "cpu.iowait": (
        "Find what waits for the disk: iotop -o, or pidstat -d 1.",
        "Look for a failing or saturated disk: iostat -x 1, then smartctl -a on the device.",
        "Move backups and batch jobs away from busy hours, or run them under ionice -c3.",
    ),
    "cpu.steal": (
        "Ask the hypervisor's owner about neighbours, or move the machine to another host.",
        "If the machine has burst credits, check whether they are used up and choose a fixed-performance size.",
    ),
    "cpu.": (
        "See which process it is: top -o %CPU, or ps -eo pid,pcpu,comm --sort=-pcpu | head.",
        "If it is not meant to run, stop it; if it is, lower its priority: renice 10 -p PID.",
        "Look at what changed: the last deployment, a cron job, a surge of requests.",
        "If the load is honest and lasts, add processors or spread it over more hosts.",
    ),
    "load.": (
        "Tell waiting for processors from waiting for disks: vmstat 1 (columns r and b).",
        "List what runs or is stuck: ps -eo state,pid,comm | grep '^[RD]'.",
        "Tasks in state D for minutes point to a disk or a network file system that does not answer.",
    ),
    "memory.": (
        "See who holds it: ps -eo pid,rss,comm --sort=-rss | head.",
        "Restart the process that leaks, and keep its memory limit (systemd: MemoryMax=).",
        "Check whether the kernel has killed something: journalctl -k | grep -i 'out of memory'.",
        "If the demand is honest, add memory or move a service away.",
    ),
    "swap.": (
        "See who is swapped out: smem -s swap, or grep VmSwap /proc/*/status.",
        "Free memory first; swap empties by itself once there is room.",
    ),
    "disk.inodes": (
        "Find the folder with very many small files: du --inodes -x / | sort -n | tail.",
        "Session, cache and mail-queue folders are the usual ones; empty what can be made again.",
    ),
    "disk.busy": (
        "Find who reads or writes: iotop -o.",
        "Look at latency and queue length: iostat -x 1; a rising await on idle throughput means a failing disk.",
    ),
    "disk.": (
        "Find what grew: du -xh --max-depth=2 MOUNT | sort -h | tail -20.",
        "Empty what is safe first: journalctl --vacuum-size=200M, the package cache, old containers and images.",
        "Space that du does not see belongs to deleted files still open: lsof +L1, then restart their owner.",
        "If the growth is honest, extend the volume before it is full.",
    ),
    "net.errors": (
        "Look at the interface's own counters: ip -s link, ethtool -S INTERFACE.",
        "Check cable, port and duplex; errors on one side only point to the cable or the transceiver.",
    ),
    "net.drops": (
        "Look for a full receive queue: ethtool -S INTERFACE, and raise it with ethtool -G.",
        "Check whether one processor takes all interrupts: cat /proc/interrupts.",
    ),
    "net.": (
        "See who talks: ss -tunap, or iftop -i INTERFACE.",
        "Look for a backup, a crawler or an attack at that hour in the access logs.",
    ),
    "processes.": (
        "Count by name: ps -eo comm | sort | uniq -c | sort -n | tail.",
        "Zombies are removed by stopping their parent: ps -eo ppid,state,comm | grep ' Z '.",
    ),
    "files.": (
        "See who holds the files: lsof | awk '{print $1}' | sort | uniq -c | sort -n | tail.",
        "Raise LimitNOFILE= of the service if the number is honest; restart it if it leaks.",
    ),
    "temperature.": (
        "Check fans, dust and room temperature; a rise without load is a cooling fault.",
        "Lower the load until it is cool, before the machine throttles or switches itself off.",
    ),
    "uptime.": (
        "Find out why it restarted: last -x | head, journalctl -b -1 -e.",
        "Check that every service came back: systemctl --failed.",
    ),
    "agent.": (
        "Read the agent's log on the host: journalctl -u farwatch-agent -e.",
        "Check that the host reaches the API and that its clock is right: timedatectl.",
    ),
}

SILENCE_FIXES: tuple[str, ...] = (
    "Try to reach the host: ping, ssh, or its console with the provider.",
    "If it answers, look at the agent: systemctl status farwatch-agent, journalctl -u farwatch-agent -e.",
    "If only the way out is blocked, check proxy, firewall and DNS from the host to the API.",
    "If the host is meant to be off at times, say so on its page and it will not page again.",
)

GENERAL_FIXES: tuple[str, ...] = (
    "Open the host's page and look at what changed together with this metric.",
    "Compare with the last deployment, configuration change or scheduled job.",
)


def fixes_for(metric: str | None, kind: SignalKind | None = None) -> tuple[str, ...]:
    """Return the fixes to suggest for trouble with ``metric``, the general ones when the table has none.

    A silent host has a list of its own, whatever the metric.
    """
    if kind is SignalKind.SILENCE:
        return SILENCE_FIXES
    matching = [prefix for prefix in FIXES if metric is not None and metric.startswith(prefix)]
    return FIXES[max(matching, key=len)] if matching else GENERAL_FIXES
