"""Time ranges: presets, custom spans, and how they are written in the URL.

``?range=1h`` is a preset that ends now; ``?from=…&to=…`` (epoch milliseconds) is a fixed span and wins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
PRESETS: dict[str, int] = {
    "Live": 10 * MINUTE,
    "1h": HOUR,
    "6h": 6 * HOUR,
    "24h": DAY,
    "7d": 7 * DAY,
    "30d": 30 * DAY,
}
DEFAULT = "Live"
SHORTEST = 10_000
LONGEST = 400 * DAY


@dataclass(frozen=True, slots=True)
class Range:
    """A span in epoch milliseconds. ``preset`` is None for a fixed span; only presets move with the clock."""

    start: int
    end: int
    preset: str | None

    @property
    def span(self) -> int:
        """The length in milliseconds."""
        return self.end - self.start


def preset(name: str, now: int) -> Range:
    """Return the preset's span ending at ``now``; an unknown name means the default."""
    known = name if name in PRESETS else DEFAULT
    return Range(now - PRESETS[known], now, known)


def from_query(query: Mapping[str, str], now: int, default: str = DEFAULT) -> Range:
    """Return the range a URL asks for. What makes no sense (to before from, not a number) is ignored."""
    start, end = _milliseconds(query.get("from")), _milliseconds(query.get("to"))
    if start is not None and end is not None and SHORTEST <= end - start <= LONGEST:
        return Range(start, end, None)
    return preset(query.get("range", default), now)


def to_query(chosen: Range) -> dict[str, str]:
    """Return the query parameters that bring this range back."""
    if chosen.preset is not None:
        return {"range": chosen.preset}
    return {"from": str(chosen.start), "to": str(chosen.end)}


def _milliseconds(text: str | None) -> int | None:
    if text is None or not text.isdecimal() or len(text) > 14:
        return None
    return int(text)


def resolution(tier: str, step_s: float, aggregate: str) -> str:
    """Return the words for how fine an answer is, such as ``1-min averages``."""
    word = {"mean": "averages", "min": "minima", "max": "maxima"}.get(aggregate, aggregate)
    if tier == "raw":
        return f"every sample, {step_s:g} s apart"
    size = (
        f"{step_s / 3600:g} h"
        if step_s >= 3600
        else f"{step_s / 60:g} min"
        if step_s >= 60
        else f"{step_s:g} s"
    )
    return f"{size} {word}"
