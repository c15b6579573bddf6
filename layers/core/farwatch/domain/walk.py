"""Rules over a block of samples: which groups, in which order, and what each step brought about.

``process`` walks each batch as it comes; a preview and the rule tests walk history. All three see the same steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from farwatch.domain.rules import Change, GroupState, Measure, Rule, groups, step
from farwatch.domain.samples import SampleBlock, SeriesKey

FORGET_SILENT_MS = 86_400_000
"""A series silent for a day is taken to be gone for good: a disk unmounted, a container removed."""


@dataclass(frozen=True, slots=True)
class Step:
    """One group of a rule after the samples taken at ``at`` (epoch ms). ``value`` is the first condition's: a sample, or
    seconds of silence for a rule on silence; None when unknown.
    """

    key: SeriesKey
    state: GroupState
    at: int
    value: float | None
    change: Change


def walk(
    rule: Rule, states: dict[str, GroupState], block: SampleBlock, last_seen: Mapping[SeriesKey, int]
) -> Iterator[Step]:
    """Advance every group of ``rule`` through ``block``, changing ``states`` (by group text) in place.

    ``last_seen`` gives the time of the newest sample before the block of series that the host has sent; only a rule on
    silence needs it, since its groups include series that are not in the block any more.
    """
    on_silence = any(condition.measure is Measure.SILENT for condition in rule.conditions)
    series, values = block.series, block.values
    if on_silence and len(block.times):
        known = set(series)
        gone = tuple(
            key
            for key, at in last_seen.items()
            if key not in known and int(block.times[-1]) - at < FORGET_SILENT_MS
        )
        series = series + gone
        values = np.concatenate([values, np.full((len(values), len(gone)), np.nan)], axis=1)
    times = block.times.tolist()
    for key, columns in groups(rule, series):
        state = states.setdefault(key.text(), GroupState())
        observed = [
            _observed(condition.measure, column, series, values, times, last_seen)
            for condition, column in zip(rule.conditions, columns, strict=True)
        ]
        for row, at in enumerate(times):
            now = [column[row] for column in observed]
            yield Step(key, state, at, now[0], step(rule, state, at, now))


def _observed(
    measure: Measure,
    column: int | None,
    series: tuple[SeriesKey, ...],
    values: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    times: list[int],
    last_seen: Mapping[SeriesKey, int],
) -> list[float | None]:
    if column is None:
        return [None] * len(times)
    found = [None if value != value else value for value in values[:, column].tolist()]  # noqa: PLR0124 - NaN
    if measure is not Measure.SILENT:
        return found
    silences: list[float | None] = []
    last = last_seen.get(series[column])
    for at, value in zip(times, found, strict=True):
        last = at if value is not None else last
        silences.append(None if last is None else max(at - last, 0) / 1000)
    return silences
