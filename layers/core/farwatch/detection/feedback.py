"""What people say about alarms, turned into the threshold of one series.

The threshold is computed from the list of false alarms each time and never stored as a number of its own:
taking a verdict back is leaving it off the list.
"""

from collections.abc import Sequence

from farwatch.detection.calibration import DEFAULT_THRESHOLD

STEP = 0.05
"""A false alarm moves the threshold this far above the score it had; about half a decade of rarity."""

CEILING = 0.99
"""A series is never silenced by feedback alone: what scores above this is always an anomaly."""


def threshold(false_alarms: Sequence[float], base: float = DEFAULT_THRESHOLD) -> float:
    """Return the threshold in [base, ``CEILING``] of a series, given the scores of its false alarms.

    Each verdict raises it by ``STEP``, and at least half-way towards a step above the score of that alarm:
    one verdict makes the same alarm unlikely, two rule it out, and the order does not matter.
    """
    raised = base
    for score in sorted(false_alarms):
        raised = max(raised + STEP, (raised + score + STEP) / 2.0)
    return min(raised, CEILING) if false_alarms else base
