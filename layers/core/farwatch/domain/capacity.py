"""When a capacity that runs out becomes an alarm, and how it is said."""

from __future__ import annotations

from dataclasses import dataclass

from farwatch.domain.samples import SeriesKey
from farwatch.domain.severity import Severity
from farwatch.domain.units import estimate, estimated_range, show, unit_of

HOUR_S = 3600.0
WARN_S, WARN_LEAVE_S = 72 * HOUR_S, 96 * HOUR_S
CRITICAL_S, CRITICAL_LEAVE_S = 8 * HOUR_S, 24 * HOUR_S
WIDEST = 6.0
SLOWEST_PER_DAY, SLOWEST_LEAVE_PER_DAY = 0.5, 0.25

WATCHED: dict[str, float] = {
    "disk.used_percent": 100.0,
    "disk.inodes_used_percent": 100.0,
    "memory.used_percent": 100.0,
    "swap.used_percent": 100.0,
}
"""The bounded metrics whose time to threshold is kept up to date, and their thresholds."""

THINGS = {"disk.inodes_used_percent": "disk inodes"}
"""What runs out, where the first part of the metric's name does not say it."""

ALARMING = frozenset({"disk.used_percent", "disk.inodes_used_percent"})
"""Those that alarm. Memory and swap breathe with the working day: they are shown, and rules watch their level."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """When one series reaches its threshold, as estimated at ``at`` (epoch ms).

    Times are seconds from then; None is "not within a year". ``low_s`` to ``high_s`` is the 80 % range. ``alert`` is the
    severity of the alarm it raises, if any, and ``alert_since`` when that began.
    """

    host_id: str
    key: SeriesKey
    at: int
    threshold: float
    current: float
    per_day: float
    median_s: float | None
    low_s: float | None
    high_s: float | None
    alert: Severity | None = None
    alert_since: int = 0

    def in_words(self) -> str:
        """Return for example ``disk / full in 31 h, between 26 and 44 h, at the last days' rate of 3.1 % a day``."""
        unit = unit_of(self.key.metric)
        thing = THINGS.get(self.key.metric, self.key.metric.split(".")[0])
        what = " ".join([thing, *(value for _, value in self.key.labels)])
        if self.median_s is None:
            return f"{what} does not fill up within a year at the last days' rate"
        if self.current >= self.threshold:
            return f"{what} is full: {show(self.current, unit)}"
        rate = f"at the last days' rate of {show(self.per_day, unit)} a day"
        if self.median_s == 0:
            return f"{what} may be full by now: {show(self.current, unit)} when last measured, {rate}"
        if self.low_s is None or self.high_s is None:
            return f"{what} full in {estimate(self.median_s)} or later, {rate}"
        if estimate(self.low_s) == estimate(self.high_s):
            return f"{what} full in {estimate(self.median_s)}, {rate}"
        return f"{what} full in {estimate(self.median_s)}, between {estimated_range(self.low_s, self.high_s)}, {rate}"


def alert_level(outlook: Outlook, before: Severity | None) -> Severity | None:
    """Return the severity an outlook deserves, given the one it had before.

    Critical under 8 h until it is over 24 h, warning under 72 h until it is over 96 h. Nothing when the rate is under half a
    percent a day, under a quarter once it alarms. Of an 80 % range whose end is more than six times its start it is the end
    that counts: what may be full in 1 h or in 12 will be full soon, what may be full in 20 h or in 200 wakes nobody.
    """
    if outlook.key.metric not in ALARMING or outlook.median_s is None:
        return None
    left_s: float | None = outlook.median_s
    if outlook.median_s > 0:
        if outlook.per_day < (SLOWEST_PER_DAY if before is None else SLOWEST_LEAVE_PER_DAY):
            return None
        if _too_wide(outlook):
            left_s = outlook.high_s
    if left_s is None:
        return None
    critical_line = CRITICAL_LEAVE_S if before is Severity.CRITICAL else CRITICAL_S
    if left_s < critical_line:
        return Severity.CRITICAL
    warn_line = WARN_LEAVE_S if before is not None else WARN_S
    return Severity.WARNING if left_s < warn_line else None


def _too_wide(outlook: Outlook) -> bool:
    if outlook.low_s is None or outlook.high_s is None:
        return True
    # Close to the end the ratio says little: an hour's width is narrow enough whatever the ratio.
    return outlook.high_s > WIDEST * max(outlook.low_s, HOUR_S)
