"""Evaluation: what one batch of a host means, given what we remember of the host.

Rules and the streaming detector run over the same block of samples. The outcome is a list of signals, the anomalies to
keep and the new memory; nothing is sent or saved here. Folding is guarded by time: samples at or before the last one folded
change nothing, so a batch may be evaluated again after a crash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from farwatch.detection import DEFAULT_THRESHOLD, Pattern, Scores, StateError, pack, registry, unpack
from farwatch.domain.anomalies import Anomaly
from farwatch.domain.hosts import Host
from farwatch.domain.rules import Change, GroupState, Phase, Rule, applies_to_host, groups, step
from farwatch.domain.samples import Batch, SampleBlock, SeriesKey
from farwatch.domain.severity import Severity
from farwatch.domain.signals import Signal, SignalKind, SignalState, fingerprint
from farwatch.domain.units import duration, show, unit_of

LATE_AFTER_MS = 5 * 60_000
REFRESH_MS = 60_000
QUIET_MS = 5 * 60_000
MAX_SERIES = 600
_DETECTOR = "default"


class AnomalyEpisode(msgspec.Struct):
    """A host's run of anomalies: one signal however many series take part. Times are epoch ms, 0 for never."""

    started_at: int = 0
    last_at: int = 0
    sent_at: int = 0


class Memory(msgspec.Struct):
    """What is remembered of a host between batches; a few kilobytes, lost without harm."""

    series: list[SeriesKey] = []
    detector: bytes = b""
    folded_through: int = 0
    rules: dict[str, dict[str, GroupState]] = {}
    episode: AnomalyEpisode = msgspec.field(default_factory=AnomalyEpisode)
    latest: dict[str, tuple[int, float]] = {}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What evaluating a batch brought about."""

    signals: list[Signal]
    anomalies: list[Anomaly]
    memory: Memory


_memory_encoder = msgspec.msgpack.Encoder()
_memory_decoder = msgspec.msgpack.Decoder(Memory)


def encode_memory(memory: Memory) -> bytes:
    """Return the memory as bytes."""
    return _memory_encoder.encode(memory)


def decode_memory(blob: bytes | None) -> Memory:
    """Return the memory in ``blob``; an empty one when there is none or an older release wrote it."""
    if blob is None:
        return Memory()
    try:
        return _memory_decoder.decode(blob)
    except msgspec.MsgspecError:
        return Memory()


def evaluate(
    memory: Memory,
    batch: Batch,
    host: Host,
    rules: Sequence[Rule],
    now: int,
    thresholds: Mapping[SeriesKey, float] | None = None,
) -> Outcome:
    """Fold the batch into ``memory`` (changed in place) and return the outcome; ``now`` is epoch ms.

    Samples older than five minutes teach the detector but fire no rule: their trouble is over or will be seen again.
    ``thresholds`` are the anomaly thresholds of series that feedback has moved.
    """
    block = _after(batch.samples, memory.folded_through)
    signals = _evaluate_rules(memory, block, batch, host, rules, now)
    anomalies = _detect(memory, block, host, thresholds or {})
    signals += _episode_signals(memory.episode, anomalies, batch, host, now)
    _note_latest(memory, block)
    if len(block.times):
        memory.folded_through = int(block.times[-1])
    return Outcome(signals, anomalies, memory)


def _after(block: SampleBlock, folded_through: int) -> SampleBlock:
    keep = block.times > folded_through
    return SampleBlock(block.times[keep], block.series, block.values[keep])


def _evaluate_rules(
    memory: Memory, block: SampleBlock, batch: Batch, host: Host, rules: Sequence[Rule], now: int
) -> list[Signal]:
    fresh = block.times >= now - LATE_AFTER_MS
    times, values = block.times[fresh].tolist(), block.values[fresh].tolist()
    signals: list[Signal] = []
    chosen = {rule.id: rule for rule in rules if applies_to_host(rule, host.labels)}
    for gone in memory.rules.keys() - chosen.keys():
        # The rule was deleted, switched off or no longer chooses this host: whatever it held open ends now.
        for text, state in memory.rules.pop(gone).items():
            if state.phase in (Phase.FIRING, Phase.RECOVERING):
                signals.append(_withdrawn(gone, text, state, host, now))
    for rule in chosen.values():
        states = memory.rules.setdefault(rule.id, {})
        for key, columns in groups(rule, block.series):
            state = states.setdefault(key.text(), GroupState())
            for at, row in zip(times, values, strict=True):
                observed = [None if column is None else _known(row[column]) for column in columns]
                change = step(rule, state, at, observed)
                if change is Change.RESOLVED:
                    signals.append(
                        _rule_signal(rule, key, state, observed[0], at, host, batch, SignalState.RESOLVED)
                    )
                firing = state.phase in (Phase.FIRING, Phase.RECOVERING)
                if change is Change.FIRED or (firing and at - state.sent_at >= REFRESH_MS):
                    state.sent_at = at
                    signals.append(
                        _rule_signal(rule, key, state, observed[0], at, host, batch, SignalState.FIRING)
                    )
    return signals


def _known(value: float) -> float | None:
    return None if value != value else value  # noqa: PLR0124 - NaN is the only value unlike itself


def _rule_signal(
    rule: Rule,
    key: SeriesKey,
    state: GroupState,
    value: float | None,
    at: int,
    host: Host,
    batch: Batch,
    signal_state: SignalState,
) -> Signal:
    condition, unit = rule.conditions[0], unit_of(rule.metric)
    current = "unknown" if value is None else show(value, unit)
    if signal_state is SignalState.FIRING:
        reason = (
            f"{key.text()} has been {condition.comparison} {show(condition.enter, unit)} "
            f"for {duration((at - state.started_at) / 1000)}; it is {current} now."
        )
    else:
        reason = f"{key.text()} is back to {current} after {duration((at - state.started_at) / 1000)}."
    return Signal(
        fingerprint=fingerprint(rule.id, host.id, {"metric": key.metric, **key.label_map}),
        kind=SignalKind.RULE,
        state=signal_state,
        host_id=host.id,
        host_name=host.name,
        source=rule.id,
        title=rule.name,
        severity=rule.severity,
        started_at=state.started_at,
        at=at,
        reason=reason,
        metric=key.metric,
        labels=key.label_map,
        value=value,
        unit=unit,
        evidence={
            "enter": condition.enter,
            "leave": condition.leave,
            "for_s": rule.for_s,
            "summary": rule.summary,
        },
        top_processes=batch.top_processes,
        host_labels=host.labels,
    )


def _withdrawn(rule_id: str, text: str, state: GroupState, host: Host, now: int) -> Signal:
    key = SeriesKey.parse(text)
    return Signal(
        fingerprint=fingerprint(rule_id, host.id, {"metric": key.metric, **key.label_map}),
        kind=SignalKind.RULE,
        state=SignalState.RESOLVED,
        host_id=host.id,
        host_name=host.name,
        source=rule_id,
        title=f"Rule withdrawn: {text}",
        severity=Severity.INFO,
        started_at=state.started_at,
        at=now,
        reason="The rule was deleted, switched off, or no longer chooses this host.",
        metric=key.metric,
        labels=key.label_map,
        host_labels=host.labels,
    )


def _detect(
    memory: Memory, block: SampleBlock, host: Host, thresholds: Mapping[SeriesKey, float]
) -> list[Anomaly]:
    if not len(block.times) or not block.series:
        return []
    detector = registry.get(_DETECTOR)
    known = {key: index for index, key in enumerate(memory.series)}
    fresh = [key for key in block.series if key not in known]
    try:
        state = unpack(detector, memory.detector) if memory.detector else detector.new_state(0)
    except StateError:
        state = detector.new_state(0)
    if len(state) != len(memory.series) or len(memory.series) + len(fresh) > MAX_SERIES:
        memory.series, known, fresh, state = [], {}, list(block.series), detector.new_state(0)
    if fresh:
        state = np.concatenate([state, detector.new_state(len(fresh))])
        known.update({key: len(memory.series) + index for index, key in enumerate(fresh)})
        memory.series = memory.series + fresh
    columns = np.array([known[key] for key in block.series])
    values = np.full((len(block.times), len(memory.series)), np.nan)
    values[:, columns] = block.values
    scores = detector.fold(state, block.times / 1000.0, values)
    memory.detector = pack(detector, state)
    limits = np.array([thresholds.get(key, DEFAULT_THRESHOLD) for key in memory.series])
    return [
        _anomaly(host.id, memory.series[column], scores, int(row), int(column), block.times, values)
        for row, column in np.argwhere(scores.score >= limits)
    ]


def _anomaly(
    host_id: str,
    key: SeriesKey,
    scores: Scores,
    row: int,
    column: int,
    times: npt.NDArray[np.int64],
    values: npt.NDArray[np.float64],
) -> Anomaly:
    unit = unit_of(key.metric)
    low, high = _known(float(scores.low[row, column])), _known(float(scores.high[row, column]))
    value = _known(float(values[row, column]))
    pattern = Pattern(int(scores.pattern[row, column])).name.lower()
    expected = "" if low is None or high is None else f", expected {show(low, unit)} to {show(high, unit)}"
    return Anomaly(
        host_id=host_id,
        key=key,
        detector=_DETECTOR,
        at=int(times[row]),
        value=value,
        score=float(scores.score[row, column]),
        expected_low=low,
        expected_high=high,
        pattern=pattern,
        reason=f"{key.text()} is {'missing' if value is None else show(value, unit)}{expected} ({pattern}).",
    )


def _episode_signals(
    episode: AnomalyEpisode, anomalies: Sequence[Anomaly], batch: Batch, host: Host, now: int
) -> list[Signal]:
    recent = sorted((a for a in anomalies if a.at >= now - LATE_AFTER_MS), key=lambda a: -a.score)
    if recent:
        if not episode.started_at:
            episode.started_at = min(a.at for a in recent)
        episode.last_at = max(a.at for a in recent)
    if not episode.started_at:
        return []
    over = not recent and now - episode.last_at >= QUIET_MS
    if not over and not recent and now - episode.sent_at < REFRESH_MS:
        return []
    if not over and recent and episode.sent_at and now - episode.sent_at < REFRESH_MS:
        return []
    names = list(dict.fromkeys(a.key.text() for a in recent))
    signal = Signal(
        fingerprint=fingerprint("anomaly", host.id, {}),
        kind=SignalKind.ANOMALY,
        state=SignalState.RESOLVED if over else SignalState.FIRING,
        host_id=host.id,
        host_name=host.name,
        source=_DETECTOR,
        title="Unusual behaviour"
        + (f": {names[0]}" + (f" and {len(names) - 1} more" if names[1:] else "") if names else ""),
        severity=Severity.INFO,
        started_at=episode.started_at,
        at=now,
        reason=" ".join(a.reason for a in recent[:3])
        or ("No anomaly for five minutes." if over else "Still unusual."),
        metric=recent[0].key.metric if recent else None,
        evidence={a.key.text(): round(a.score, 3) for a in reversed(recent[:10])},
        top_processes=batch.top_processes,
        host_labels=host.labels,
    )
    episode.sent_at = now
    if over:
        episode.started_at = episode.last_at = episode.sent_at = 0
    return [signal]


def _note_latest(memory: Memory, block: SampleBlock) -> None:
    for column, key in enumerate(block.series):
        present = np.flatnonzero(~np.isnan(block.values[:, column]))
        if len(present):
            row = present[-1]
            memory.latest[key.text()] = (int(block.times[row]), float(block.values[row, column]))
