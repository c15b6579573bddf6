"""The default model: ninety-one simple forecasts, and small fitted judges of how far to trust each.

The candidates (`candidates`) are averaged, for each quantile and each step, with shares that rise with how
well a candidate did on the last days of this very series (`trial`) and depend on what kind of series it is
(`traits`): ``softmax(judge(traits) - beta * log(trial loss))``. The judges are one hidden layer each, fitted
once, each to its own bag of many series, by the quantile loss relative to yesterday repeated; their shares are
averaged, and the lowest and highest tenth left out of the mean. The intervals that come of this are then made
wider or narrower by how they fit the last day of the series (``docs/forecasting.md`` has the method, how it was
tested on series it had not seen, and the results). Being averages of values the series
could take, the quantiles keep its unit and its range, follow a level shift within hours, and are exact on a
constant.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from farwatch.forecasting.candidates import NAMES, candidates, ranked
from farwatch.forecasting.counters import accumulate, increments
from farwatch.forecasting.forecast import LEVELS, Forecast, check_horizon, finish
from farwatch.forecasting.history import DAY_S, UNBOUNDED, Bounds, Floats, History
from farwatch.forecasting.traits import series_traits, step_traits
from farwatch.forecasting.trial import lead_class, trial

# The candidates whose trial losses at the median the judge sees, beside the traits.
JUDGED: tuple[str, ...] = (
    *("last", "six_hours", "day", "three_days", "week", "yesterday", "near_yesterday", "near_day_before"),
    *(
        "near_week_ago",
        "usual_three_days",
        "usual",
        "usual_moved",
        "usual_moved_briefly",
        "usual_of_day_level",
    ),
    *("same_minute", "same_minute_three_days", "usual_scaled", "yesterday_moved", "usual_scaled_briefly"),
    *("day_trend", "week_trend", "cycle_last", "cycle", "tooth", "returning", "analogue"),
)
TRIM = 0.1
"""The share left out of the mean at each end."""
TRUST = 0.5
"""How far an interval follows the last day: the power of the width that day would need, relative to what it has."""
NEEDED = 0.3, 1.5
"""The least and the most of that relative width which is believed of one day."""
WIDER_80, WIDER_95 = 1.15, 1.22
"""How much wider the intervals are made then: judges and candidates have seen the last day."""
Singles = NDArray[np.float32]
"""Shares and what they are made of: seven digits are enough, and take half the time."""
_TINY = 1e-9  # of the largest value: an interval no wider than this has no width to compare with
_AT_ONCE = 4096
"""Steps mixed at once: a week by quarters of an hour at one go, one by the second in bearable memory."""
_JUDGED_AT = [NAMES.index(name) for name in JUDGED]


class Default:
    """The model to use unless there is a reason not to. numpy only; needs one day of history."""

    name = "default"

    def forecast(self, history: History, steps: int, bounds: Bounds = UNBOUNDED) -> Forecast:
        """See `Forecaster.forecast`."""
        check_horizon(history, steps)
        history.require(self.name, DAY_S)
        if history.counter:
            growth = _quantiles(increments(history), steps)
            return finish(self.name, history, accumulate(history, growth), bounds)
        return finish(self.name, history, _quantiles(history, steps), bounds)


def _quantiles(history: History, steps: int) -> Floats:
    filled = history.filled()
    largest = float(np.abs(filled).max())
    if largest == 0:
        return np.zeros((steps, len(LEVELS)))
    values = filled / largest
    made, losses, inputs = evidence(values, np.isfinite(history.values), history.day, steps)
    scores: Singles = losses.astype(np.float32)
    seen, lead, parts = inputs.astype(np.float32), lead_class(history.day, made.shape[1]), []
    for first in range(0, len(seen), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        parts.append(trimmed_mean(made.T[part], _shares(seen[part], scores[lead[part]]), values[-1]))
    said = np.sort(np.concatenate(parts), axis=1)
    last_day = slice(-history.day, None)
    said = held_to(said, values[last_day], np.isfinite(history.values[last_day]))
    said = np.clip(said, made.min(axis=0)[:, None], made.max(axis=0)[:, None])  # nobody said more than that
    return np.asarray(said[:steps] * largest)


def _shares(seen: Singles, scores: Singles) -> Singles:
    """The mean of the judges' shares."""
    judges = _judges()
    shares = judges[0].weigh(seen, scores)
    for judge in judges[1:]:
        shares += judge.weigh(seen, scores)
    return shares / np.float32(len(judges))


def held_to(said: Floats, last_day: Floats, known: NDArray[np.bool_]) -> Floats:
    """The forecast ``said`` (H, 5; two days or more) with intervals as wide as this series needs, judging by its last day.

    The ``known`` values of the last day are laid beside both days of the forecast. By what factor an interval would have
    to be wider to hold its share of them is how far split conformal prediction would stretch it (with errors relative
    to the width on their side of the median; see `conformal`). It is one day, and one that the judges have seen, so the
    intervals go only part of the way: `TRUST`, `NEEDED`. Both sides are stretched alike: in a series that wanders or
    climbs the last day lies to one side of what comes, and would say that the other side needs no room.
    """
    if not known.any():
        return said
    ahead = min(2 * len(last_day), len(said))
    middle = said[:, 2]
    off = np.resize(last_day, ahead) - middle[:ahead]
    seen = np.resize(known, ahead)
    factors = np.ones(len(LEVELS))
    for low, high, share, wider in ((1, 3, 0.8, WIDER_80), (0, 4, 0.95, WIDER_95)):
        width = np.abs(np.where(off > 0, said[:ahead, high], said[:ahead, low]) - middle[:ahead])
        needed = ranked((np.abs(off) / (width + _TINY))[seen], (share,))[0]
        factors[[low, high]] = wider * np.clip(needed, *NEEDED) ** TRUST
    return np.asarray(middle[:, None] + factors * (said - middle[:, None]))


def trimmed_mean(made: Floats, shares: Floats | Singles, about: float) -> Floats:
    """The mean (H, 5) of candidates (H, C) with these shares (H, 5, C), less the lowest and highest `TRIM` of the shares.

    A candidate that is far off the others then costs nothing unless it is trusted with more than `TRIM`; with plain means
    a hundredth of the trust in a spike that is a thousand times the level would be ten times the level. The mean is taken
    of the distances from ``about``, so that candidates that all stand there are forecast to the last digit.
    """
    order = np.argsort(made, axis=1)
    # In double precision, so that what is kept adds up to all that is kept, and equal candidates to their value.
    below = np.cumsum(np.take_along_axis(shares, order[:, None, :], axis=2), axis=2, dtype=np.float64)
    kept = np.diff(np.clip(below, TRIM, 1 - TRIM), axis=2, prepend=TRIM)
    distances = np.take_along_axis(made, order, axis=1) - about
    return np.asarray(about + np.matmul(kept, distances[:, :, None])[:, :, 0] / (1 - 2 * TRIM))


def evidence(values: Floats, known: NDArray[np.bool_], day: int, steps: int) -> tuple[Floats, Floats, Floats]:
    """All a judge gets for two days or more: candidates (C, H), `trial` losses (4, 5, C), inputs (H, F).

    ``values`` have their gaps filled and ``known`` says which were no gaps. The whole of two days is made
    even for a shorter horizon, so that a forecast of one day is the first half of a forecast of two.
    """
    unit = float(np.mean(np.abs(values[day:] - values[:-day]))) if len(values) > day else 0.0
    if len(values) <= 1.5 * day:
        unit = float(np.mean(np.abs(values - np.median(values))))
    unit += 1e-9 * float(np.abs(values).max())
    made = candidates(values, day, max(steps, 2 * day))
    horizon = made.shape[1]
    losses = trial(values, known, day, unit)
    judged = losses[:, 2, _JUDGED_AT][lead_class(day, horizon)]
    whole = np.broadcast_to(series_traits(values, day), (horizon, 34))
    inputs = np.concatenate([whole, step_traits(made, day, unit)], axis=1)
    return made, losses, np.concatenate([np.clip(inputs, -10, 10), judged], axis=1)


class _Judge:
    """One hidden layer of tanh; the fitted weights of one member of the ensemble."""

    def __init__(self, arrays: dict[str, Singles]) -> None:
        self.centre, self.width = arrays["centre"], arrays["width"]
        self.hidden, self.hidden_bias = arrays["hidden"], arrays["hidden_bias"]
        self.out, self.out_bias = arrays["out"], arrays["out_bias"]
        self.beta = arrays["beta"]

    def weigh(self, inputs: Singles, scores: Singles) -> Singles:
        """The share of each candidate in each quantile of each step, (H, 5, C); shares add up to one."""
        seen = np.tanh((inputs - self.centre) / self.width @ self.hidden + self.hidden_bias)
        logits: Singles = (seen @ self.out + self.out_bias).reshape(scores.shape)
        logits -= self.beta[:, None] * scores
        logits -= logits.max(axis=-1, keepdims=True)
        np.exp(logits, out=logits)
        logits /= logits.sum(axis=-1, keepdims=True)
        return logits


@cache
def _judges() -> tuple[_Judge, ...]:
    packed = (files("farwatch.forecasting") / "judge.npz").read_bytes()
    with np.load(BytesIO(packed), allow_pickle=False) as stored:
        members = int(stored["members"])
        return tuple(
            _Judge(
                {
                    key.split(".")[1]: stored[key].astype(np.float32)
                    for key in stored.files
                    if key.startswith(f"{index}.")
                }
            )
            for index in range(members)
        )
