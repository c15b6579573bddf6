"""Flap damping that grows: who comes back soon after ending must stay well for longer before it ends again.

Each firing within ``WINDOW_MS`` of the last end adds one to the flap count, and each full window of quiet takes one away.
The count doubles how long trouble is kept open after it was last seen, up to an hour. (Netdata's delay multiplier.)
"""

from __future__ import annotations

WINDOW_MS = 30 * 60_000
"""A firing this soon after the last end is a flap."""

MOST = 6
"""The count does not grow beyond this: 64 times as long."""

FIRST_S = 60.0
"""What a rule that ends at once is taken to keep firing for when its end begins to be damped."""

LONGEST_S = 3600.0
"""Damping never makes trouble outlast its end by more than this; a rule that asks for longer itself gets what it asks."""


def count_after_firing(flaps: int, ended_at: int, now: int) -> int:
    """Return the flap count of what fires at ``now`` having ended at ``ended_at`` (epoch ms, 0 for never)."""
    if not ended_at:
        return 0
    quiet = max(now - ended_at, 0) // WINDOW_MS
    return min(flaps + 1, MOST) if quiet == 0 else max(flaps - quiet, 0)


def keep_firing_s(asked_s: float, flaps: int) -> float:
    """Return how long to keep firing after the last trouble, in seconds, given the rule's own time and the flap count."""
    if not flaps:
        return asked_s
    return max(asked_s, min(max(asked_s, FIRST_S) * 2.0**flaps, LONGEST_S))
