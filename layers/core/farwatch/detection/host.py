"""One score for a whole host from all its metrics: what no single metric shows.

Metrics of a host move together. A host is odd when they no longer do, when several of them do at once what they
never did, or when it does at four in the morning what it does at noon. Two terms say so, each relative to what is
usual for this host:

* *joint*: metrics and their changes, whitened by the running covariance of both, so that every combination of
  metrics that used to be constant is watched as closely as the metrics themselves: the mean over the whitened
  components of log(1 + size²), so that many components slightly off count for more than one far off (the squares alone,
  a Mahalanobis distance, are the likelihood of normal components; this is that of Cauchy's, whose tails are heavy);
* *novelty*: how far the last minutes of each metric are from anything it has done before (``windows``), once as
  differences from the usual at that time of day and once as changes from sample to sample. Each distance is relative
  to how far it usually gets, and counts for more while the metric is not where it usually is at this time of day:
  the mean over metrics and both views of log(1 + distance² (1 + lateness²)).

The score is the logistic function of the sum of their logarithms, each smoothed over a few samples. It
stays high while the oddness lasts and has no cool-down: it is a condition, not an event.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from farwatch.detection import windows
from farwatch.detection.interface import FloatArray, StateArray
from farwatch.detection.state import StateError

MAX_DIRECT = 32
"""With more metrics than this the joint term watches this many fixed random sums of them, to bound the
state."""

REFIT = 48
"""Samples between two computations of the whitening: it changes slowly and costs a matrix decomposition."""

MEMORY = 8640.0
"""Samples over which means and covariances forget: a month at five minutes."""

SHRINK = 0.01
"""Added to the correlation's eigenvalues: components with less variance than this are noise of the
measurement."""

SMOOTH = 0.4
"""Share of the newest sample in the smoothed terms."""

FLOOR = 0.05
"""Added to each term relative to its usual size before the logarithm is taken."""

CLIP = 30.0
"""No standardised value counts for more than this."""

SMALLEST = 1e-60
"""What is closer to nought than this is nought: its square would be, and nothing can be divided by that."""

SAME = 0.01
"""Windows of a metric that differ by less than this part of its standard deviation are the same."""

CENTRE, WIDTH = 2.25, 1.1
"""The sum of logarithms that scores a half, and how much more makes it 0.73."""

SLOTS = 48
"""Times of day that have a usual value of their own."""

TODAY = 0.5
"""Share of today in the usual value of a time of day, once it has passed."""

DAY = 86400.0

PATIENCE = 60
"""Late rows in a row after which the clock was set back, and is followed."""


@dataclass(frozen=True, slots=True)
class HostScores:
    """``score`` (T,) in [0, 1] and ``blame`` (T, M): how much each metric adds, larger is more; 0 while
    warming up."""

    score: FloatArray
    blame: FloatArray


class HostDetector:
    """The whole-host score for a host of ``n_metrics`` metrics, one record of state for all of them."""

    version = 4

    def __init__(self, n_metrics: int) -> None:
        if n_metrics < 1:
            raise ValueError("a host has at least one metric")
        self._metrics = n_metrics
        joint = 2 * min(n_metrics, MAX_DIRECT)
        self._warm_up = max(200, 4 * joint)
        self._sums: FloatArray | None = None
        if n_metrics > MAX_DIRECT:
            signs = np.random.default_rng(n_metrics).choice([-1.0, 1.0], size=(n_metrics, MAX_DIRECT))
            self._sums = signs / np.sqrt(n_metrics)
        self.dtype = np.dtype(
            [
                ("began", "<f8"),
                ("last", "<f8"),
                ("count", "<f8"),
                ("late", "<f8"),  # rows in a row that were older than ``last``
                ("previous", "<f8", (n_metrics,)),
                ("mean", "<f8", (n_metrics,)),
                ("variance", "<f8", (n_metrics,)),
                ("season", "<f4", (n_metrics, SLOTS)),
                ("unseasonal", "<f8", (n_metrics,)),  # mean square of the differences from the season
                ("terms", "<f8", (2,)),
                ("usual", "<f8", (2,)),
                ("covariance", "<f4", (joint, joint)),
                ("whitening", "<f4", (joint, joint)),
                *windows.layout(2 * n_metrics),
            ]
        )

    def new_state(self) -> StateArray:
        """Return one record that has seen nothing."""
        state = np.zeros(1, self.dtype)
        state["last"] = -np.inf
        for name in ("previous", "mean", "season", "usual", "stretches", "recent"):
            state[name] = np.nan
        return state

    def pack(self, state: StateArray) -> bytes:
        """Return the state as bytes: a two-byte version and the record."""
        return self.version.to_bytes(2, "little") + state.tobytes()

    def unpack(self, blob: bytes) -> StateArray:
        """Return the state that ``pack`` wrote; raise ``StateError`` when it is of another version or
        size."""
        if len(blob) != 2 + self.dtype.itemsize or int.from_bytes(blob[:2], "little") != self.version:
            raise StateError(f"not a host state of version {self.version} for {self._metrics} metrics")
        return np.frombuffer(bytearray(blob[2:]), dtype=self.dtype)

    def fold(self, state: StateArray, times: FloatArray, values: FloatArray) -> HostScores:
        """Score rows ``values`` (T, M) taken at ``times`` (T,) and update ``state`` in place.

        NaN marks a metric without a sample; it neither adds to the score nor takes from it (hardly: above
        ``MAX_DIRECT`` metrics it counts as its mean). Rows older than the newest seen, or without any value, score 0
        and are not learned.
        """
        values = np.asarray(values, dtype=np.float64)
        fields = {name: state[name][0] for name in self.dtype.names or ()}
        score, blame = np.zeros(len(values)), np.zeros(values.shape)
        for row, now in enumerate(np.asarray(times, dtype=np.float64)):
            taken = np.isfinite(values[row])
            if not taken.any() or not np.isfinite(now):
                continue
            fields["late"] = 0.0 if now > fields["last"] else fields["late"] + 1.0
            if 0.0 < fields["late"] < PATIENCE:
                continue
            x = np.clip(np.where(taken, values[row], 0.0), -1e15, 1e15)
            x[np.abs(x) < SMALLEST] = 0.0
            if fields["count"] == 0.0 or now < fields["began"]:
                fields["began"] = now
            score[row], blame[row] = self._step(fields, now, x, taken)
            fields["last"] = now
        for name in ("began", "last", "count", "late"):
            state[name] = fields[name]
        return HostScores(score, blame)

    def _step(
        self, fields: dict[str, Any], now: float, x: FloatArray, taken: NDArray[np.bool_]
    ) -> tuple[float, FloatArray]:
        count = float(fields["count"])
        rate = max(1.0 / (count + 1.0), 1.0 / MEMORY)
        mean, variance, previous = fields["mean"], fields["variance"], fields["previous"]
        first = taken & np.isnan(mean)
        mean[first] = x[first]
        scale = np.sqrt(variance)
        # A metric that never moved has no scale of its own: a fifth of its level will do until it moves.
        scale = np.where(scale > 1e-3 * np.abs(mean), scale, np.where(mean == 0.0, 1.0, 0.2 * np.abs(mean)))
        z = np.where(taken, np.clip((x - mean) / scale, -CLIP, CLIP), 0.0)
        change = np.where(taken, x, np.nan) - previous
        moved = np.where(np.isnan(change), 0.0, np.clip(change / scale, -CLIP, CLIP))
        elapsed = abs(now - float(fields["last"]))
        usual = _seasonal(fields["season"], now, elapsed, np.where(taken, x, np.nan), CLIP * scale)
        # On the first day the time of day has no usual value but today's own.
        known = now - float(fields["began"]) >= DAY
        off = np.where(taken, x - (np.where(np.isnan(usual), mean, usual) if known else mean), np.nan)
        novelty = self._novelty(fields, off, change, scale, rate)

        if self._sums is None:
            pair = _likeliest(
                np.concatenate([z, moved]), np.concatenate([~taken, np.isnan(change)]), fields["whitening"]
            )
        else:
            pair = np.concatenate([z @ self._sums, moved @ self._sums])
        joint = float(np.log1p((pair @ fields["whitening"]) ** 2).mean())
        terms, typical = fields["terms"], fields["usual"]
        terms += SMOOTH * (np.array([joint, novelty[taken].mean()]) - terms)

        score, blame = 0.0, np.zeros(len(x))
        if count >= self._warm_up:
            if np.isnan(typical).any():
                typical[:] = np.maximum(terms, 1e-6)
            total = float(np.log(terms / typical + FLOOR).sum())
            # The usual size is a running median on a logarithmic scale: one outlier moves it as far as any other.
            step = max(1.0 / (1.0 + count - self._warm_up), 1.0 / 1000.0)
            typical *= np.exp(step * np.sign(terms - typical))
            score, blame = 1.0 / (1.0 + np.exp(-(total - CENTRE) / WIDTH)), novelty

        bounded = np.clip(pair, -CLIP, CLIP)
        fields["covariance"] += rate * (np.outer(bounded, bounded) - fields["covariance"])
        limited = z * scale if count > 10 else x - mean
        limited = np.where(taken, limited, 0.0)
        mean += rate * limited
        variance += np.where(taken, rate * ((1.0 - rate) * limited**2 - variance), 0.0)
        previous[:] = np.where(taken, x, np.nan)
        fields["count"] = count + 1.0
        if (count + 1.0) % REFIT == 0:
            fields["whitening"][:] = _whitening(fields["covariance"])
        return score, blame

    @staticmethod
    def _novelty(
        fields: dict[str, Any], off: FloatArray, change: FloatArray, scale: FloatArray, rate: float
    ) -> FloatArray:
        """Return how new each metric's last minutes are (M,), given the newest differences from its season and from
        its last sample."""
        views, floor = np.concatenate([off, change]), SAME * np.concatenate([scale, scale])
        distance = windows.fold(
            fields["stretches"], fields["recent"], fields["quantile"], views, floor, int(fields["count"])
        )
        unseasonal = fields["unseasonal"]
        taken = ~np.isnan(off)
        square = np.where(taken, np.minimum(np.abs(off), CLIP * scale) ** 2, 0.0)
        lateness = np.where(taken, square / np.maximum(unseasonal, (SAME * scale) ** 2), 0.0)
        unseasonal += np.where(taken, rate * (square - unseasonal), 0.0)
        squares = np.minimum(distance, CLIP / SAME).reshape(2, -1) ** 2
        both: FloatArray = np.log1p(squares * (1.0 + lateness)).mean(axis=0)
        return both


def _seasonal(
    season: NDArray[np.float32], now: float, elapsed: float, x: FloatArray, most: FloatArray
) -> FloatArray:
    """Return the usual values (M,) at this time of day, NaN where unknown, and let them learn from ``x`` (M,), NaN where
    there is none, but from no difference larger than ``most``.

    Usual values belong to the middle of their slot; in between they lie on a straight line. A slot learns in the
    measure of the time its samples stand for, so that a day counts the same at any interval.
    """
    place = now % DAY / DAY * SLOTS
    slot = int(place) % SLOTS
    aside = place - slot - 0.5
    own, beside = season[:, slot], season[:, (slot + (1 if aside > 0 else -1)) % SLOTS]
    usual: FloatArray = own + abs(aside) * np.where(np.isnan(beside), 0.0, beside - own)
    share = 1.0 - (1.0 - TODAY) ** min(1.0, elapsed / (DAY / SLOTS))
    learned = np.where(np.isnan(own), x, own + share * np.clip(x - usual, -most, most))
    season[:, slot] = np.where(np.isnan(x), own, learned)
    return usual


def _likeliest(pair: FloatArray, absent: NDArray[np.bool_], whitening: NDArray[np.float32]) -> FloatArray:
    """Return ``pair`` (D,) with what is ``absent`` (D,) where it goes best with the rest: where all of it is
    shortest once whitened. At its mean, a metric that was not taken would break what the others have in common with it."""
    if absent.any():
        rest = pair[~absent] @ whitening[~absent]
        pair[absent] = np.clip(np.linalg.lstsq(whitening[absent].T, -rest, rcond=None)[0], -CLIP, CLIP)
    return pair


def _whitening(covariance: NDArray[np.float32]) -> FloatArray:
    """Return the matrix (D, D) that turns rows of covariance ``covariance`` into uncorrelated ones of unit
    size."""
    spread = np.sqrt(np.maximum(np.diag(covariance).astype(np.float64), 1e-12))
    correlation = covariance / np.outer(spread, spread)
    values, vectors = np.linalg.eigh(correlation + SHRINK * np.eye(len(spread)))
    whitening: FloatArray = vectors / np.sqrt(np.maximum(values, SHRINK)) / spread[:, None]
    return whitening
