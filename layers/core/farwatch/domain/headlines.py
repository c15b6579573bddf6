"""One line that names the trouble and its cause: ``CPU 97 % on web-3 for 2 min: stress (pid 4242) uses 93 %``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from farwatch.domain.measures import Measure
from farwatch.domain.samples import TopProcess
from farwatch.domain.signals import Signal, SignalKind

TITLE_LENGTH = 200
_LONG = 1e15  # more digits than these are read by nobody
_BLAMED_CPU_PERCENT = 20.0  # below this no single process is the cause worth naming
_BLAMED_MEMORY_BYTES = 200_000_000

# What people call a metric, longest prefix first; ``{label}`` is filled from the signal's labels.
_NOUNS: tuple[tuple[str, str], ...] = (
    ("cpu.core_percent", "CPU core {core}"),
    ("cpu.iowait_percent", "CPU waiting for disks"),
    ("cpu.steal_percent", "CPU stolen by the hypervisor"),
    ("cpu.", "CPU"),
    ("load.", "Load"),
    ("memory.available_bytes", "Free memory"),
    ("memory.", "Memory"),
    ("swap.", "Swap"),
    ("disk.used_percent", "Disk {mount}"),
    ("disk.free_bytes", "Free space on {mount}"),
    ("disk.inodes_used_percent", "Inodes of {mount}"),
    ("disk.busy_percent", "Disk {device} busy"),
    ("temperature.celsius", "Temperature of {sensor}"),
)

_UNITS: Mapping[str, str] = {
    "percent": "%",
    "%": "%",
    "bytes": "B",
    "bytes_per_second": "B/s",
    "per_second": "/s",
    "celsius": "°C",
    "seconds": "s",
}


def headline(signal: Signal) -> str:
    """Return the incident title for a signal, at most ``TITLE_LENGTH`` characters on one line.

    The value and the noun are named where the metric is one people have a word for; otherwise the signal's own title
    stands. The busiest process follows when it plausibly is the cause.
    """
    subject = _subject(signal)
    if signal.host_name and signal.host_name not in subject:
        subject = f"{subject} on {signal.host_name}"
    lasted = signal.at - signal.started_at
    if signal.kind is not SignalKind.SILENCE and lasted >= 60_000:
        subject = f"{subject} for {duration(lasted)}"
    cause = "" if _on_silence(signal) else _cause(signal)
    return one_line(subject + cause, TITLE_LENGTH)


def _subject(signal: Signal) -> str:
    noun = _noun(signal.metric, signal.labels)
    if signal.kind is not SignalKind.RULE or noun is None or signal.value is None or _on_silence(signal):
        return signal.title
    return f"{noun} {quantity(signal.value, signal.unit)}"


def _on_silence(signal: Signal) -> bool:
    """Return whether a rule fired because the series is not sent: its value is then a time, and no process caused it."""
    return signal.evidence.get("measure") == Measure.SILENT


def _noun(metric: str | None, labels: Mapping[str, str]) -> str | None:
    for prefix, noun in _NOUNS:
        if metric is not None and metric.startswith(prefix):
            named = {name: labels.get(name, "")[:60] for name in ("core", "mount", "device", "sensor")}
            return " ".join(noun.format_map(named).split())
    return None


def _cause(signal: Signal) -> str:
    process = culprit(signal.metric, signal.top_processes)
    if process is None:
        return ""
    metric = signal.metric or ""
    used = (
        quantity(float(process.rss_bytes), "bytes")
        if metric.startswith(("memory.", "swap."))
        else quantity(process.cpu_percent, "percent")
    )
    return f": {process.name[:60]} (pid {process.pid}) uses {used}"


def culprit(metric: str | None, processes: Sequence[TopProcess]) -> TopProcess | None:
    """Return the process that most likely causes trouble with ``metric``, or None when none stands out.

    Processor metrics blame the busiest process, memory metrics the largest; other metrics blame nobody.
    """
    if metric is None or not processes:
        return None
    if metric.startswith(("cpu.", "load.")):
        busiest = max(processes, key=lambda process: process.cpu_percent)
        return busiest if busiest.cpu_percent >= _BLAMED_CPU_PERCENT else None
    if metric.startswith(("memory.", "swap.")):
        largest = max(processes, key=lambda process: process.rss_bytes)
        return largest if largest.rss_bytes >= _BLAMED_MEMORY_BYTES else None
    return None


def quantity(value: float, unit: str | None) -> str:
    """Return a value with its unit as people write it: ``97 %``, ``1.5 GB``, ``64 °C``."""
    if unit in ("bytes", "bytes_per_second", "B"):
        return _bytes(value) + ("/s" if unit == "bytes_per_second" else "")
    value += 0.0  # which turns -0.0 into 0.0
    text = f"{value:.0f}" if 100 <= abs(value) < _LONG else f"{value:.3g}"
    if unit in ("percent", "%") and abs(value) < _LONG:
        text = f"{value:.0f}" if abs(value) >= 10 else f"{value:.1f}"
    symbol = _UNITS.get(unit or "", unit or "")
    return f"{text} {symbol}".strip()


def _bytes(value: float) -> str:
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(value) < 999.5 or unit == "TB":
            return f"{value:.0f} {unit}" if 999.5 <= abs(value) < _LONG else f"{value:.3g} {unit}"
        value /= 1000
    raise AssertionError("unreachable: the last unit always answers")


def duration(milliseconds: int) -> str:
    """Return a length of time in the two largest units that matter: ``45 s``, ``2 min``, ``3 h 20 min``, ``2 d 4 h``."""
    seconds = max(0, round(milliseconds / 1000))
    if seconds < 60:
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def one_line(text: str, limit: int) -> str:
    """Return text without line breaks or control characters, cut to ``limit`` with an ellipsis.

    Names of hosts and processes come from outside; a line break in one must not become a header in a mail.
    """
    clean = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return clean if len(clean) <= limit else clean[: limit - 1].rstrip() + "…"
