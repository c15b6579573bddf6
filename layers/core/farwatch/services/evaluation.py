"""Evaluation: what one batch of a host means, given what we remember of the host.

Rules and the streaming detector run over the same block of samples. The outcome is a list of signals, the anomalies to
keep and the new memory; nothing is sent or saved here. Folding is guarded by time: samples at or before the last one folded
change nothing, so a batch may be evaluated again after a crash.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from farwatch.domain.anomalies import Anomaly, Episode, EpisodeChange, HostScore, advance, close, counts_from
from farwatch.domain.hosts import Host
from farwatch.domain.rules import Change, Condition, GroupState, Measure, Phase, Rule, applies_to_host
from farwatch.domain.samples import Batch, SampleBlock, SeriesKey
from farwatch.domain.severity import Severity
from farwatch.domain.signals import Signal, SignalKind, SignalState, fingerprint
from farwatch.domain.units import duration, show, unit_of
from farwatch.domain.walk import FORGET_SILENT_MS, States, Step, walk
from farwatch.services.detect import DetectorMemory, HostMemoryOfScore, Sensitivity, detect, score_host

LATE_AFTER_MS = 5 * 60_000
REFRESH_MS = 60_000


class Memory(msgspec.Struct):
    """What is remembered of a host between batches; two kilobytes a series. Lost, it is made again from history."""

    detectors: dict[str, DetectorMemory] = {}
    host: HostMemoryOfScore = msgspec.field(default_factory=HostMemoryOfScore)
    folded_through: int = 0
    rules: States = {}
    episode: Episode = msgspec.field(default_factory=Episode)
    latest: dict[str, tuple[int, float]] = {}
    asked_at: int = 0
    asked_through: int = 0
    """When ``detect`` was last asked to look at the host, and through which sample."""
    cold: bool = False
    """Whether the detectors have yet to learn from history; until then they see nothing."""
    learned_minutes: int = 0
    learned_samples: int = 0
    """Through when (epoch ms) they have learned so far, from minutes and from samples."""


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
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return Memory()


def evaluate(
    memory: Memory,
    batch: Batch,
    host: Host,
    rules: Sequence[Rule],
    now: int,
    sensitivity: Sensitivity | None = None,
    raised_elsewhere: Sequence[Anomaly] = (),
) -> Outcome:
    """Fold the batch into ``memory`` (changed in place) and return the outcome; ``now`` is epoch ms.

    Samples older than five minutes teach the detector but fire no rule: their trouble is over or will be seen again. What
    is unusual about them counts for the host's episode only if it falls into one that is on.
    ``sensitivity`` is what people have set of the detectors. ``raised_elsewhere`` are anomalies found by slow
    detectors: they count for the host's episode like the others, once, however often they are given.
    """
    block = _after(batch.samples, memory.folded_through)
    signals = _evaluate_rules(memory, block, batch, host, rules, now)
    anomalies = [] if memory.cold else detect(memory.detectors, block, host, sensitivity or Sensitivity())
    score = memory.host.score if memory.cold else score_host(memory.host, block)
    signals += _episode_signals(memory.episode, [*anomalies, *raised_elsewhere], score, batch, host, now)
    _note_latest(memory, block)
    return Outcome(signals, anomalies, memory)


def warm_up_rules(memory: Memory, history: SampleBlock, host: Host, rules: Sequence[Rule]) -> None:
    """Fold stored history into an empty memory, silently: rules come to stand where they stood.

    An incident that was open when the memory was lost thus goes on as the same episode, and nothing old is raised.
    ``history`` holds the last hours as they were sampled. Detectors stay cold until they have learned, too (``warm_up``).
    """
    chosen = [rule for rule in rules if applies_to_host(rule, host.labels)]
    for _ in walk(chosen, memory.rules, history, {}):
        pass
    memory.cold = True
    _note_latest(memory, history)


def _after(block: SampleBlock, folded_through: int) -> SampleBlock:
    keep = block.times > folded_through
    return SampleBlock(block.times[keep], block.series, block.values[keep])


def _evaluate_rules(
    memory: Memory, block: SampleBlock, batch: Batch, host: Host, rules: Sequence[Rule], now: int
) -> list[Signal]:
    fresh = block.times >= now - LATE_AFTER_MS
    recent = SampleBlock(block.times[fresh], block.series, block.values[fresh])
    signals: list[Signal] = []
    chosen = {rule.id: rule for rule in rules if applies_to_host(rule, host.labels)}
    for gone in memory.rules.keys() - chosen.keys():
        # The rule was deleted, switched off or no longer chooses this host: whatever it held open ends now.
        for text, state in memory.rules.pop(gone).items():
            if state.phase in (Phase.FIRING, Phase.RECOVERING):
                signals.append(_withdrawn(gone, text, state, host, now))
    last_seen = _last_seen(memory) if any(rule.on_silence for rule in chosen.values()) else {}
    for now_at in walk(chosen.values(), memory.rules, recent, last_seen):
        if now_at.change is Change.RESOLVED:
            signals.append(_rule_signal(now_at, host, batch, SignalState.RESOLVED))
        firing = now_at.state.phase in (Phase.FIRING, Phase.RECOVERING)
        if now_at.change is Change.FIRED or (firing and now_at.at - now_at.state.sent_at >= REFRESH_MS):
            now_at.state.sent_at = now_at.at
            signals.append(_rule_signal(now_at, host, batch, SignalState.FIRING))
    return signals


def _last_seen(memory: Memory) -> dict[SeriesKey, int]:
    return {SeriesKey.parse(text): at for text, (at, _) in memory.latest.items()}


def _rule_signal(step: Step, host: Host, batch: Batch, signal_state: SignalState) -> Signal:
    rule, key, state = step.rule, step.key, step.state
    condition, unit = rule.conditions[0], unit_of(rule.metric)
    silent = condition.measure is Measure.SILENT
    reason = (
        _why_firing(condition, key, step)
        if signal_state is SignalState.FIRING
        else _why_over(condition, key, step)
    )
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
        at=step.at,
        reason=reason,
        metric=key.metric,
        labels=key.label_map,
        value=step.value,
        unit="s" if silent else unit,
        evidence={
            "enter": condition.enter,
            "leave": condition.leave,
            "for_s": rule.for_s,
            "summary": rule.summary,
            **({"measure": condition.measure.value} if condition.measure is not Measure.VALUE else {}),
            **({"flaps": state.flaps} if state.flaps else {}),
        },
        top_processes=batch.top_processes,
        host_labels=host.labels,
    )


def _why_firing(condition: Condition, key: SeriesKey, step: Step) -> str:
    lasted, unit = duration((step.at - step.state.started_at) / 1000), unit_of(key.metric)
    again = f" It has come back {step.state.flaps} times in a row." if step.state.flaps > 1 else ""
    current = "unknown" if step.value is None else show(step.value, unit)
    match condition.measure:
        case Measure.SILENT:
            silence = "a while" if step.value is None else duration(step.value)
            return f"{key.text()} has sent nothing for {silence}, although its host reports.{again}"
        case Measure.TO_BOUND:
            window = duration(condition.window_s)
            return (
                f"{key.text()} has been on its way to {show(condition.bound, unit)} within "
                f"{duration(condition.enter)} for {lasted}, at the rate of the last {window}; it is {current} now.{again}"
            )
        case Measure.CHANGE:
            limit = f"{condition.comparison} {show(condition.enter, unit)} per hour"
            return f"{key.text()} has been changing by {limit} for {lasted}; it is {current} now.{again}"
        case Measure.VALUE:
            limit = f"{condition.comparison} {show(condition.enter, unit)}"
            return f"{key.text()} has been {limit} for {lasted}; it is {current} now.{again}"


def _why_over(condition: Condition, key: SeriesKey, step: Step) -> str:
    lasted = duration((step.at - step.state.started_at) / 1000)
    if condition.measure is Measure.SILENT:
        return f"{key.text()} is sent again after {lasted}."
    current = "unknown" if step.value is None else show(step.value, unit_of(key.metric))
    back = step.value is None or not condition.holds(step.value, firing=True)
    if condition.measure is Measure.VALUE and back:
        return f"{key.text()} is back to {current} after {lasted}."
    # What is over is how it moved, or another condition: the value itself may be no better than before.
    return f"Over after {lasted}; {key.text()} is {current} now."


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


def _episode_signals(
    episode: Episode,
    anomalies: Sequence[Anomaly],
    score: HostScore,
    batch: Batch,
    host: Host,
    now: int,
) -> list[Signal]:
    since = counts_from(episode, now)
    change = advance(episode, [anomaly for anomaly in anomalies if anomaly.at >= since], score, now)
    due = now - episode.sent_at >= REFRESH_MS
    if change is EpisodeChange.NONE or (change is EpisodeChange.GOES_ON and not due):
        return []
    signal = _episode_signal(episode, score, batch, host, now, over=change is EpisodeChange.OVER)
    episode.sent_at = now
    if change is EpisodeChange.OVER:
        close(episode, now)
    return [signal]


def _episode_signal(
    episode: Episode, score: HostScore, batch: Batch, host: Host, now: int, *, over: bool
) -> Signal:
    ranked = episode.ranked()
    first, others = ranked[0], len(ranked) - 1
    named = first.key.text() + (f" and {others} more" if others else "")
    evidence: dict[str, float | str | None] = {
        anomaly.key.text(): round(anomaly.score, 3) for anomaly in ranked[:10]
    }
    evidence |= {
        "series": len(ranked),
        "host_score": round(score.score, 3),
        "pattern": first.pattern,
        "since": min(anomaly.since or anomaly.at for anomaly in ranked),
        "expected_low": first.expected_low,
        "expected_high": first.expected_high,
    }
    if episode.flaps:
        evidence["flaps"] = episode.flaps
    return Signal(
        fingerprint=fingerprint("anomaly", host.id, {}),
        kind=SignalKind.ANOMALY,
        state=SignalState.RESOLVED if over else SignalState.FIRING,
        host_id=host.id,
        host_name=host.name,
        source="anomaly",
        title=f"Unusual behaviour: {named}",
        severity=Severity.WARNING if episode.warning else Severity.INFO,
        started_at=episode.started_at,
        at=now,
        reason="Nothing unusual any more."
        if over
        else " ".join(anomaly.reason for anomaly in ranked[:3])
        + (f" {len(ranked) - 3} more series are unusual." if len(ranked) > 3 else ""),
        metric=first.key.metric,
        labels=first.key.label_map,
        value=first.value,
        unit=unit_of(first.key.metric),
        evidence=evidence,
        top_processes=batch.top_processes,
        host_labels=host.labels,
    )


def _note_latest(memory: Memory, block: SampleBlock) -> None:
    if not len(block.times):
        return
    known = ~np.isnan(block.values)
    newest = len(known) - 1 - known[::-1].argmax(axis=0)  # of each column the last row that is known
    columns = np.arange(len(block.series))
    ats, values = block.times[newest].tolist(), block.values[newest, columns].tolist()
    for key, at, value in zip(block.series, ats, values, strict=True):
        if value == value:  # noqa: PLR0124 - NaN: a column with no sample
            memory.latest[key.text()] = (at, value)
    memory.folded_through = int(block.times[-1])
    gone = [text for text, (at, _) in memory.latest.items() if memory.folded_through - at > FORGET_SILENT_MS]
    for text in gone:
        del memory.latest[text]
    _forget_groups(memory)


def _forget_groups(memory: Memory) -> None:
    """Forget where the rules stood with series that have not been sent for a day; containers and their disks come and go."""
    for states in memory.rules.values():
        gone = [
            text
            for text, state in states.items()
            if text not in memory.latest and memory.folded_through - state.at > FORGET_SILENT_MS
        ]
        for text in gone:
            del states[text]
