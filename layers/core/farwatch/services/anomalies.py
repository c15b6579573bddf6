"""Anomalies as people meet them: look at one, have a detector look again, say that it was a false alarm.

Feedback never touches the anomaly. The threshold of a series is computed from the list of its false alarms each time it is
needed, so that taking a verdict back is all there is to undoing it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from farwatch.detection import Pattern, feedback, registry
from farwatch.domain.catalogue import within_bounds
from farwatch.domain.retention import MINUTE, RAW, Resolution, Retention
from farwatch.domain.samples import SampleBlock, SeriesKey
from farwatch.errors import FieldError, InvalidInput, NotFound, Unavailable
from farwatch.observability import logger
from farwatch.ports.anomalies import (
    AnomalyLog,
    AnomalyStore,
    RunsDetectors,
    Scored,
    StoredAnomaly,
    Verdict,
)
from farwatch.ports.hosts import Hosts
from farwatch.ports.metric_store import MetricStore
from farwatch.services.detect import SLOW, Sensitivity

MAX_SAMPLES = 5000
"""An on-demand run looks at no more samples: with the slowest detector they take about ten seconds."""

MAX_RANGE_MS = 30 * 86_400_000
_DAY_MS = 86_400_000
_LAG_MS = 2 * MINUTE * 1000
"""Samples that begin no later than this reach back far enough; the newest minute may be as old."""
_BEFORE, _BEFORE_SLOW, _SHOWN, _AFTER = 1500, 600, 120, 60
"""Samples that the detector learns from, fewer where it is slow, and those shown before and after an anomaly."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a detector says of a range: ``times`` (epoch ms) and ``values`` of ``step_s`` seconds each (0: as sampled)."""

    detector: str
    step_s: int
    times: list[int]
    values: list[float]
    scored: Scored


@dataclass(frozen=True, slots=True)
class Inspection:
    """An anomaly, the threshold its series has now, and the samples around it with the range expected of each.

    ``around`` is None where the samples are no longer kept, or a slow detector does not answer. Its range is what the
    detector expects, having learned from the samples before; the anomaly's own ``expected_low`` and ``expected_high``
    are what it expected when it was raised.
    """

    stored: StoredAnomaly
    threshold: float
    around: Run | None


class Anomalies:
    """The use cases behind ``/api/v1/anomalies``."""

    def __init__(self, log: AnomalyStore, hosts: Hosts, store: MetricStore, detectors: RunsDetectors) -> None:
        self._log = log
        self._hosts = hosts
        self._store = store
        self._detectors = detectors

    def inspect(self, anomaly_id: str, now: int) -> Inspection:
        """Return the anomaly and its surroundings; raises NotFound."""
        stored = self._found(anomaly_id)
        return Inspection(stored, self.threshold(stored), self._around(stored, now))

    def threshold(self, stored: StoredAnomaly) -> float:
        """Return the threshold in force for the anomaly's series and detector."""
        mine = [
            score
            for key, detector, score in self._log.false_alarms(stored.anomaly.host_id)
            if key == stored.anomaly.key and detector == stored.anomaly.detector
        ]
        return feedback.threshold(mine)

    def judge(self, anomaly_id: str, verdict: Verdict, by: str) -> StoredAnomaly:
        """Keep what a person says of the anomaly, and return it; raises NotFound."""
        if not self._log.judge(anomaly_id, verdict, by):
            raise _unknown(anomaly_id)
        return self._found(anomaly_id)

    def unjudge(self, anomaly_id: str) -> None:
        """Take the verdict back; raises NotFound when there is no such anomaly or nobody has judged it."""
        if not self._log.unjudge(anomaly_id):
            self._found(anomaly_id)
            raise NotFound("nobody has judged this anomaly", code="no_verdict")

    def run(self, host_id: str, key: SeriesKey, detector: str, start: int, end: int, now: int) -> Run:
        """Run a named detector over [start, end) (epoch ms) of a series, on the finest samples that are kept and few enough.

        Nothing is stored. Raises NotFound for an unknown host, InvalidInput for an unknown detector, a range without samples
        or over 30 days, Unavailable when the detect function does not answer.
        """
        if detector not in registry.DETECTORS:
            names = ", ".join(registry.DETECTORS)
            raise InvalidInput(
                f"there is no detector {detector}", [FieldError("body.detector", f"one of {names}")]
            )
        if not 0 <= start < end or end - start > MAX_RANGE_MS:
            raise InvalidInput(
                "the range cannot be read",
                [FieldError("body.from", "before to, and at most 30 days before it, in epoch milliseconds")],
            )
        host = self._hosts.get(host_id)
        if host is None:
            raise NotFound(f"there is no host {host_id}", code="unknown_host")
        step_s = _step(start, end, host.interval_s, now)
        times, values = self._read(host_id, key, start, end, step_s)
        if step_s == 0 and (not times or times[0] - start > _LAG_MS):
            # History that was brought along, or of days when the host was sampled faster, may be there as minutes only.
            buckets = _buckets(start, end)
            older = self._read(host_id, key, start, end, buckets)
            if older[0] and (not times or times[0] - older[0][0] > max(buckets * 1000, _LAG_MS)):
                step_s, (times, values) = buckets, older
        if not times:
            raise InvalidInput(
                "there are no samples of this series in the range",
                [FieldError("body.metric", "no samples in the range")],
            )
        scored = _within_bounds(key.metric, self._detectors.run(detector, times, values))
        return Run(detector, step_s, times, values, scored)

    def _around(self, stored: StoredAnomaly, now: int) -> Run | None:
        anomaly = stored.anomaly
        host = self._hosts.get(anomaly.host_id)
        interval_ms = 5000 if host is None else round(host.interval_s * 1000)
        raw = now - anomaly.at < Retention().raw_days * _DAY_MS
        step_ms = interval_ms if raw else MINUTE * 1000
        times, values = self._read(
            anomaly.host_id,
            anomaly.key,
            anomaly.at - (_BEFORE_SLOW if anomaly.detector in SLOW else _BEFORE) * step_ms,
            anomaly.at + _AFTER * step_ms,
            0 if raw else MINUTE,
        )
        if not times:
            return None
        try:
            scored = self._scored(anomaly.detector, times, values)
        except Unavailable as error:
            logger.warning("an anomaly is shown without its surroundings", extra={"reason": error.message})
            return None
        first = next(
            (index for index, at in enumerate(times) if at >= anomaly.at - _SHOWN * step_ms), len(times)
        )
        shown = Scored(scored.score[first:], scored.low[first:], scored.high[first:], scored.pattern[first:])
        shown = _within_bounds(anomaly.key.metric, shown)
        return Run(anomaly.detector, 0 if raw else MINUTE, times[first:], values[first:], shown)

    def _scored(self, name: str, times: list[int], values: list[float]) -> Scored:
        if name in SLOW:
            return self._detectors.run(name, times, values)
        detector = registry.get(name)
        scores = detector.fold(
            detector.new_state(1), np.array(times, dtype=np.float64) / 1000.0, np.array(values)[:, None]
        )
        return Scored(
            score=scores.score[:, 0].tolist(),
            low=[None if np.isnan(low) else low for low in scores.low[:, 0].tolist()],
            high=[None if np.isnan(high) else high for high in scores.high[:, 0].tolist()],
            pattern=[Pattern(number).name.lower() for number in scores.pattern[:, 0].tolist()],
        )

    def _read(
        self, host_id: str, key: SeriesKey, start: int, end: int, step_s: int
    ) -> tuple[list[int], list[float]]:
        resolution = Resolution(RAW if step_s == 0 else MINUTE, step_s)
        found = self._store.read(host_id, [key.metric], start, end, resolution)
        data = next((item for item in found if item.key == key), None)
        if data is None:
            return [], []
        return data.times.tolist()[-MAX_SAMPLES:], data.mean.tolist()[-MAX_SAMPLES:]

    def _found(self, anomaly_id: str) -> StoredAnomaly:
        stored = self._log.get(anomaly_id)
        if stored is None:
            raise _unknown(anomaly_id)
        return stored


def _within_bounds(metric: str, scored: Scored) -> Scored:
    """Return what a detector answered with expected ranges that the metric can have."""
    low, high = (
        [None if end is None else within_bounds(metric, end) for end in ends]
        for ends in (scored.low, scored.high)
    )
    return replace(scored, low=low, high=high)


def sensitivity_of(log: AnomalyLog, host_id: str) -> Sensitivity:
    """Return what people have set for the detectors of a host: which one, and the thresholds that feedback has moved.

    A verdict counts for the detector that raised the anomaly; it says nothing about another.
    """
    detectors = log.detectors()
    chosen = Sensitivity(detectors)
    alarms: dict[SeriesKey, list[float]] = {}
    for key, detector, score in log.false_alarms(host_id):
        if detector == chosen.detector_of(key.metric):
            alarms.setdefault(key, []).append(score)
    return Sensitivity(detectors, {key: feedback.threshold(scores) for key, scores in alarms.items()})


def history_of(
    store: MetricStore, host_id: str, start: int, end: int, step_s: int = 0, metrics: list[str] | None = None
) -> SampleBlock:
    """Return the samples of a host in [start, end) (epoch ms) as one block; NaN where a series has none at a time.

    ``step_s`` is 0 for raw samples, else the width of the buckets read from the minute tier; ``metrics`` None means all.
    """
    names = metrics if metrics is not None else sorted({key.metric for key in store.series(host_id)})
    found = (
        store.read(host_id, names, start, end, Resolution(MINUTE if step_s else RAW, step_s)) if names else []
    )
    if not found:
        return SampleBlock(np.array([], dtype=np.int64), (), np.empty((0, 0)))
    times = np.unique(np.concatenate([data.times for data in found]))
    values = np.full((len(times), len(found)), np.nan)
    for column, data in enumerate(found):
        values[np.searchsorted(times, data.times), column] = data.mean
    return SampleBlock(times, tuple(data.key for data in found), values)


def _step(start: int, end: int, interval_s: float, now: int) -> int:
    raw_kept = now - start <= Retention().raw_days * _DAY_MS
    if raw_kept and (end - start) / 1000 / interval_s <= MAX_SAMPLES:
        return 0
    return _buckets(start, end)


def _buckets(start: int, end: int) -> int:
    return next(step for step in (60, 300, 600) if (end - start) / 1000 / step <= MAX_SAMPLES)


def _unknown(anomaly_id: str) -> NotFound:
    return NotFound(f"there is no anomaly {anomaly_id}", code="unknown_anomaly")
