"""Units, read off a metric's name, and numbers as people like to read them."""

from __future__ import annotations

_SUFFIXES = (
    ("_per_second", "/s"),
    ("percent", "%"),
    ("bytes", "B"),
    ("seconds", "s"),
    ("celsius", "°C"),
    ("milliseconds", "ms"),
)
_AGES_S = 1e12
"""Seconds beyond which days say nothing: thirty thousand years."""

_IEC = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")


def unit_of(metric: str) -> str:
    """Return the unit a metric's suffix names (``disk.free_bytes`` → ``B``), or an empty string for a plain number."""
    if metric.endswith("milliseconds"):
        return "ms"
    if metric.endswith("_per_second") and "bytes" in metric.rpartition(".")[2].split("_"):
        return "B/s"  # net.bytes_received_per_second as well as disk.read_bytes_per_second
    return next((unit for suffix, unit in _SUFFIXES if metric.endswith(suffix)), "")


def show(value: float, unit: str, digits: int = 3) -> str:
    """Return ``value`` with its unit in ``digits`` significant digits or so: ``97.3 %``, ``1.5 GiB/s``, ``2 h 5 min``."""
    if unit in ("B", "B/s"):
        scaled, step = abs(value), 0
        while scaled >= 1023.5 and step < len(_IEC) - 1:
            scaled, step = scaled / 1024, step + 1
        return f"{'-' if value < 0 else ''}{_digits(scaled, digits)} {_IEC[step]}{unit}"
    if unit == "s" and 60 <= abs(value) < _AGES_S:
        return duration(value)
    return f"{_digits(value, digits)} {unit}".strip() if unit != "/s" else f"{_digits(value, digits)}/s"


def duration(seconds: float) -> str:
    """Return a duration in its two largest units: ``45 s``, ``2 min``, ``3 h 20 min``, ``4 d 2 h``."""
    left = round(abs(seconds))
    parts = []
    for size, name in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {name}")
    return ("-" if seconds < 0 else "") + (" ".join(parts[:2]) or "0 s")


def estimate(seconds: float) -> str:
    """Return a duration that is only estimated, in one unit, no finer than it is known: ``25 min``, ``31 h``, ``12 d``."""
    count, unit = _estimate(seconds)
    return f"{count} {unit}"


def estimated_range(low: float, high: float) -> str:
    """Return a range of such durations, the unit once where it is the same: ``26 and 44 h``, ``50 min and 3 h``."""
    (low_count, low_unit), (high_count, high_unit) = _estimate(low), _estimate(high)
    first = str(low_count) if low_unit == high_unit else f"{low_count} {low_unit}"
    return f"{first} and {high_count} {high_unit}"


def _estimate(seconds: float) -> tuple[int, str]:
    if seconds < 2 * 3600:
        return max(round(seconds / 300) * 5, 5), "min"
    if seconds < 3 * 86_400:
        return round(seconds / 3600), "h"
    return round(seconds / 86_400), "d"


def _digits(value: float, digits: int) -> str:
    value += 0.0  # which turns -0.0 into 0.0
    size = abs(value)
    if size >= 1e15:
        return f"{value:.{digits}g}"
    if value == int(value):
        return f"{value:,.0f}"
    if size < 10:
        return f"{value:.{digits}g}"
    text = f"{value:,.{max(digits - len(str(int(size))), 0)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
