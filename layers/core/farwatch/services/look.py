"""Look: the detectors that are too slow for every batch watch a host live, half a minute behind ``process``.

``process`` stores samples and asks; here they are read back from where each series was left, folded, and what is unusual
among them is kept. Nothing depends on a message arriving once, or at all: a series remembers how far it has been folded, the
next look reads on from there, and an anomaly that is already kept stays as it was raised.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from farwatch.detection import DEFAULT_THRESHOLD, StateError, pack, registry, unpack
from farwatch.detection.interface import Detector, StateArray
from farwatch.domain.anomalies import Anomaly
from farwatch.domain.hosts import Host
from farwatch.domain.looks import Look, Watched
from farwatch.domain.retention import DAY_S, Retention
from farwatch.domain.samples import SampleBlock, SeriesKey
from farwatch.ports.anomalies import AnomalyLog, LookMemory
from farwatch.ports.hosts import Hosts
from farwatch.ports.metric_store import MetricStore
from farwatch.services.anomalies import history_of, sensitivity_of
from farwatch.services.detect import SLOW, Sensitivity, describe
from farwatch.services.query import HostView

MAX_SERIES = 200
"""Series of one host that slow detectors watch; the first by name."""

WARM_UP_SAMPLES = 800
"""Samples a detector learns from before it watches: it fits a model to 256 and needs 200 scores to know what is usual."""

WARM_UP_MS = 6 * 3_600_000
"""A series that is further behind begins anew, from samples of so long, or longer where samples are far apart."""

MOST_ROWS = 2000
"""Samples of a series folded in one look; after an outage several looks catch up."""

TOGETHER = 4
"""Series folded in one call: what is done between two glances at the clock."""

SAVE_EVERY_S = 5.0


class SeriesMemory(msgspec.Struct):
    """A series: its detector and that one's state, folded ``through`` (epoch ms); ``seen`` is its last sample, or 0."""

    detector: str
    through: int
    seen: int = 0
    state: bytes = b""


@dataclass(frozen=True, slots=True)
class _Unit:
    """Series of one metric to be read at once. Samples after ``raise_after`` may be anomalies, earlier ones teach."""

    metric: str
    detector: str
    keys: Sequence[SeriesKey]
    start: int
    raise_after: int
    fresh: bool


class Looks:
    """The use case behind ``looks.fifo``. One host is looked at by one container at a time."""

    def __init__(
        self,
        store: MetricStore,
        hosts: Hosts,
        log: AnomalyLog,
        memory: LookMemory,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._hosts = hosts
        self._log = log
        self._memory = memory
        self._clock = clock

    def handle(self, look: Look, budget_s: float, now: int) -> Watched | None:
        """Look at what is new of the host's series that chose a slow detector; ``now`` is epoch ms. None for no such host.

        After ``budget_s`` no further series is begun; those furthest behind come first, so the next look takes up the rest.
        Raises Unavailable when a store or the memory is down: nothing is lost by looking again later.
        """
        host = self._hosts.get(look.host_id)
        if host is None or host.retired_at is not None:
            return None
        ends_at = self._clock() + budget_s
        sensitivity = sensitivity_of(self._log, host.id)
        chosen = {
            key: name
            for key in sorted(self._store.series(host.id), key=SeriesKey.text)
            if (name := sensitivity.detector_of(key.metric)) in SLOW
        }
        known = _still_chosen(decode(self._memory.load(host.id)), chosen, look.through)
        units, left_out = _plan(chosen, known, look, host.interval_s)
        waiting = {key for unit in units if unit.fresh for key in unit.keys}

        def save() -> Watched:
            standing = _standing(known, look, now, len(waiting), left_out)
            self._memory.save(host.id, encode(known), standing)
            return standing

        saved_at = self._clock()
        for unit, part in self._parts(units, host.id, look.through):
            found = _fold(part, unit, known, host, sensitivity, look.through)
            if found:
                self._log.append(found)
            waiting -= set(part.series)
            if self._clock() >= ends_at:
                break
            if self._clock() - saved_at >= SAVE_EVERY_S:
                # A look that is killed has then not worked for nothing.
                save()
                saved_at = self._clock()
        return save()

    def _parts(
        self, units: Sequence[_Unit], host_id: str, through: int
    ) -> Iterator[tuple[_Unit, SampleBlock]]:
        """Yield the samples to look at, a few series at a time; every series comes, with or without samples."""
        for unit in units:
            found = history_of(self._store, host_id, unit.start, through + 1, 0, [unit.metric])
            place = {key: column for column, key in enumerate(found.series)}
            size = 1 if unit.fresh else TOGETHER
            for first in range(0, len(unit.keys), size):
                keys = tuple(unit.keys[first : first + size])
                values = np.full((len(found.times), len(keys)), np.nan)
                for column, key in enumerate(keys):
                    if key in place:
                        values[:, column] = found.values[:, place[key]]
                yield unit, SampleBlock(found.times, keys, values)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(dict[str, SeriesMemory])


def encode(known: dict[str, SeriesMemory]) -> bytes:
    """Return what is known of a host's series, by their texts, as bytes."""
    return _encoder.encode(known)


def decode(blob: bytes | None) -> dict[str, SeriesMemory]:
    """Return what ``encode`` wrote; nothing when there is nothing or another release wrote it."""
    if blob is None:
        return {}
    try:
        return _decoder.decode(blob)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return {}


def _still_chosen(
    known: dict[str, SeriesMemory], chosen: dict[SeriesKey, str], through: int
) -> dict[str, SeriesMemory]:
    """Return what of the memory is still worth something: the same detector, and not too far behind."""
    wanted = {key.text(): name for key, name in chosen.items()}
    kept = {
        text: memory
        for text, memory in known.items()
        if memory.detector == wanted.get(text) and through - memory.through <= WARM_UP_MS
    }
    for memory in kept.values():
        if through - memory.seen > WARM_UP_MS:
            memory.seen, memory.state = 0, b""
    return kept


def _plan(
    chosen: dict[SeriesKey, str], known: dict[str, SeriesMemory], look: Look, interval_s: float
) -> tuple[list[_Unit], int]:
    """Return what to read, the furthest behind first and series that are not known yet last, and how many are left out."""
    began: dict[tuple[str, str], list[SeriesKey]] = {}
    fresh: dict[tuple[str, str], list[SeriesKey]] = {}
    watched = sum(1 for memory in known.values() if memory.seen)
    left_out = 0
    for key, name in chosen.items():
        if key.text() in known:
            began.setdefault((key.metric, name), []).append(key)
        elif watched < MAX_SERIES:
            fresh.setdefault((key.metric, name), []).append(key)
            watched += 1
        else:
            left_out += 1
    units = []
    for (metric, name), keys in began.items():
        start = min(known[key.text()].through for key in keys) + 1
        if start <= look.through:  # else it has been looked at already: the message came twice, or late
            units.append(_Unit(metric, name, keys, start, start - 1, fresh=False))
    units.sort(key=lambda unit: unit.start)
    # A host that is sampled seldom has to be looked at further back, as far as single samples are kept.
    back = max(WARM_UP_MS, round(min(WARM_UP_SAMPLES * interval_s, Retention().raw_days * DAY_S) * 1000))
    for (metric, name), keys in fresh.items():
        units.append(_Unit(metric, name, keys, look.through - back, look.after, fresh=True))
    return units, left_out


def _fold(
    block: SampleBlock,
    unit: _Unit,
    known: dict[str, SeriesMemory],
    host: Host,
    sensitivity: Sensitivity,
    through: int,
) -> list[Anomaly]:
    """Fold a few series into ``known`` (changed in place) and return their anomalies."""
    detector = registry.get(unit.detector)
    memories = [known.get(key.text()) or SeriesMemory(unit.detector, 0) for key in block.series]
    block = _unread(block, memories, fresh=unit.fresh)
    complete = len(block.times) < MOST_ROWS
    if len(block.times):
        state = np.concatenate([_state(detector, memory) for memory in memories])
        scores = detector.fold(state, block.times / 1000.0, block.values)
    for column, (key, memory) in enumerate(zip(block.series, memories, strict=True)):
        taken = np.flatnonzero(~np.isnan(block.values[:, column]))
        if len(taken):
            memory.seen = int(block.times[taken[-1]])
            memory.state = pack(detector, state[column : column + 1])
        memory.through = max(memory.through, through if complete else int(block.times[-1]))
        known[key.text()] = memory
    if not len(block.times):
        return []
    limits = np.array([sensitivity.thresholds.get(key, DEFAULT_THRESHOLD) for key in block.series])
    unusual = (scores.score >= limits) & (block.times > unit.raise_after)[:, None]
    return [
        describe(
            host.id,
            block.series[column],
            unit.detector,
            scores,
            (int(row), int(column)),
            int(block.times[row]),
            float(block.values[row, column]),
            host.interval_s,
        )
        for row, column in np.argwhere(unusual)
    ]


def _unread(block: SampleBlock, memories: Sequence[SeriesMemory], *, fresh: bool) -> SampleBlock:
    """Return the samples that are to be folded: of a fresh series the last to learn from, else the first not yet folded."""
    through = np.array([memory.through for memory in memories])
    values = np.where(block.times[:, None] > through, block.values, np.nan)
    kept = np.flatnonzero(~np.isnan(values).all(axis=1))
    kept = kept[-WARM_UP_SAMPLES:] if fresh else kept[:MOST_ROWS]
    return SampleBlock(block.times[kept], block.series, values[kept])


def _state(detector: Detector, memory: SeriesMemory) -> StateArray:
    try:
        return unpack(detector, memory.state) if memory.state else detector.new_state(1)
    except StateError:  # written by another release: it learns anew, from here on
        return detector.new_state(1)


def _standing(known: dict[str, SeriesMemory], look: Look, now: int, waiting: int, left_out: int) -> Watched:
    live = [memory.through for memory in known.values() if memory.seen]
    return Watched(now, min(live, default=look.through), len(live), waiting, left_out)


@dataclass(frozen=True, slots=True)
class HostWatched:
    """How the slow detectors stand with a host: ``chosen`` of its series are theirs.

    ``watched`` is None when nobody has looked yet. ``behind_ms`` is from the last sample seen of every series to the host's
    newest.
    """

    host_id: str
    host_name: str
    chosen: int
    watched: Watched | None
    behind_ms: int | None


def standings(fleet: Sequence[HostView], sensitivity: Sensitivity, memory: LookMemory) -> list[HostWatched]:
    """Return how the slow detectors stand with each host of the fleet that has series of theirs.

    Raises Unavailable while what they remember cannot be read.
    """
    chosen = {
        view.host.id: count
        for view in fleet
        if (count := sum(sensitivity.detector_of(key.metric) in SLOW for key in view.latest))
    }
    found = memory.watched(list(chosen))
    answer = []
    for view in fleet:
        if view.host.id in chosen:
            watched = found.get(view.host.id)
            newest = max(at for at, _ in view.latest.values())
            behind = None if watched is None else max(newest - watched.through, 0)
            answer.append(HostWatched(view.host.id, view.host.name, chosen[view.host.id], watched, behind))
    return answer
