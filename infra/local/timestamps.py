"""Times as people's recordings write them: ISO 8601, or a number since 1970 in seconds or something finer."""

from __future__ import annotations

from datetime import UTC, datetime

FARTHEST = 1e11
"""Seconds since 1970 beyond which a number must count something finer: it is the year 5138, and as milliseconds 1973."""

UNITS = (1.0, 1e3, 1e6, 1e9)
"""How many of what a number may count make a second: seconds, milli-, micro- and nanoseconds."""


def seconds_since_1970(text: str) -> float:
    """Return the time in seconds; without a zone it is UTC. Raises ValueError for anything that is no time."""
    per_second = units_per_second(text)
    if per_second is not None:
        return float(text) / per_second
    moment = datetime.fromisoformat(text.strip())
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def units_per_second(text: str) -> float | None:
    """Return what a time that is a number counts, as one of ``UNITS``; None for one that is not, or that is no time.

    Eight digits that are a day of the calendar are that. More digits are none, though 13 can be read as a day and an hour.
    """
    text = text.strip()
    try:
        number = float(text)
    except ValueError:
        return None
    if len(text) == len("20240131") and _is_iso(text):
        return None
    return next((unit for unit in UNITS if abs(number) < FARTHEST * unit), None)


def _is_iso(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
