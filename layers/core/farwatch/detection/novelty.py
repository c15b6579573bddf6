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

import numpy as np
from numpy.typing import NDArray

from farwatch.detection.interface import BoolArray, FloatArray, Pattern, StateArray
from farwatch.detection.memory import INSIDE, distances, with_edges
from farwatch.detection.rows import counting, shifted, spans
from farwatch.detection.streaming import Answers

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

REPEATS = 1000.0
"""Samples over which the share of those that repeat the one before is averaged."""

RESTLESS = 0.1
"""A series with a larger share of repeats stands still often, or counts few things: resting is nothing it must not do."""

STUCK = 0.1
"""Surprise when a flat line is twice as long as the longest known, and more with every doubling."""

DAY = 86400.0


NUMBERS = (
    "count",  # samples folded in
    "compared",  # of those, samples whose time of day had a usual value
    "anchor",  # the first value: memories hold differences from it, for float32's sake
    "median",
    "unit",  # of the scale: half of the spread
    "stride",  # samples between two that are kept for the quantiles
    "held",  # how many of those there are
    "place",  # where the next one goes once there is no more room
    "peak",  # of this stretch of FAST samples
    "peak_before",  # of the stretch before
    "level",  # running means: of the value on the scale,
    "square",  # of its square,
    "off_season",  # of its difference from the usual at this time of day,
    "repeats",  # and of whether a sample repeats the one before, in runs that have ended
    "slot",
    "slot_sum",
    "slot_count",
    "previous",
    "run",  # samples since the value last changed
    "longest",  # the longest such run that ended
)
"""What is remembered of a series beside its lists of values: one number each."""

SCALE = slice(NUMBERS.index("median"), NUMBERS.index("unit") + 1)
MEANS = slice(NUMBERS.index("level"), NUMBERS.index("repeats") + 1)

Numbers = dict[str, FloatArray]
"""Those numbers by name, (S,) each; changed in place."""


class Novelty:
    """Distance from everything the series has been, over five views of it; numpy only."""

    name = "default"
    version = 3
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
        for name, first in {"unit": 1, "stride": 1, "slot": -1, "longest": -1, "peak": -np.inf}.items():
            state["numbers"][:, NUMBERS.index(name)] = first
        return state

    def run(self, records: StateArray, times: FloatArray, x: FloatArray, /) -> Answers:
        """See ``Oddness.run``. The expected range is three recent deviations about the recent level."""
        block = records["numbers"].T.copy()
        numbers: Numbers = dict(zip(NUMBERS, block, strict=True))
        youngest, least = np.minimum.reduce(block[:2], axis=1, initial=np.inf).tolist()
        if not youngest:
            new = numbers["count"] == 0
            numbers["anchor"][new] = x[0, new]
        n = numbers["count"] + counting(len(x))
        y = x - numbers["anchor"]
        scale = _scale(records, numbers, block[SCALE], y, n)
        centre, unit = scale[:, : len(x)]
        z = np.arcsinh((y - centre) / unit)

        off = z - _usual(records, numbers, times, z)
        unknown = np.isnan(off)
        if np.count_nonzero(unknown):
            off[unknown] = 0.0
        changed, ran, run, longest = _runs(numbers, y)
        means = _means(block[MEANS], z, off, (changed, ran), n)
        level, square = means[:, 0], means[:, 1]
        deviation = np.sqrt(np.maximum(square - level * level, 0.0))
        views = np.empty((len(x), VIEWS, x.shape[1]))
        views[:, 0], views[:, 1], views[:, 2] = y, _peak(numbers, z, n), level[1:]
        views[:, 3], views[:, 4] = deviation[1:], means[1:, 2]
        odd = np.empty((VIEWS + 1, *x.shape))
        gaps = _gaps(records, views, scale)
        np.multiply(gaps.swapaxes(0, 1), WEIGHTS[:, None, None], out=odd[:-1])
        if least < COMPARED:
            # On the second day every difference from the first is new; it takes some to know their size.
            compared = numbers["compared"] + np.cumsum(~unknown, axis=0)
            odd[4, compared < COMPARED] = 0.0
            numbers["compared"][:] = compared[-1]
        odd[5] = _stuck(run, longest, means[1:, 3])

        numbers["count"] += len(x)
        records["numbers"] = block.T
        before, spread = level[:-1], deviation[:-1]
        low, high = numbers["anchor"] + centre + unit * _ends(before, spread)
        if youngest < WARM:
            cold = n < WARM
            odd[:, cold], low[cold], high[cold] = 0.0, np.nan, np.nan

        def name(which: BoolArray) -> NDArray[np.uint8]:
            flat = (deviation[1:] < GRAIN) & (means[1:, 3] <= RESTLESS)
            return _pattern(odd[:, which].argmax(axis=0), (z - before)[which], spread[which], flat[which])

        return np.maximum.reduce(odd, axis=0), low, high, name


def _gaps(records: StateArray, views: FloatArray, scale: FloatArray) -> FloatArray:
    """Return how far each view (T, VIEWS, S) is from what it has been; remember what is new."""
    width = views.shape[2]
    memory = with_edges(records["memory"].swapaxes(0, 1)).reshape(VIEWS * width, -1)
    crowd = records["crowd"].T.ravel()
    gaps, changed = distances(memory, crowd, KEPT.repeat(width), views.reshape(len(views), -1), GRAIN, scale)
    if len(changed):
        view, series = np.divmod(changed, width)
        records["memory"][series, view] = memory[changed, INSIDE]
    if len(changed) or scale.shape[1] > 1:
        records["crowd"] = crowd.reshape(VIEWS, width).T
    return gaps.reshape(views.shape)


def _ends(level: FloatArray, deviation: FloatArray) -> FloatArray:
    """Return the ends (2, T, S) of the expected range, in units from the centre of the scale."""
    reach = 3.0 * deviation + 5.0 * GRAIN
    ends = np.empty((2, *level.shape))
    np.subtract(level, reach, out=ends[0])
    np.add(level, reach, out=ends[1])
    np.maximum(ends, -40.0, out=ends)
    np.minimum(ends, 40.0, out=ends)
    return np.sinh(ends, out=ends)


def _means(
    before: FloatArray,
    z: FloatArray,
    off: FloatArray,
    change: tuple[BoolArray, FloatArray],
    n: FloatArray,
) -> FloatArray:
    """Fold samples into the running means ``before`` (4, S), in place; return them before the first and after each row
    (T + 1, 4, S): level, square, difference from the usual (``off``), share of repeats in runs ended by a ``change``.

    ``n`` is how many samples there were before each (T, S). A run counts when it ends, and for as much as it was long.
    """
    x = np.empty((len(z), *before.shape))
    changed, ran = change
    x[:, 0], x[:, 2], x[:, 3] = z, off, 1.0 - 1.0 / np.maximum(ran, 1.0)
    np.multiply(z, z, out=x[:, 1])
    rate = np.empty_like(x)
    rate[:, :2], rate[:, 2] = 2.0 / (SLOW + 1.0), 2.0 / (FAST + 1.0)
    share = 1.0 / (n + 1.0)
    np.maximum(rate[:, :3], share[:, None], out=rate[:, :3])
    rate[:, 3] = changed * np.minimum(ran * np.maximum(share, 1.0 / REPEATS), 1.0)
    means = np.empty((len(z) + 1, *before.shape))
    means[0] = before
    for now, share, mean, after in zip(x, rate, means[:-1], means[1:], strict=True):
        np.subtract(now, mean, out=after)
        np.multiply(after, share, out=after)
        np.add(mean, after, out=after)
    before[:] = means[-1]
    return means


def _peak(numbers: Numbers, z: FloatArray, n: FloatArray) -> FloatArray:
    """Return the maximum of this stretch of ``FAST`` samples and the one before (T, S)."""
    peak, before, top = numbers["peak"], numbers["peak_before"], np.empty_like(z)
    turn = n % FAST == 0
    for start, end in spans(turn):
        if np.count_nonzero(turn[start]):
            np.copyto(before, peak, where=turn[start])
            np.copyto(peak, -np.inf, where=turn[start])
        stretch = top[start:end]
        np.maximum(z[start], peak, out=stretch[0])
        stretch[1:] = z[start + 1 : end]
        np.maximum.accumulate(stretch, axis=0, out=stretch)
        peak[:] = stretch[-1]
        np.maximum(stretch, before, out=stretch)
    return top


def _usual(records: StateArray, numbers: Numbers, times: FloatArray, z: FloatArray) -> FloatArray:
    """Return the usual value at each sample's time of day (T, S), NaN where none is known; learn from the samples."""
    slot = np.floor(times % DAY * (SLOTS / DAY))
    place, each = slot.astype(np.intp), np.arange(z.shape[1])
    if not np.count_nonzero(slot != numbers["slot"]):
        _add_to_slot(numbers, z)
        return records["season"][each, place].astype(np.float64)
    slot = np.broadcast_to(slot, z.shape)
    moved, usual = slot != shifted(slot, numbers["slot"]), np.empty_like(z)
    for start, end in spans(moved):
        columns = moved[start].nonzero()[0]
        if len(columns):
            _learn_season(records["season"], numbers, columns, slot[start, columns])
        usual[start:end] = records["season"][each, place[start:end]]
        _add_to_slot(numbers, z[start:end])
    return usual


def _add_to_slot(numbers: Numbers, z: FloatArray) -> None:
    # An accumulation adds in the order of time, a sum does not promise to.
    sums = np.concatenate([numbers["slot_sum"][None], z])
    numbers["slot_sum"][:] = np.add.accumulate(sums, axis=0)[-1]
    numbers["slot_count"] += len(z)


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


def _runs(numbers: Numbers, y: FloatArray) -> tuple[BoolArray, FloatArray, FloatArray, FloatArray]:
    """Return where the value changed, how long it had not before each sample and how long it has not after it, and the
    longest such run that ended (all T, S).
    """
    # The first sample of a series is its anchor, 0, and so is what comes before it.
    changed = y != shifted(y, numbers["previous"])
    samples = numbers["run"] + counting(len(y), 1)
    run = samples - np.maximum.accumulate(np.where(changed, samples, 0.0), axis=0)
    ran = shifted(run, numbers["run"])
    longest = np.maximum(np.where(changed, ran, -1.0), numbers["longest"])
    np.maximum.accumulate(longest, axis=0, out=longest)
    numbers["previous"][:], numbers["run"][:], numbers["longest"][:] = y[-1], run[-1], longest[-1]
    return changed, ran, run, longest


def _stuck(run: FloatArray, longest: FloatArray, repeats: FloatArray) -> FloatArray | float:
    """Return the surprise (T, S) of a value that does not change, in a series whose values usually do."""
    if not np.count_nonzero(run >= 2.0 * FAST):
        return 0.0
    limit = np.maximum(2.0 * FAST, 2.0 * longest)
    restless = (longest >= 0) & (repeats <= RESTLESS)
    # In steps, not as a ramp: news is what is suddenly odder than a sample ago.
    doublings = np.floor(np.log2(np.maximum(run, 0.5) / limit))
    reached = (doublings >= 0) & (doublings > np.floor(np.log2(np.maximum(run - 1.0, 0.5) / limit)))
    return np.where(restless & reached, STUCK * (1.0 + doublings), 0.0)


def _scale(
    records: StateArray, numbers: Numbers, now: FloatArray, y: FloatArray, n: FloatArray
) -> FloatArray:
    """Return the scale's centre and unit before each sample and after the last (2, T + 1, S), or (2, 1, S) where they stay
    as they are ``now`` (2, S); keep every stride-th sample for them.
    """
    phase = n % numbers["stride"]
    if np.count_nonzero(phase) == phase.size:
        return now[:, None]
    keeps = phase == 0
    scale = np.repeat(now[:, None], len(y) + 1, axis=1)
    for row in keeps.any(axis=1).nonzero()[0]:
        # The stride may have doubled in an earlier row.
        columns = (keeps[row] & (n[row] % numbers["stride"] == 0)).nonzero()[0]
        _keep_sample(records["sample"], numbers, columns, y[row, columns])
        scale[:, row + 1 :] = now[:, None]
    return scale


def _keep_sample(
    samples: NDArray[np.float32], numbers: Numbers, columns: NDArray[np.intp], y: FloatArray
) -> None:
    """Keep ``y`` (K,) among the samples of ``columns`` and set the scale from those kept.

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
    # No unit below what float32 can hold, or a constant would have a scale made of rounding.
    least = 1e-6 * np.maximum(np.abs(numbers["anchor"][columns] + middle), 1e-3)
    numbers["unit"][columns] = np.maximum(upper - lower, least) / BEND


def _pattern(
    view: NDArray[np.intp], off: FloatArray, deviation: FloatArray, flat: BoolArray
) -> NDArray[np.uint8]:
    """Name anomalies (K,) by the view that found them, how far ``off`` its level the value is and whether it is ``flat``."""
    above, far = off >= 0, np.abs(off) > 3.0 * deviation
    names: NDArray[np.uint8] = _PATTERNS[
        view, above.astype(np.intp), far.astype(np.intp), flat.astype(np.intp)
    ]
    return names


def _patterns() -> NDArray[np.uint8]:
    """Return the names by view, whether the value is above its level, far from it, and moves no more."""
    names = np.empty((VIEWS + 1, 2, 2, 2), dtype=np.uint8)
    names[0, 0], names[0, 1] = Pattern.DIP, Pattern.SPIKE
    names[1] = Pattern.RHYTHM  # the peaks are new, and were the value new it would have been the odder
    names[2, :, 0], names[2, :, 1] = Pattern.DRIFT, Pattern.SHIFT
    names[3, ..., 0], names[3, ..., 1] = Pattern.RHYTHM, Pattern.FLAT
    names[4], names[5] = Pattern.RHYTHM, Pattern.FLAT
    return names


_PATTERNS = _patterns()
