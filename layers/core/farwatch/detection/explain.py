"""An anomaly in words: what was expected, what came, how rare it is, since when, and what it looks like."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

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

_KNOWN = {Pattern.SPIKE: "is unusually high", Pattern.DIP: "is unusually low"}
_KNOWN_BETWEEN = "is unusual for this moment"
"""The same of a detector that remembers how odd a series has been, and not its values: the value may be an old one."""

_NOISE = 1e-6
"""An end of the range smaller than this, and than this part of the value or of the other end, is nought."""

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
    remembers: bool = True,
) -> Explanation:
    """Return what is to be said of the sample at (row, column) of ``scores``.

    ``interval`` is the usual time between two samples in seconds; it turns the rarity, which counts
    samples, into time. ``name`` and ``unit`` are shown as they are given: escape them where the text is
    shown. ``possible`` moves an end of the expected range to the nearest value that the metric can have. ``remembers`` tells
    whether the detector knows which values the series has had.
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
    phrase = _PHRASES[pattern] if remembers else _KNOWN.get(pattern, _PHRASES[pattern])
    if inside and pattern in _KNOWN:
        phrase = _BETWEEN if remembers else _KNOWN_BETWEEN
    said, usual = _told_apart(value, low, high, unit)
    parts = [f"{name} {phrase}: {said}"]
    if usual:
        parts.append(f"{'within' if inside else 'expected'} {usual}")
    if pattern is not Pattern.NONE:
        parts.append(f"seen about once in {duration(every)}")
    if since is not None and time - since >= interval:
        parts.append(f"for {duration(time - since)}")
    return Explanation(pattern.name.lower(), value, low, high, every, since, ", ".join(parts) + ".")


def duration(seconds: float) -> str:
    """Return ``seconds`` in the largest unit that fits, rounded: "3 weeks", "1 hour", "40 seconds"."""
    for (size, name), (finer, _) in pairwise((*_UNITS, (1.0, "second"))):
        if seconds >= size - finer / 2:
            count = max(round(seconds / size), 1)
            return f"{count} {name}{'s' if count != 1 else ''}"
    count = max(round(seconds), 1)
    return f"{count} second{'s' if count != 1 else ''}"


def _known(number: float) -> float | None:
    """Return the number, or None where there is none yet."""
    return float(number) if math.isfinite(number) else None


def _told_apart(value: float, low: float | None, high: float | None, unit: str) -> tuple[str, str]:
    """Return the value and the range in words, the range empty where it is not known: with three digits, or as many as it
    takes to tell a value outside from the end it is beyond."""
    if low is None or high is None:
        return show(value, unit), ""
    noise = _NOISE * min(max(abs(value), abs(low), abs(high)), 1.0)
    low, high = (0.0 if abs(end) < noise else end for end in (low, high))
    beyond = low if value < low else high if value > high else None
    digits = 3
    if beyond is not None:
        digits = next((n for n in range(3, 12) if show(value, unit, n) != show(beyond, unit, n)), 12)
    return show(value, unit, digits), _range(show(low, unit, digits), show(high, unit, digits))


def _range(first: str, last: str) -> str:
    """Return both ends, the unit once where it is the same: "10 to 20 %", "200 KiB/s to 1.5 MiB/s"; one where both read the
    same: "5 %"."""
    if first == last:
        return last
    number, _, name = first.partition(" ")
    return f"{number if name and last.endswith(f' {name}') else first} to {last}"
