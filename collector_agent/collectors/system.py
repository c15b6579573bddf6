"""What belongs to the host as a whole: uptime, processes, open files."""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from collector_agent.collectors import NO_LABELS, Sample


class System:
    """Counts that the kernel keeps ready, so that no process needs to be looked at."""

    name = "system"

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc

    def collect(self, now: float) -> list[Sample]:  # noqa: ARG002 - levels need no clock
        """Return ``uptime.seconds``, ``processes.*`` and ``files.open``."""
        samples: list[Sample] = [
            ("uptime.seconds", NO_LABELS, self._uptime()),
            ("processes.count", NO_LABELS, len(psutil.pids())),
        ]
        running = self._word("loadavg", 3)
        if running is not None:
            samples.append(("processes.running", NO_LABELS, float(running.partition("/")[0])))
        opened = self._word("sys/fs/file-nr", 0)
        if opened is not None:
            samples.append(("files.open", NO_LABELS, float(opened)))
        return samples

    def _uptime(self) -> float:
        # /proc/uptime does not jump when the wall clock is set; the boot time elsewhere is all there is.
        word = self._word("uptime", 0)
        return float(word) if word is not None else max(0.0, time.time() - psutil.boot_time())

    def _word(self, name: str, index: int) -> str | None:
        """Return word ``index`` of a file below ``/proc``; ``None`` where the system has no such file."""
        try:
            return (self._proc / name).read_text().split()[index]
        except FileNotFoundError:
            return None
