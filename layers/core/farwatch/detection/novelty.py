"""The default detector: is this like anything the series has been before?

Most detectors ask how far a value is from what is usual. This one asks how far it is from the nearest thing
that has ever happened: a series may be at 2 % and at 90 % every day, and then it is 50 % that is news. Five
views of the series are compared with what they have been before:

* the value itself;
* its maximum over the last minutes (peaks that fail to come);
* its recent level (shifts and drifts made of ordinary values);
* its recent unrest (noise that grows, lines that go flat, rhythms that change);
* its recent difference from the usual at this time of day.

A sixth looks for the opposite of news: a value that has stopped changing in a series whose values always do.

Distances are measured on an inverse hyperbolic sine scale centred on the median, whose unit is the spread
between the 5 % and 95 % quantiles, so a heavy tail does not make every record an alarm and no metric needs
a unit. The oddness is the largest of all, the slower views at a discount because they say less
than the value.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from farwatch.detection.interface import BoolArray, FloatArray, Pattern, StateArray
from farwatch.detection.memory import neighbours, remember
from farwatch.detection.streaming import Fields, row_by_row

VALUES = 128
"""Remembered values of the series itself."""

VIEWS = 48
"""Remembered values of each of the four other views."""

SAMPLE = 64
"""Values kept, evenly spread over the past, for the quantiles that set the scale."""

SPAN = 256
"""The most samples between two of those, so that the scale follows the last ``SAMPLE * SPAN`` at the
latest."""

GRAIN = 0.01
"""Values closer than this on the scale are one to the memory."""

BEND = 2.0
"""Where the scale turns from linear to logarithmic: at half of the spread from the median."""

FAST, SLOW = 12, 48
"""Samples that "the last minutes" and "recent" mean: an hour and four at five minutes."""

SLOTS = 48
"""Times of day that have a usual value of their own."""

VIEW_GRAIN = 0.02
"""The same for the slower views."""

SEASON_RATE = 0.3
"""How much of today's difference the usual value of a time of day takes over."""

DISCOUNT = np.array([0.3, 0.3, 0.6, 0.3])
"""Weights of the four slower views: peak, level, unrest, time of day."""

WARM = 20
"""Samples before anything is odd."""

COMPARED = 100
"""Samples compared with the usual for their time of day before the difference may be odd."""

RUNS = 50.0
"""Runs of equal values over which their usual length is averaged."""

STUCK = 0.1
"""Surprise when a flat line is twice as long as the longest known, and more with every doubling."""

DAY = 86400.0


class Novelty:
    """Distance from everything the series has been, over five views of it; numpy only."""

    name = "default"
    version = 1
    calibrated = True
    dtype = np.dtype(
        [
            ("count", "<f8"),  # samples folded in
            ("anchor", "<f8"),  # the first value: memories hold differences from it, for float32's sake
            ("median", "<f8"),
            ("spread", "<f8"),
            ("stride", "<f8"),  # samples between two that are kept for the quantiles
            ("held", "<i4"),  # how many of those there are
            ("place", "<i4"),  # where the next one goes once there is no more room
            ("peak", "<f8"),
            ("peak_before", "<f8"),
            ("level", "<f8"),
            ("square", "<f8"),
            ("slot", "<i4"),
            ("slot_sum", "<f8"),
            ("slot_count", "<f8"),
            ("off_season", "<f8"),
            ("compared", "<f4"),  # samples whose time of day had a usual value
            ("previous", "<f8"),
            ("run", "<f4"),  # samples since the value last changed
            ("longest", "<f4"),  # the longest such run that ended
            ("usual_run", "<f4"),
            ("values", "<f4", (VALUES,)),
            ("views", "<f4", (4, VIEWS)),
            ("sample", "<f4", (SAMPLE,)),
            ("season", "<f4", (SLOTS,)),
        ]
    )

    def new_state(self, n_series: int) -> StateArray:
        """Return ``n_series`` records that remember nothing."""
        state = np.zeros(n_series, self.dtype)
        state["values"] = np.inf
        state["views"] = np.inf
        state["sample"] = np.inf
        state["season"] = np.nan
        state["stride"] = 1
        state["slot"] = -1
        state["longest"] = -1
        return state

    def run(
        self, fields: Fields, times: FloatArray, x: FloatArray, ok: BoolArray, /
    ) -> tuple[NDArray[Any], ...]:
        """See ``Oddness.run``. The expected range is three recent deviations about the recent level."""
        return row_by_row(self._step, fields, times, x, ok)

    @staticmethod
    def _step(fields: Fields, now: FloatArray, x: FloatArray, ok: BoolArray) -> tuple[NDArray[Any], ...]:
        n = fields["count"].copy()
        anchor = fields["anchor"]
        anchor[:] = np.where(ok & (n == 0), x, anchor)
        y = np.where(ok, x - anchor, 0.0)
        median = fields["median"].copy()
        # No spread below what float32 can hold, or a constant would have a scale made of rounding.
        least = 1e-6 * np.maximum(np.abs(anchor + median), 1e-3)
        unit = np.maximum(fields["spread"], least) / BEND
        z = np.arcsinh((y - median) / unit)
        level, square = fields["level"], fields["square"]
        deviation = np.sqrt(np.maximum(square - level * level, 0.0))
        reach = 3.0 * deviation + 10.0 * GRAIN
        warm = ok & (n >= WARM)
        centre = anchor + median
        low = np.where(warm, centre + unit * np.sinh(np.clip(level - reach, -40.0, 40.0)), np.nan)
        high = np.where(warm, centre + unit * np.sinh(np.clip(level + reach, -40.0, 40.0)), np.nan)
        usual = level.copy()

        below, above = neighbours(fields["values"], y)
        gap = np.minimum(z - np.arcsinh((below - median) / unit), np.arcsinh((above - median) / unit) - z)
        new = np.flatnonzero(ok & ~(gap <= GRAIN))
        if len(new):
            remember(fields["values"], new, y[new], np.stack([median, unit], axis=1)[new])

        views = _views(fields, now, z, ok).reshape(-1)
        known = fields["views"].reshape(-1, VIEWS)
        below, above = neighbours(known, views)
        gaps = np.minimum(views - below, above - views)
        new = np.flatnonzero(np.repeat(ok, 4) & ~(gaps <= VIEW_GRAIN))
        if len(new):
            remember(known, new, views[new])

        _keep_sample(fields, y, ok)
        fields["count"] += ok
        # On the second day every difference from the first is new; it takes some to know their size.
        gaps = gaps.reshape(-1, 4)
        gaps[:, 3] = np.where(fields["compared"] < COMPARED, 0.0, gaps[:, 3])
        stuck = _stuck(fields, y, ok, n)
        ranked = np.column_stack([gap, gaps * DISCOUNT, stuck])
        ranked = np.where(np.isfinite(ranked) & warm[:, None], ranked, 0.0)
        return ranked.max(axis=1), low, high, _pattern(ranked.argmax(axis=1), z, usual, deviation)


def _views(fields: Fields, now: FloatArray, z: FloatArray, ok: BoolArray) -> FloatArray:
    """Fold ``z`` (S,) into the four slower views and return them, (S, 4): peak, level, unrest, time of
    day."""
    n = fields["count"]
    turn = n % FAST == 0
    before, peak = fields["peak_before"], fields["peak"]
    before[:] = np.where(ok & turn, np.where(n == 0, z, peak), before)
    peak[:] = np.where(ok, np.where(turn, z, np.maximum(peak, z)), peak)

    slow = np.where(ok, np.maximum(1.0 / (n + 1.0), 2.0 / (SLOW + 1.0)), 0.0)
    fast = np.where(ok, np.maximum(1.0 / (n + 1.0), 2.0 / (FAST + 1.0)), 0.0)
    level, square, off_season = fields["level"], fields["square"], fields["off_season"]
    level += slow * (z - level)
    square += slow * (z * z - square)
    unrest = np.sqrt(np.maximum(square - level * level, 0.0))

    slot = np.floor(np.where(ok, now, 0.0) % DAY * (SLOTS / DAY)).astype(np.intp)
    moved = np.flatnonzero(ok & (slot != fields["slot"]))
    if len(moved):
        _learn_season(fields, moved, slot[moved])
    fields["slot_sum"] += np.where(ok, z, 0.0)
    fields["slot_count"] += ok
    usual = fields["season"][np.arange(len(z)), slot].astype(np.float64)
    off_season += fast * (np.where(np.isnan(usual), 0.0, z - usual) - off_season)
    fields["compared"] += ok & ~np.isnan(usual)
    return np.column_stack([np.maximum(peak, before), level, unrest, off_season])


def _stuck(fields: Fields, y: FloatArray, ok: BoolArray, n: FloatArray) -> FloatArray:
    """Return the surprise (S,) of a value that does not change, in a series whose values usually do."""
    run, longest, usual = fields["run"], fields["longest"], fields["usual_run"]
    changed = ok & (n > 0) & (y != fields["previous"])
    longest[:] = np.where(changed, np.maximum(longest, run), longest)
    usual[:] = np.where(changed, usual + (run - usual) / RUNS, usual)
    run[:] = np.where(changed, 0.0, run + ok)
    fields["previous"][:] = np.where(ok, y, fields["previous"])
    limit = np.maximum(2.0 * FAST, 2.0 * longest)
    # Only for a series that has a habit of changing: counters of rare events rest for as long as they like.
    restless = (longest >= 0) & (usual < 3.0)
    # In steps, not as a ramp: news is what is suddenly odder than a sample ago.
    doublings = np.floor(np.log2(np.maximum(run, 0.5) / limit))
    reached = (doublings >= 0) & (doublings > np.floor(np.log2(np.maximum(run - 1.0, 0.5) / limit)))
    return np.where(ok & restless & reached, STUCK * (1.0 + doublings), 0.0)


def _learn_season(fields: Fields, rows: NDArray[np.intp], slot: NDArray[np.intp]) -> None:
    """Let the usual value of the time of day that has passed learn its mean of today; begin the next."""
    left, count = fields["slot"][rows], fields["slot_count"][rows]
    mean = fields["slot_sum"][rows] / np.maximum(count, 1.0)
    usual = fields["season"][rows, left].astype(np.float64)
    learned = np.where(np.isnan(usual), mean, usual + SEASON_RATE * (mean - usual))
    fields["season"][rows, left] = np.where(count > 0, learned, usual)
    fields["slot"][rows] = slot
    fields["slot_sum"][rows] = 0.0
    fields["slot_count"][rows] = 0.0


def _keep_sample(fields: Fields, y: FloatArray, ok: BoolArray) -> None:
    """Keep every stride-th value and set median and spread from those kept.

    When there is no room, every second one is dropped and the stride doubles, up to ``SPAN``; then the
    oldest goes.
    """
    rows = np.flatnonzero(ok & (fields["count"] % fields["stride"] == 0))
    if not len(rows):
        return
    sample, held = fields["sample"][rows], fields["held"][rows]
    full = held == SAMPLE
    thin = full & (fields["stride"][rows] < SPAN)
    if thin.any():
        sample[thin, : SAMPLE // 2] = sample[thin, ::2]
        sample[thin, SAMPLE // 2 :] = np.inf
        held[thin] = SAMPLE // 2
        fields["stride"][rows[thin]] *= 2.0
    ring = full & ~thin
    place = np.where(ring, fields["place"][rows], np.minimum(held, SAMPLE - 1))
    each = np.arange(len(rows))
    sample[each, place] = y[rows]
    fields["sample"][rows] = sample
    fields["place"][rows] = np.where(ring, (place + 1) % SAMPLE, 0)
    held = np.where(ring, held, held + 1)
    fields["held"][rows] = held
    ordered = np.sort(sample, axis=1).astype(np.float64)
    lower, middle, upper = (ordered[each, np.rint(q * (held - 1)).astype(np.intp)] for q in (0.05, 0.5, 0.95))
    fields["median"][rows] = middle
    fields["spread"][rows] = upper - lower


def _pattern(view: NDArray[np.intp], z: FloatArray, level: FloatArray, deviation: FloatArray) -> NDArray[Any]:
    """Name the anomaly by the view that found it."""
    direction = np.where(z >= level, Pattern.SPIKE, Pattern.DIP)
    moved = np.where(np.abs(z - level) > 3.0 * deviation, Pattern.SHIFT, Pattern.DRIFT)
    restless = np.where(deviation < GRAIN, Pattern.FLAT, Pattern.RHYTHM)
    rhythm = np.full_like(direction, Pattern.RHYTHM)
    return np.choose(
        view, [direction, direction, moved, restless, rhythm, np.full_like(direction, Pattern.FLAT)]
    )
