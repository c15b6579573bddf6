"""Space on file systems, and traffic of block devices."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import psutil

from collector_agent.collectors import Sample
from collector_agent.globs import Globs
from collector_agent.guard import Guard, StuckError
from collector_agent.log import Log
from collector_agent.rates import Rates

_MOUNTS_EVERY = 60.0
# Images that are full by design and mounts of the kernel's own; none of them can run out of space.
_FILE_SYSTEMS_LEFT_OUT = frozenset(
    {"squashfs", "iso9660", "udf", "erofs", "cramfs", "autofs", "romfs", "overlay"}
)


class DiskSpace:
    """Space and inodes of every mounted file system that ``mounts`` lets through.

    Each mount is asked under a time limit of its own, so one dead network mount is skipped with a warning and
    the others are still measured.
    """

    name = "disk_space"

    def __init__(self, mounts: Globs, log: Log, guard: Guard | None = None) -> None:
        self._include = mounts
        self._log = log
        self._guard = guard or Guard()
        self._mounts: list[str] = []
        self._listed_at = float("-inf")

    def collect(self, now: float) -> list[Sample]:
        """Return ``disk.used_percent``, ``disk.free_bytes``, ``disk.total_bytes``, inodes, per mount."""
        if now - self._listed_at >= _MOUNTS_EVERY:
            self._mounts = self._guard.call("mount table", self._list)
            self._listed_at = now
        samples: list[Sample] = []
        for mount in self._mounts:
            try:
                samples += self._guard.call(mount, _space_of(mount))
            except StuckError:
                self._log.seldom(
                    f"stuck {mount}",
                    600,
                    "warning",
                    "mount does not answer and is skipped",
                    mount=mount,
                    hint=f'exclude it for good with mounts = ["*", "-{mount}"]',
                )
            except OSError as error:
                self._log.seldom(
                    f"unreadable {mount}",
                    600,
                    "warning",
                    "mount cannot be read",
                    mount=mount,
                    error=str(error),
                )
        return samples

    def _list(self) -> list[str]:
        by_device: dict[str, str] = {}
        for part in psutil.disk_partitions(all=False):
            if part.fstype in _FILE_SYSTEMS_LEFT_OUT or not self._include(part.mountpoint):
                continue
            # A device mounted at several places (bind mounts) is one file system: the shortest path names it.
            known = by_device.get(part.device)
            if known is None or len(part.mountpoint) < len(known):
                by_device[part.device] = part.mountpoint
        if not by_device and self._include("/"):
            return ["/"]  # inside a container only an overlay is mounted, and it can fill up all the same
        return sorted(by_device.values())


def _space_of(mount: str) -> Callable[[], list[Sample]]:
    def measure() -> list[Sample]:
        stat = os.statvfs(mount)
        labels = (("mount", mount),)
        if stat.f_blocks <= 0:
            return []
        # As df does: what is reserved for root counts neither as used nor as free.
        used = stat.f_blocks - stat.f_bfree
        usable = used + stat.f_bavail
        samples: list[Sample] = [
            ("disk.free_bytes", labels, stat.f_bavail * stat.f_frsize),
            ("disk.total_bytes", labels, stat.f_blocks * stat.f_frsize),
        ]
        if usable > 0:
            samples.append(("disk.used_percent", labels, 100.0 * used / usable))
        if stat.f_files > 0:
            inodes = 100.0 * (stat.f_files - stat.f_ffree) / stat.f_files
            samples.append(("disk.inodes_used_percent", labels, min(100.0, max(0.0, inodes))))
        return samples

    return measure


class DiskTraffic:
    """Bytes, requests and busy time of every whole block device that ``devices`` lets through."""

    name = "disk_traffic"

    def __init__(self, devices: Globs, sys_block: Path = Path("/sys/block")) -> None:
        self._include = devices
        self._sys_block = sys_block
        self._rates = Rates()
        self._whole: dict[str, bool] = {}

    def collect(self, now: float) -> list[Sample]:
        """Return ``disk.*_per_second`` and ``disk.busy_percent`` per device."""
        samples: list[Sample] = []
        for device, counters in psutil.disk_io_counters(perdisk=True, nowrap=False).items():
            if not self._include(device) or not self._is_whole(device):
                continue
            labels = (("device", device),)
            for metric, value in (
                ("disk.read_bytes_per_second", counters.read_bytes),
                ("disk.write_bytes_per_second", counters.write_bytes),
                ("disk.reads_per_second", counters.read_count),
                ("disk.writes_per_second", counters.write_count),
            ):
                rate = self._rates.rate((metric, device), value, now)
                if rate is not None:
                    samples.append((metric, labels, rate))
            busy_ms = getattr(counters, "busy_time", None)
            if busy_ms is not None:
                rate = self._rates.rate(("disk.busy_percent", device), busy_ms, now)
                if rate is not None:
                    samples.append(("disk.busy_percent", labels, min(100.0, rate / 10.0)))
        self._rates.forget_unseen()
        return samples

    def _is_whole(self, device: str) -> bool:
        """Whether ``device`` is a disk and not a part of one (a partition would count its traffic twice)."""
        known = self._whole.get(device)
        if known is None:
            known = self._whole[device] = not self._sys_block.is_dir() or (self._sys_block / device).exists()
        return known
