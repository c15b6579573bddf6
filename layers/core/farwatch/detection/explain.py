"""An anomaly in words: what was expected, what came, how rare it is, since when, and what it looks like."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from farwatch.detection.interface import Pattern, Scores
from farwatch.domain.units import show

_PHRASES = {
    Pattern.NONE: "is as usual",
    Pattern.SPIKE: "rose to a value it has not had before",
    Pattern.DIP: "fell to a value it has not had before",
    Pattern.SHIFT: "has moved to a new level",
    Pattern.DRIFT: "has drifted to a level it has not had before",
    Pattern.RHYTHM: "has changed its rhythm",
    Pattern.SILENCE: "has gone silent",
    Pattern.FLAT: "has gone flat",
}

_BETWEEN = "took a value it has not had before, between those it has had"
"""Of a spike or dip inside the expected range: neither high nor low, only new."""

_UNITS = (
    (86400.0 * 365.25, "year"),
    (86400.0 * 7, "week"),
    (86400.0, "day"),
    (3600.0, "hour"),
    (60.0, "minute"),
)


@dataclass(frozen=True, slots=True)
class Explanation:
    """The facts of one anomaly and a sentence that says them. Times are seconds since 1970."""

    pattern: str
    value: float
    low: float | None
    high: float | None
    every_seconds: float
    since: float | None
    text: str


def explain(
    scores: Scores,
    row: int,
    column: int,
    *,
    name: str,
    value: float,
    time: float,
    interval: float,
    unit: str = "",
    possible: Callable[[float], float] = float,
) -> Explanation:
    """Return what is to be said of the sample at (row, column) of ``scores``.

    ``interval`` is the usual time between two samples in seconds; it turns the rarity, which counts
    samples, into time. ``name`` and ``unit`` are shown as they are given: escape them where the text is
    shown. ``possible`` moves an end of the expected range to the nearest value that the metric can have.
    """
    low, high = (
        None if end is None else possible(end)
        for end in (_known(scores.low[row, column]), _known(scores.high[row, column]))
    )
    since = _known(scores.since[row, column])
    pattern = Pattern(int(scores.pattern[row, column]))
    if pattern is Pattern.DIP and value == 0.0 and low is not None and low > 0.0:
        pattern = Pattern.SILENCE
    every = float(scores.rarity[row, column]) * interval
    inside = low is not None and high is not None and low <= value <= high
    phrase = _BETWEEN if inside and pattern in {Pattern.SPIKE, Pattern.DIP} else _PHRASES[pattern]
    parts = [f"{name} {phrase}: {show(value, unit)}"]
    if low is not None and high is not None:
        parts.append(f"{'within' if inside else 'expected'} {_range(low, high, unit)}")
    if pattern is not Pattern.NONE:
        parts.append(f"seen about once in {duration(every)}")
    if since is not None and time - since >= interval:
        parts.append(f"for {duration(time - since)}")
    return Explanation(pattern.name.lower(), value, low, high, every, since, ", ".join(parts) + ".")


def duration(seconds: float) -> str:
    """Return ``seconds`` in the largest unit that fits, rounded: "3 weeks", "1 hour", "40 seconds"."""
    for size, name in _UNITS:
        if seconds >= size:
            count = round(seconds / size)
            return f"{count} {name}{'s' if count != 1 else ''}"
    count = max(round(seconds), 1)
    return f"{count} second{'s' if count != 1 else ''}"


def _known(number: float) -> float | None:
    """Return the number, or None where there is none yet."""
    return float(number) if math.isfinite(number) else None


def _range(low: float, high: float, unit: str) -> str:
    """Return both ends, the unit once where it is the same: "10 to 20 %", "200 KiB/s to 1.5 MiB/s"."""
    first, last = show(low, unit), show(high, unit)
    number, _, name = first.partition(" ")
    return f"{number if name and last.endswith(f' {name}') else first} to {last}"
