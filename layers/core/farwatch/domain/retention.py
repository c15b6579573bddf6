"""How long samples are kept at which resolution, and which resolution a chart gets. Policy, not code."""

from __future__ import annotations

from dataclasses import dataclass

DAY_S = 86_400
RAW, MINUTE, HOUR = 0, 60, 3600
_STEPS_S = (60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)


@dataclass(frozen=True, slots=True)
class Retention:
    """Days that raw samples, 1-minute and 1-hour roll-ups are kept. Roll-ups keep min, max, mean and count."""

    raw_days: int = 3
    minute_days: int = 30
    hour_days: int = 730

    def days(self, tier_s: int) -> int:
        """Return the days kept of a tier: 0 (raw), 60 or 3600 seconds."""
        return {RAW: self.raw_days, MINUTE: self.minute_days, HOUR: self.hour_days}[tier_s]


@dataclass(frozen=True, slots=True)
class Resolution:
    """``tier_s`` is where to read (0 raw, 60, 3600); ``step_s`` the width of the buckets to answer with (0: as stored)."""

    tier_s: int
    step_s: int


def choose_resolution(
    start: int, end: int, points: int, interval_s: float, retention: Retention, now: int
) -> Resolution:
    """Return the finest resolution that draws [start, end) (epoch ms) in at most ``points`` buckets.

    Raw samples where they fit and are still kept, else the finest roll-up that is still kept at ``start``, in steps
    people can read (1, 2, 5, 10, 15, 30 minutes, 1, 2, 3, 6, 12, 24 hours; 2, 4, 8 … days). Buckets lie at multiples of
    their width, so a range may touch one more than it is long.
    """

    def fits(step_s: int) -> bool:
        return (end - 1) // (step_s * 1000) - start // (step_s * 1000) < points

    span_s, age_s = (end - start) / 1000, (now - start) / 1000
    raw_kept = age_s <= retention.raw_days * DAY_S
    if raw_kept and span_s / max(interval_s, 1.0) <= points:
        return Resolution(RAW, 0)
    step_s = next((step for step in _STEPS_S if fits(step)), _STEPS_S[-1])
    while not fits(step_s):
        step_s *= 2
    if raw_kept and span_s <= 3 * 3600:
        # Roll-ups lag by two minutes; a short recent range is cheap to bucket from raw and complete to its end.
        step_s = int(span_s / points) + 1
        while not fits(step_s):
            step_s += 1
        return Resolution(RAW, step_s)
    if age_s <= retention.minute_days * DAY_S and step_s < HOUR:
        return Resolution(MINUTE, step_s)
    return Resolution(HOUR, max(step_s, HOUR))
