"""Detect: the streaming detectors over a host's block of samples, each series by the detector chosen for its metric.

Detectors that need scikit-learn are not run here: ``process`` must answer for every sample, and they take milliseconds where
these take microseconds. They watch from a function of their own (``services.look``), half a minute behind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache, partial

import msgspec
import numpy as np
import numpy.typing as npt

from farwatch.detection import DEFAULT_THRESHOLD, Scores, StateError, pack, registry, unpack
from farwatch.detection.explain import explain
from farwatch.detection.host import HostDetector
from farwatch.domain.anomalies import HOST_LINE, Anomaly, HostScore
from farwatch.domain.catalogue import within_bounds
from farwatch.domain.hosts import Host
from farwatch.domain.samples import SampleBlock, SeriesKey
from farwatch.domain.units import unit_of

MAX_SERIES = 600
OFF = "off"
STREAMING = ("default", "zscore", "iqr")
"""Detectors quick enough to see every sample."""

SLOW = ("isolation_forest", "lof")
"""Detectors that look at a host every so often instead."""

_MINUTE_MS = 60_000
_HOST_METRICS = 24
"""Whole-host scores look at this many metrics: the state grows with their square."""

_NOT_OF_THE_HOST = ("agent.*", "uptime.seconds", "*.total_bytes")
"""What says nothing about how a host behaves: our own agent, a clock, and sizes."""


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """What people have set: a detector for metrics by glob (first match, else the default; ``off`` for none), and the
    anomaly thresholds of series that feedback has moved.
    """

    detectors: Sequence[tuple[str, str]] = ()
    thresholds: Mapping[SeriesKey, float] = field(default_factory=dict)

    def detector_of(self, metric: str) -> str:
        """Return the name of the metric's detector, or ``off``."""
        return next((name for glob, name in self.detectors if fnmatchcase(metric, glob)), STREAMING[0])

    def slow(self, series: Sequence[SeriesKey]) -> bool:
        """Return whether any of the series is watched by a slow detector."""
        if not any(name in SLOW for _, name in self.detectors):
            return False
        return any(self.detector_of(key.metric) in SLOW for key in series)


class DetectorMemory(msgspec.Struct):
    """One detector's state for the series it watches, in the order of ``series``."""

    series: list[SeriesKey] = []
    state: bytes = b""


class HostMemoryOfScore(msgspec.Struct):
    """The whole-host detector's state, and the minute being filled: sums and counts of each of ``metrics``."""

    metrics: list[str] = []
    state: bytes = b""
    minute: int = 0
    sums: list[float] = []
    counts: list[int] = []
    score: HostScore = msgspec.field(default_factory=HostScore)


def detect(
    memories: dict[str, DetectorMemory], block: SampleBlock, host: Host, sensitivity: Sensitivity
) -> list[Anomaly]:
    """Fold the block into the detectors' memories (changed in place) and return its anomalies, by time."""
    by_detector: dict[str, list[int]] = {}
    for column, key in enumerate(block.series):
        by_detector.setdefault(sensitivity.detector_of(key.metric), []).append(column)
    found: list[Anomaly] = []
    for name, columns in by_detector.items():
        if name in STREAMING and len(block.times):
            part = SampleBlock(
                block.times, tuple(block.series[column] for column in columns), block.values[:, columns]
            )
            memory = memories.setdefault(name, DetectorMemory())
            found += _fold(name, memory, part, host, sensitivity.thresholds)
    for name in memories.keys() - by_detector.keys():
        # Nobody's any more, or only not in this block: some metrics are sent more seldom than others.
        if all(sensitivity.detector_of(key.metric) != name for key in memories[name].series):
            del memories[name]
    return sorted(found, key=lambda anomaly: anomaly.at)


def _fold(
    name: str,
    memory: DetectorMemory,
    block: SampleBlock,
    host: Host,
    thresholds: Mapping[SeriesKey, float],
) -> list[Anomaly]:
    detector = registry.get(name)
    try:
        state = unpack(detector, memory.state) if memory.state else detector.new_state(0)
    except StateError:
        state = detector.new_state(0)
    if len(state) != len(memory.series):
        memory.series, state = [], detector.new_state(0)
    sent, kept = set(block.series), set(memory.series)
    if len(sent | kept) > MAX_SERIES:
        # What is not sent now makes room: most of it belonged to containers and processes that are gone.
        stay = [index for index, key in enumerate(memory.series) if key in sent]
        memory.series, state = [memory.series[index] for index in stay], state[stay]
    fresh = [key for key in block.series if key not in kept]
    if fresh:
        state = np.concatenate([state, detector.new_state(len(fresh))])
        memory.series = memory.series + fresh
    known = {key: index for index, key in enumerate(memory.series)}
    values = np.full((len(block.times), len(memory.series)), np.nan)
    values[:, np.array([known[key] for key in block.series])] = block.values
    scores = detector.fold(state, block.times / 1000.0, values)
    memory.state = pack(detector, state)
    limits = np.array([thresholds.get(key, DEFAULT_THRESHOLD) for key in memory.series])
    return [
        describe(
            host.id,
            memory.series[column],
            name,
            scores,
            (int(row), int(column)),
            int(block.times[row]),
            float(values[row, column]),
            host.interval_s,
        )
        for row, column in np.argwhere(scores.score >= limits)
    ]


def describe(
    host_id: str,
    key: SeriesKey,
    detector: str,
    scores: Scores,
    place: tuple[int, int],
    at: int,
    value: float,
    interval_s: float,
) -> Anomaly:
    """Return the sample at ``place`` (row, column) of ``scores`` as an anomaly, in words."""
    said = explain(
        scores,
        *place,
        name=key.text(),
        value=value,
        time=at / 1000,
        interval=interval_s,
        unit=unit_of(key.metric),
        possible=partial(within_bounds, key.metric),
        remembers=detector == STREAMING[0],
    )
    return Anomaly(
        host_id=host_id,
        key=key,
        detector=detector,
        at=at,
        value=value,
        score=float(scores.score[place]),
        expected_low=said.low,
        expected_high=said.high,
        pattern=said.pattern,
        reason=said.text,
        since=at if said.since is None else round(said.since * 1000),
    )


def score_host(memory: HostMemoryOfScore, block: SampleBlock) -> HostScore:
    """Fold the block into the whole-host score and return how the host stands.

    The score is taken of minutes, each metric's mean over its series and samples: what moves a host as a whole lasts longer
    than a sample, and a minute's state is the same at any sampling interval. Metrics that appear later make it begin anew;
    those that are missing do not, or every agent that starts would, whose first samples have no rates yet.
    """
    watchable = {key.metric for key in block.series if _is_of_the_host(key.metric)}
    wanted = sorted(watchable.union(memory.metrics))[:_HOST_METRICS]
    if wanted != memory.metrics or not memory.state:
        if not wanted:
            return memory.score
        memory.metrics, memory.minute, memory.score = wanted, 0, HostScore()
        memory.state = HostDetector(len(wanted)).pack(HostDetector(len(wanted)).new_state())
        memory.sums, memory.counts = [0.0] * len(wanted), [0] * len(wanted)
    detector = HostDetector(len(memory.metrics))
    try:
        state = detector.unpack(memory.state)
    except StateError:
        state = detector.new_state()
    place = {metric: index for index, metric in enumerate(memory.metrics)}
    columns = [place.get(key.metric, -1) for key in block.series]
    changed = False
    for at, row in zip(block.times.tolist(), block.values.tolist(), strict=True):
        minute = at // _MINUTE_MS
        if memory.minute and minute > memory.minute:
            _close_minute(memory, detector, state)
            changed = True
        memory.minute = max(minute, memory.minute)
        for index, value in zip(columns, row, strict=True):
            if index >= 0 and value == value:  # noqa: PLR0124 - not NaN
                memory.sums[index] += value
                memory.counts[index] += 1
    if changed:
        memory.state = detector.pack(state)
    return memory.score


def _close_minute(memory: HostMemoryOfScore, detector: HostDetector, state: npt.NDArray[np.void]) -> None:
    counts = np.array(memory.counts, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(counts > 0, np.array(memory.sums) / counts, np.nan)
    scored = detector.fold(state, np.array([memory.minute * 60.0]), means[None, :])
    score, blame = float(scored.score[0]), scored.blame[0]
    memory.score = HostScore(
        score,
        memory.score.minutes + 1 if score >= HOST_LINE else 0,
        [memory.metrics[index] for index in np.argsort(-blame)[:5] if blame[index] > 0],
        memory.score.seen + 1,
    )
    memory.sums, memory.counts = [0.0] * len(memory.metrics), [0] * len(memory.metrics)


@lru_cache(maxsize=4096)
def _is_of_the_host(metric: str) -> bool:
    return not any(fnmatchcase(metric, glob) for glob in _NOT_OF_THE_HOST)
