"""Words and figures as people read them, and text from outside made safe for Streamlit's markdown."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_PUNCTUATION = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$^=&\"':/@])")
_SHORTCODE = re.compile(r":(?=[\w+\-/]+:)")
_ADDRESS = re.compile(r"(?i)(?<=\w)://|\bwww\.|(?<=\w)@(?=\w)")
_SPACE = re.compile(r"\s+")
_UNPRINTABLE = re.compile(r"[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069\ufeff]")
_BREAK = "\u200c"  # zero-width non-joiner: ends a shortcode or an address without being seen

SEVERITIES = ("critical", "high", "warning", "info")
SEVERITY_ICON = {"critical": "▲", "high": "▲", "warning": "◆", "info": "●"}
SEVERITY_WORD = {"critical": "Critical", "high": "High", "warning": "Warning", "info": "Info"}
PATTERN_WORD = {
    "spike": "Spike",
    "dip": "Dip",
    "shift": "New level",
    "drift": "Drift",
    "rhythm": "Change of rhythm",
    "silence": "Silence",
    "flat": "Flat line",
}
DETECTOR_WORD = {
    "default": "Farwatch's own",
    "zscore": "z-score",
    "iqr": "IQR",
    "isolation_forest": "Isolation forest",
    "lof": "LOF",
}
STATE_ICON = {"open": "●", "acknowledged": "◐", "resolved": "✓"}


def plain(text: object, limit: int = 300) -> str:
    """Return text from outside so that Streamlit's markdown shows it letter for letter, on one line.

    Host names, metric names, process names and comments are whatever somebody typed (or attacked with): every
    punctuation mark is escaped, emoji and icon shortcodes and bare addresses are broken up, control and
    direction-changing characters are dropped.
    """
    flat = _SPACE.sub(" ", _UNPRINTABLE.sub("", str(text))).strip()
    if len(flat) > limit:
        flat = flat[: limit - 1] + "…"
    broken = _ADDRESS.sub(lambda match: match[0][0] + _BREAK + match[0][1:], flat)
    broken = _SHORTCODE.sub(":" + _BREAK, broken)
    return _PUNCTUATION.sub(r"\\\1", broken)


def ago(seconds: float) -> str:
    """Return an age such as ``12 s``, ``3 min``, ``5 h`` or ``2 d``."""
    seconds = max(0.0, seconds)
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86400:.0f} d"


def interval(seconds: float) -> str:
    """Return an interval such as ``5 s``, ``2 min`` or ``1 h``."""
    for size, name in ((3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:g} s"


MOST_FINER = 6
_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi")
_DECIMAL = ("", "k", "M", "G", "T")


def amount(value: float | None, unit: str = "", *, finer: int = 0) -> str:
    """Return a value with its unit as the API names it: ``97.2 %``, ``1.4 GiB``, ``830 KiB/s``, ``0.8``; a dash for None.

    ``finer`` asks for that many digits more than usual; an age has none.
    """
    if value is None:
        return "–"
    if unit == "s" and (abs(value) >= 60 or value == int(value)):
        return ago(value)
    if unit in {"%", "°C", "ms", "s"}:
        return f"{_digits(value, finer)} {unit}"
    base, names = (1024.0, _BINARY) if unit.startswith("B") else (1000.0, _DECIMAL)
    step = 0
    while abs(value) >= base and step < len(names) - 1:
        value /= base
        step += 1
    gap = "" if unit == "/s" and not names[step] else " "
    return f"{_digits(value, finer)}{gap}{names[step]}{unit}".rstrip()


def _digits(value: float, finer: int = 0) -> str:
    size = abs(value)
    if size >= 1e15:
        return f"{value:.3g}"
    places = finer + (0 if size >= 100 else 1 if size >= 10 else 2)
    text = f"{value:.{places}f}"
    if places:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def beside_range(value: float, low: float, high: float, unit: str = "") -> tuple[str, str, str]:
    """Return a value and the ends of a range with as many digits as it takes to see whether the value lies outside."""
    texts = ("", "", "")
    for finer in range(MOST_FINER):
        texts = (
            amount(value, unit, finer=finer),
            amount(low, unit, finer=finer),
            amount(high, unit, finer=finer),
        )
        if not (value < low and texts[0] == texts[1]) and not (value > high and texts[0] == texts[2]):
            break
    return texts


def series_name(metric: str, labels: dict[str, str]) -> str:
    """Return ``metric{label=value}`` without escapes; pass it through :func:`plain` before markdown."""
    if not labels:
        return metric
    return f"{metric}{{{', '.join(f'{k}={v}' for k, v in sorted(labels.items()))}}}"


def zone(name: str | None) -> ZoneInfo:
    """Return the timezone of that name, UTC if there is none such."""
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def clock_time(at: int | None, timezone: str | None, *, seconds: bool = False) -> str:
    """Return epoch milliseconds as ``2026-03-01 14:05`` in a timezone, a dash for None."""
    if at is None:
        return "–"
    moment = datetime.fromtimestamp(at / 1000, UTC).astimezone(zone(timezone))
    return moment.strftime("%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M")
