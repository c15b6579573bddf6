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
from farwatch.detection.memory import distances
from farwatch.detection.rows import held, latest, spans

KEPT = np.array([64, 48, 48, 48, 48])
"""Remembered values of the series itself and of each of the other four views."""

ROOM = 64
"""The largest of those."""

SAMPLE = 64
"""Values kept, evenly spread over the past, for the quantiles that set the scale."""

SPAN = 256
"""The most samples between two of those, so that the scale follows the last ``SAMPLE * SPAN`` at the
latest."""

GRAIN = 0.02
"""Values closer than this on the scale are one to the memory."""

BEND = 2.0
"""Where the scale turns from linear to logarithmic: at half of the spread from the median."""

FAST, SLOW = 16, 48
"""Samples that "the last minutes" and "recent" mean: 80 minutes and four hours at five minutes."""

SLOTS = 48
"""Times of day that have a usual value of their own."""

SEASON_RATE = 0.3
"""How much of today's difference the usual value of a time of day takes over."""

WEIGHTS = np.array([1.0, 0.3, 0.3, 0.6, 0.3])
"""What the distances count for: of the value, peak, level, unrest, time of day."""

VIEWS = len(WEIGHTS)

WARM = 20
"""Samples before anything is odd."""

COMPARED = 100
"""Samples compared with the usual for their time of day before the difference may be odd."""

RUNS = 50.0
"""Runs of equal values over which their usual length is averaged."""

STUCK = 0.1
"""Surprise when a flat line is twice as long as the longest known, and more with every doubling."""

DAY = 86400.0


NUMBERS = (
    "count",  # samples folded in
    "anchor",  # the first value: memories hold differences from it, for float32's sake
    "median",
    "spread",
    "stride",  # samples between two that are kept for the quantiles
    "held",  # how many of those there are
    "place",  # where the next one goes once there is no more room
    "peak",  # of this stretch of FAST samples
    "peak_before",  # of the stretch before
    "level",  # running means: of the value on the scale,
    "square",  # of its square,
    "off_season",  # of its difference from the usual at this time of day,
    "usual_run",  # of the samples from one change to the next
    "slot",
    "slot_sum",
    "slot_count",
    "compared",  # samples whose time of day had a usual value
    "previous",
    "run",  # samples since the value last changed
    "longest",  # the longest such run that ended
)
"""What is remembered of a series beside its lists of values: one number each."""

MEANS = slice(NUMBERS.index("level"), NUMBERS.index("usual_run") + 1)

Numbers = dict[str, FloatArray]
"""Those numbers by name, (S,) each; changed in place."""


class Novelty:
    """Distance from everything the series has been, over five views of it; numpy only."""

    name = "default"
    version = 2
    calibrated = True
    dtype = np.dtype(
        [
            ("numbers", "<f8", (len(NUMBERS),)),
            ("memory", "<f4", (VIEWS, ROOM)),
            ("crowd", "<f8", (VIEWS,)),  # see ``memory.distances``
            ("sample", "<f4", (SAMPLE,)),
            ("season", "<f4", (SLOTS,)),
        ]
    )

    def new_state(self, n_series: int) -> StateArray:
        """Return ``n_series`` records that remember nothing."""
        state = np.zeros(n_series, self.dtype)
        state["memory"] = np.inf
        state["sample"] = np.inf
        state["season"] = np.nan
        for name, first in {"stride": 1, "slot": -1, "longest": -1, "peak": -np.inf}.items():
            state["numbers"][:, NUMBERS.index(name)] = first
        return state

    def run(
        self, records: StateArray, times: FloatArray, x: FloatArray, ok: BoolArray, /
    ) -> tuple[NDArray[Any], ...]:
        """See ``Oddness.run``. The expected range is three recent deviations about the recent level."""
        block = records["numbers"].T.copy()
        numbers: Numbers = dict(zip(NUMBERS, block, strict=True))
        taken = ok.cumsum(axis=0)
        n = numbers["count"] + (taken - ok)
        first = np.nonzero(ok & (n == 0))
        numbers["anchor"][first[1]] = x[first]
        y = np.where(ok, x - numbers["anchor"], 0.0)
        scale = _scale(records, numbers, y, n, ok)
        centre, unit = scale[:, :-1]
        z = np.arcsinh((y - centre) / unit)

        at = latest(ok)
        usual = _usual(records, numbers, times, z, ok, at)
        changed, ran, runs = _runs(numbers, y, n, ok, at)
        means = _means(block[MEANS], z, usual, (changed, ran), n, ok)
        level, deviation = means[:, 0], np.sqrt(np.maximum(means[:, 1] - means[:, 0] ** 2, 0.0))
        views = np.empty((len(x), VIEWS, x.shape[1]))
        views[:, 0], views[:, 1] = y, _peak(numbers, z, n, ok)
        views[:, 2], views[:, 3], views[:, 4] = level[1:], deviation[1:], means[1:, 2]
        memory, crowd = records["memory"].swapaxes(0, 1).reshape(-1, ROOM), records["crowd"].T.ravel()
        most, oks = np.repeat(KEPT, x.shape[1]), np.concatenate([ok] * VIEWS, axis=1)
        gaps = distances(memory, crowd, most, views.reshape(len(x), -1), oks, GRAIN, scale)
        records["memory"], records["crowd"] = (
            memory.reshape(VIEWS, -1, ROOM).swapaxes(0, 1),
            crowd.reshape(VIEWS, -1).T,
        )
        odd = np.empty((VIEWS + 1, *x.shape))
        odd[:-1] = (gaps.reshape(views.shape) * WEIGHTS[:, None]).swapaxes(0, 1)
        # On the second day every difference from the first is new; it takes some to know their size.
        compared = numbers["compared"] + np.cumsum(ok & ~np.isnan(usual), axis=0)
        odd[4, compared < COMPARED] = 0.0
        odd[5] = _stuck(*runs, means[1:, 3])

        numbers["compared"][:] = compared[-1]
        numbers["count"] += taken[-1]
        records["numbers"] = block.T
        warm = ok & (n >= WARM)
        odd = np.where(np.isfinite(odd) & warm, odd, 0.0)
        ends = _ends(level[:-1], deviation[:-1])
        low, high = np.where(warm, numbers["anchor"] + centre + unit * ends, np.nan)
        return odd.max(axis=0), low, high, _pattern(odd.argmax(axis=0), z, level[:-1], deviation[:-1])


def _ends(level: FloatArray, deviation: FloatArray) -> FloatArray:
    """Return the ends (2, T, S) of the expected range, in units from the centre of the scale."""
    reach = 3.0 * deviation + 5.0 * GRAIN
    ends: FloatArray = np.sinh(np.minimum(np.maximum(np.array([level - reach, level + reach]), -40.0), 40.0))
    return ends


def _means(
    before: FloatArray,
    z: FloatArray,
    usual: FloatArray,
    change: tuple[BoolArray, FloatArray],
    n: FloatArray,
    ok: BoolArray,
) -> FloatArray:
    """Fold samples into the running means ``before`` (4, S), in place; return them before the first and after each row
    (T + 1, 4, S): level, square, difference from the usual, length of the runs that ended in a ``change``.
    """
    x = np.empty((len(z), *before.shape))
    x[:, 0], x[:, 1], x[:, 3] = z, z * z, change[1]
    x[:, 2] = np.where(np.isnan(usual), 0.0, z - usual)
    rates = 2.0 / (np.array([SLOW, SLOW, FAST, np.inf])[:, None] + 1.0)
    rate = np.maximum((ok / (n + 1.0))[:, None], ok[:, None] * rates)
    rate[:, 3] = change[0] / RUNS
    means = np.empty((len(z) + 1, *before.shape))
    means[0] = before
    for row, mean in enumerate(means[:-1]):
        np.add(mean, rate[row] * (x[row] - mean), out=means[row + 1])
    before[:] = means[-1]
    return means


def _peak(numbers: Numbers, z: FloatArray, n: FloatArray, ok: BoolArray) -> FloatArray:
    """Return the maximum of this stretch of ``FAST`` samples and the one before (T, S)."""
    turn = ok & (n % FAST == 0)
    peak, before = numbers["peak"], numbers["peak_before"]
    top = np.where(ok, z, -np.inf)
    for start, end in spans(turn):
        np.copyto(before, peak, where=turn[start])
        np.copyto(peak, -np.inf, where=turn[start])
        np.maximum(top[start], peak, out=top[start])
        stretch = np.maximum.accumulate(top[start:end], axis=0)
        peak[:] = stretch[-1]
        np.maximum(stretch, before, out=top[start:end])
    return np.where(ok, top, 0.0)


def _usual(
    records: StateArray,
    numbers: Numbers,
    times: FloatArray,
    z: FloatArray,
    ok: BoolArray,
    at: NDArray[np.intp],
) -> FloatArray:
    """Return the usual value at each sample's time of day (T, S), NaN where none is known; learn from the samples."""
    slot = np.floor(np.where(ok, times, 0.0) % DAY * (SLOTS / DAY))
    moved = ok & (slot != held(slot, numbers["slot"], at)[:-1])
    place, each = slot.astype(np.intp), np.arange(z.shape[1])
    usual, summed = np.empty_like(z), np.where(ok, z, 0.0)
    for start, end in spans(moved):
        columns = moved[start].nonzero()[0]
        if len(columns):
            _learn_season(records["season"], numbers, columns, slot[start, columns])
        usual[start:end] = records["season"][each, place[start:end]]
        # An accumulation adds in the order of time, a sum does not promise to.
        sums = np.concatenate([numbers["slot_sum"][None], summed[start:end]])
        numbers["slot_sum"][:] = np.add.accumulate(sums, axis=0)[-1]
        numbers["slot_count"] += np.add.reduce(ok[start:end], axis=0)
    return usual


def _learn_season(
    season: NDArray[np.float32], numbers: Numbers, columns: NDArray[np.intp], slot: FloatArray
) -> None:
    """Let the usual value of the time of day that has passed learn its mean of today; begin the next."""
    left, count = numbers["slot"][columns].astype(np.intp), numbers["slot_count"][columns]
    mean = numbers["slot_sum"][columns] / np.maximum(count, 1.0)
    usual = season[columns, left].astype(np.float64)
    learned = np.where(np.isnan(usual), mean, usual + SEASON_RATE * (mean - usual))
    season[columns, left] = np.where(count > 0, learned, usual)
    numbers["slot"][columns] = slot
    numbers["slot_sum"][columns] = 0.0
    numbers["slot_count"][columns] = 0.0


def _runs(
    numbers: Numbers, y: FloatArray, n: FloatArray, ok: BoolArray, at: NDArray[np.intp]
) -> tuple[BoolArray, FloatArray, tuple[BoolArray, FloatArray, FloatArray]]:
    """Return where the value changed, how long it had not before each sample, and what ``_stuck`` asks of the runs: where
    one goes on, its length, and the longest that ended (all T, S).
    """
    values = held(y, numbers["previous"], at)
    changed = ok & (n > 0) & (y != values[:-1])
    samples = numbers["run"] + ok.cumsum(axis=0)
    run = samples - np.maximum.accumulate(np.where(changed, samples, 0.0), axis=0)
    ran = np.concatenate([numbers["run"][None], run[:-1]])
    ended = np.where(changed, ran, numbers["longest"])
    longest = np.maximum.accumulate(np.maximum(ended, numbers["longest"]), axis=0)
    numbers["previous"][:], numbers["run"][:], numbers["longest"][:] = values[-1], run[-1], longest[-1]
    return changed, ran, (ok, run, longest)


def _stuck(ok: BoolArray, run: FloatArray, longest: FloatArray, usual: FloatArray) -> FloatArray:
    """Return the surprise (T, S) of a value that does not change, in a series whose values usually do."""
    if not (run >= 2.0 * FAST).any():
        return np.zeros_like(run)
    limit = np.maximum(2.0 * FAST, 2.0 * longest)
    # Only for a series that has a habit of changing: counters of rare events rest for as long as they like.
    restless = (longest >= 0) & (usual < 3.0)
    # In steps, not as a ramp: news is what is suddenly odder than a sample ago.
    doublings = np.floor(np.log2(np.maximum(run, 0.5) / limit))
    reached = (doublings >= 0) & (doublings > np.floor(np.log2(np.maximum(run - 1.0, 0.5) / limit)))
    return np.where(ok & restless & reached, STUCK * (1.0 + doublings), 0.0)


def _scale(records: StateArray, numbers: Numbers, y: FloatArray, n: FloatArray, ok: BoolArray) -> FloatArray:
    """Return the scale's centre and unit before each sample and after the last (2, T + 1, S); keep every stride-th sample
    for it.
    """
    scale = np.empty((2, len(y) + 1, y.shape[1]))
    scale[0], scale[1] = numbers["median"], numbers["spread"]
    keeps = ok & (n % numbers["stride"] == 0)
    for row in keeps.any(axis=1).nonzero()[0]:
        # The stride may have doubled in an earlier row.
        columns = (keeps[row] & (n[row] % numbers["stride"] == 0)).nonzero()[0]
        _keep_sample(records["sample"], numbers, columns, y[row, columns])
        scale[0, row + 1 :] = numbers["median"]
        scale[1, row + 1 :] = numbers["spread"]
    # No spread below what float32 can hold, or a constant would have a scale made of rounding.
    least = 1e-6 * np.maximum(np.abs(numbers["anchor"] + scale[0]), 1e-3)
    scale[1] = np.maximum(scale[1], least) / BEND
    return scale


def _keep_sample(
    samples: NDArray[np.float32], numbers: Numbers, columns: NDArray[np.intp], y: FloatArray
) -> None:
    """Keep ``y`` (K,) among the samples of ``columns`` and set their median and spread from those kept.

    When there is no room, every second one is dropped and the stride doubles, up to ``SPAN``; then the
    oldest goes.
    """
    sample, count = samples[columns], numbers["held"][columns].astype(np.intp)
    full = count == SAMPLE
    thin = full & (numbers["stride"][columns] < SPAN)
    if thin.any():
        sample[thin, : SAMPLE // 2] = sample[thin, ::2]
        sample[thin, SAMPLE // 2 :] = np.inf
        count[thin] = SAMPLE // 2
        numbers["stride"][columns[thin]] *= 2.0
    ring = full & ~thin
    oldest = numbers["place"][columns].astype(np.intp)
    each = np.arange(len(columns))
    sample[each, np.where(ring, oldest, np.minimum(count, SAMPLE - 1))] = y
    samples[columns] = sample
    numbers["place"][columns] = np.where(ring, (oldest + 1) % SAMPLE, 0)
    count = np.where(ring, count, count + 1)
    numbers["held"][columns] = count
    ordered = np.sort(sample, axis=1).astype(np.float64)
    lower, middle, upper = (
        ordered[each, np.rint(q * (count - 1)).astype(np.intp)] for q in (0.05, 0.5, 0.95)
    )
    numbers["median"][columns] = middle
    numbers["spread"][columns] = upper - lower


def _pattern(view: NDArray[np.intp], z: FloatArray, level: FloatArray, deviation: FloatArray) -> NDArray[Any]:
    """Name the anomaly by the view that found it."""
    off = z - level
    names: NDArray[Any] = _PATTERNS[
        view,
        (off >= 0).astype(np.intp),
        (np.abs(off) > 3.0 * deviation).astype(np.intp),
        (deviation < GRAIN).astype(np.intp),
    ]
    return names


def _patterns() -> NDArray[np.uint8]:
    """Return the names by view, whether the value is above its level, far from it, and steady."""
    names = np.empty((VIEWS + 1, 2, 2, 2), dtype=np.uint8)
    names[:2, 0], names[:2, 1] = Pattern.DIP, Pattern.SPIKE
    names[2, :, 0], names[2, :, 1] = Pattern.DRIFT, Pattern.SHIFT
    names[3, ..., 0], names[3, ..., 1] = Pattern.RHYTHM, Pattern.FLAT
    names[4], names[5] = Pattern.RHYTHM, Pattern.FLAT
    return names


_PATTERNS = _patterns()
