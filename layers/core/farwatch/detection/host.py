"""One score for a whole host from all its metrics: what no single metric shows.

Metrics of a host move together. A host is odd when they no longer do, when several of them do at once what they
never did, or when it does at four in the morning what it does at noon. Three terms say so, each relative to what is usual
for this host:

* *joint*: metrics and their changes, whitened by the running covariance of both, so that every combination of
  metrics that used to be constant is watched as closely as the metrics themselves; the squared mean root of the
  whitened components' sizes (a Mahalanobis distance in which many components count for more than one large one);
* *novelty*: how far the last minutes of each metric are from anything it has done before (``windows``), relative
  to how far they usually get: the mean over the metrics of log(1 + distance²);
* *season*: the mean distance of the metrics from their usual value at this time of day.

The score is the logistic function of a weighted sum of their logarithms, each smoothed over a few samples. It
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

SHRINK = 0.03
"""Added to the correlation's eigenvalues: components with less variance than this are noise of the
measurement."""

SMOOTH = 0.4
"""Share of the newest sample in the smoothed terms."""

WEIGHTS = np.array([1.0, 1.0, 0.6])
"""Of the joint, novelty and season terms' logarithms."""

FLOOR = 0.05
"""Added to each term relative to its usual size before the logarithm is taken."""

CLIP = 30.0
"""No standardised value counts for more than this."""

SAME = 0.01
"""Windows of a metric that differ by less than this part of its standard deviation are the same."""

CENTRE, WIDTH = 2.4, 2.0
"""The weighted sum that scores a half, and how much more makes it 0.73."""

SLOTS = 48
"""Times of day that have a usual value of their own."""

SEASON_RATE = 0.1
"""Share of a new sample in the usual value of its time of day."""

DAY = 86400.0


@dataclass(frozen=True, slots=True)
class HostScores:
    """``score`` (T,) in [0, 1] and ``blame`` (T, M): how much each metric adds, larger is more; 0 while
    warming up."""

    score: FloatArray
    blame: FloatArray


class HostDetector:
    """The whole-host score for a host of ``n_metrics`` metrics, one record of state for all of them."""

    version = 2

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
                ("last", "<f8"),
                ("count", "<f8"),
                ("previous", "<f8", (n_metrics,)),
                ("mean", "<f8", (n_metrics,)),
                ("variance", "<f8", (n_metrics,)),
                ("season", "<f4", (n_metrics, SLOTS)),
                ("terms", "<f8", (3,)),
                ("usual", "<f8", (3,)),
                ("covariance", "<f4", (joint, joint)),
                ("whitening", "<f4", (joint, joint)),
                *windows.layout(n_metrics),
            ]
        )

    def new_state(self) -> StateArray:
        """Return one record that has seen nothing."""
        state = np.zeros(1, self.dtype)
        state["last"] = -np.inf
        state["previous"] = np.nan
        state["season"] = np.nan
        state["usual"] = np.nan
        state["windows"] = state["recent"] = np.nan
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

        NaN marks a metric without a sample; it neither adds to the score nor takes from it. Rows older than
        the newest seen, or without any value, score 0.
        """
        values = np.asarray(values, dtype=np.float64)
        fields = {name: state[name][0] for name in self.dtype.names or ()}
        score, blame = np.zeros(len(values)), np.zeros(values.shape)
        for row, now in enumerate(np.asarray(times, dtype=np.float64)):
            taken = np.isfinite(values[row])
            if not taken.any() or not now > fields["last"]:
                continue
            fields["last"] = now
            x = np.clip(np.where(taken, values[row], 0.0), -1e15, 1e15)
            score[row], blame[row] = self._step(fields, now, x, taken)
        state["last"], state["count"] = fields["last"], fields["count"]
        return HostScores(score, blame)

    def _step(
        self, fields: dict[str, Any], now: float, x: FloatArray, taken: NDArray[np.bool_]
    ) -> tuple[float, FloatArray]:
        count = float(fields["count"])
        rate = max(1.0 / (count + 1.0), 1.0 / MEMORY)
        mean, variance, previous = fields["mean"], fields["variance"], fields["previous"]
        first = taken & np.isnan(previous)
        mean[first] = x[first]
        scale = np.sqrt(variance)
        # A metric that never moved has no scale of its own: a fifth of its level will do until it moves.
        scale = np.where(scale > 1e-3 * np.abs(mean), scale, np.where(mean == 0.0, 1.0, 0.2 * np.abs(mean)))
        z = np.where(taken, np.clip((x - mean) / scale, -CLIP, CLIP), 0.0)
        moved = np.where(taken & ~first, np.clip((x - previous) / scale, -CLIP, CLIP), 0.0)
        past, recent, quantile = fields["windows"], fields["recent"], fields["quantile"]
        seen = np.where(taken, x, np.nan)
        distance = windows.fold(past, recent, quantile, seen, SAME * scale, int(count))
        novelty = np.log1p(np.minimum(distance, CLIP / SAME) ** 2)
        slot = int(now % DAY * (SLOTS / DAY))
        usual = fields["season"][:, slot]
        late = np.where(np.isnan(usual) | ~taken, 0.0, np.abs((x - usual) / scale)).clip(0.0, CLIP)

        pair = np.concatenate([z, moved] if self._sums is None else [z @ self._sums, moved @ self._sums])
        joint = float(np.sqrt(np.abs(pair @ fields["whitening"])).mean() ** 2)
        terms, typical = fields["terms"], fields["usual"]
        terms += SMOOTH * (np.array([joint, novelty[taken].mean(), late[taken].mean()]) - terms)

        if count >= self._warm_up:
            if np.isnan(typical).any():
                typical[:] = np.maximum(terms, 1e-6)
            relative = np.log(terms / typical + FLOOR)
            total = float(WEIGHTS @ relative)
            # The usual size is a running median on a logarithmic scale: one outlier moves it as far as any other.
            step = max(1.0 / (1.0 + count - self._warm_up), 1.0 / 1000.0)
            typical *= np.exp(step * np.sign(terms - typical))
            score = 1.0 / (1.0 + np.exp(-(total - CENTRE) / WIDTH))
            blame = novelty + late
        else:
            score, blame = 0.0, np.zeros(len(x))

        bounded = np.clip(pair, -CLIP, CLIP)
        fields["covariance"] += rate * (np.outer(bounded, bounded) - fields["covariance"])
        limited = np.clip(z, -CLIP, CLIP) * scale if count > 10 else x - mean
        limited = np.where(taken, limited, 0.0)
        mean += rate * limited
        variance += np.where(taken, rate * ((1.0 - rate) * limited**2 - variance), 0.0)
        fields["season"][:, slot] = np.where(
            taken, np.where(np.isnan(usual), x, usual + SEASON_RATE * (x - usual)), usual
        )
        previous[taken] = x[taken]
        fields["count"] = count + 1.0
        if (count + 1.0) % REFIT == 0:
            fields["whitening"][:] = _whitening(fields["covariance"])
        return score, blame


def _whitening(covariance: NDArray[np.float32]) -> FloatArray:
    """Return the matrix (D, D) that turns rows of covariance ``covariance`` into uncorrelated ones of unit
    size."""
    spread = np.sqrt(np.maximum(np.diag(covariance).astype(np.float64), 1e-12))
    correlation = covariance / np.outer(spread, spread)
    values, vectors = np.linalg.eigh(correlation + SHRINK * np.eye(len(spread)))
    whitening: FloatArray = vectors / np.sqrt(np.maximum(values, SHRINK)) / spread[:, None]
    return whitening
