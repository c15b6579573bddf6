"""Isolation forest and LOF as streaming detectors: scikit-learn models of the recent past, fitted again now
and then.

Both see a series through three numbers per sample: the value, its change, and its difference from the mean
of the last ``LEVEL`` values. A ring keeps the values the model was fitted on and those since, so that the
model is a function of the record alone: it is built again from the ring wherever the record is opened, and
gives the same scores.

This module imports scikit-learn when a model is first fitted; nothing on the hot path of the default
detector does.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from farwatch.detection.interface import FloatArray, Pattern, StateArray
from farwatch.detection.streaming import Answers

WINDOW = 256
"""Values a model is fitted on: isolation forest's usual sample."""

REFIT = 64
"""Samples between two fits."""

LEVEL = 12
"""Values of the mean that a sample is compared with."""

RING = WINDOW + REFIT + LEVEL
CACHED = 512
"""Models kept in memory; one of 64 small trees takes about 400 kB."""


class Model(Protocol):
    """What scikit-learn's two estimators have in common."""

    def fit(self, rows: FloatArray) -> Any:
        """Fit to ``rows`` (N, 3)."""

    def score_samples(self, rows: FloatArray) -> FloatArray:
        """Return one number per row, lower is odder."""


class Forest:
    """Isolation forest that also knows how far outside everything fitted a row is.

    The depth at which trees isolate a row is the same for all rows beyond the edge of what they were fitted
    on: twice the largest value and a thousand times it look alike. Distance beyond the edge, in standard
    deviations, is therefore added on the scale of scikit-learn's score, where a tenth is the step from
    usual to odd.
    """

    def fit(self, rows: FloatArray) -> None:
        """Fit 64 trees, seeded, so that the same values give the same scores."""
        from sklearn.ensemble import IsolationForest

        self._low, self._high = rows.min(axis=0), rows.max(axis=0)
        self._trees = IsolationForest(n_estimators=64, max_samples=WINDOW, random_state=7, n_jobs=1).fit(rows)

    def score_samples(self, rows: FloatArray) -> FloatArray:
        """Return one number per row, lower is odder."""
        beyond = np.maximum(np.maximum(self._low - rows, rows - self._high), 0.0).max(axis=1)
        score: FloatArray = self._trees.score_samples(rows) - 0.1 * beyond
        return score


def local_outlier_factor() -> Model:
    """Return an unfitted LOF of 20 neighbours that can score new samples."""
    from sklearn.neighbors import LocalOutlierFactor

    factor: Model = LocalOutlierFactor(n_neighbors=20, novelty=True)
    return factor


class Windowed:
    """Oddness by a model of the last ``WINDOW`` values, standardised by the model's scores of those
    values."""

    version = 1
    calibrated = False
    dtype = np.dtype([("ring", "<f4", (RING,)), ("count", "<i8")])

    def __init__(self, name: str, model: Callable[[], Model]) -> None:
        self.name = name
        self._model = model
        self._fitted: OrderedDict[bytes, _Fit] = OrderedDict()

    def new_state(self, n_series: int) -> StateArray:
        """Return ``n_series`` fresh records."""
        return np.zeros(n_series, self.dtype)

    def run(self, records: StateArray, _times: FloatArray, x: FloatArray, /) -> Answers:
        """See ``Oddness.run``. The expected range is where 98 % of the values the model knows are."""
        raw, kind = np.zeros(x.shape), np.full(x.shape, Pattern.SPIKE, dtype=np.uint8)
        low, high = np.full(x.shape, np.nan), np.full(x.shape, np.nan)
        for i in range(x.shape[1]):
            ring, count = records["ring"][i], int(records["count"][i])
            held = min(count, RING)
            before = ring[np.arange(count - held, count) % RING]
            # float32 like the ring, or a value would change when it comes back out of it.
            values = np.concatenate([before, x[:, i].astype(np.float32)]).astype(np.float64)
            origin = count - held  # the sample that values[0] is
            end = count + len(x)
            for start in range(count - count % REFIT, end, REFIT):
                if start < WINDOW + LEVEL:
                    continue
                fit = self._fit(values[start - WINDOW - LEVEL - origin : start - origin])
                first, last = max(start, count), min(start + REFIT, end)
                rows = slice(first - count, last - count)
                raw[rows, i] = fit.oddness(values[first - LEVEL - origin : last - origin])
                low[rows, i], high[rows, i] = fit.low, fit.high
                kind[rows, i] = np.where(x[rows, i] >= fit.middle, Pattern.SPIKE, Pattern.DIP)
            ring[np.arange(count, end)[-RING:] % RING] = values[held:][-RING:]
            records["count"][i] = end
        return raw, low, high, kind.__getitem__

    def _fit(self, known: FloatArray) -> "_Fit":
        key = known.tobytes()
        fit = self._fitted.get(key)
        if fit is None:
            fit = self._fitted[key] = _Fit(self._model(), known)
            if len(self._fitted) > CACHED:
                self._fitted.popitem(last=False)
        else:
            self._fitted.move_to_end(key)
        return fit


class _Fit:
    """A fitted model and how it scores what it was fitted on."""

    def __init__(self, model: Model, known: FloatArray) -> None:
        self._model = model
        values = known[LEVEL:]
        self.low, self.middle, self.high = np.quantile(values, [0.01, 0.5, 0.99])
        self._unit = max(float(np.std(known)), 1e-6 * max(float(np.max(np.abs(known))), 1e-6))
        rows = self._rows(known)
        # Ties by the hundred (a constant series) make LOF divide by zero; a trace of fixed noise parts them.
        rows += np.random.default_rng(7).normal(0.0, 1e-3, rows.shape)
        model.fit(rows)
        odd = -model.score_samples(rows)
        self._usual = float(np.median(odd))
        self._spread = max(float(np.quantile(odd, 0.95)) - self._usual, 1e-3)

    def _rows(self, values: FloatArray) -> FloatArray:
        """Return one row per value after the first ``LEVEL``: value, change, difference from the recent
        mean."""
        sums = np.cumsum(np.insert(values, 0, 0.0))
        means = (sums[LEVEL:-1] - sums[: -LEVEL - 1]) / LEVEL
        now = values[LEVEL:]
        return np.column_stack([now - self.middle, now - values[LEVEL - 1 : -1], now - means]) / self._unit

    def oddness(self, values: FloatArray) -> FloatArray:
        """Return how odd each of ``values`` after the first ``LEVEL`` is, in spreads of the known values'
        oddness."""
        rows: NDArray[np.float64] = np.clip(self._rows(values), -1e6, 1e6)
        odd: FloatArray = (-self._model.score_samples(rows) - self._usual) / self._spread
        return np.clip(np.nan_to_num(odd), 0.0, 1e6)
