"""Rules over a block of samples: which groups, in which order, and what each step brought about.

``process`` walks each batch as it comes; a preview and the rule tests walk history. All three see the same steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from farwatch.domain.flapping import count_after_firing
from farwatch.domain.measures import WINDOWED
from farwatch.domain.rules import (
    Change,
    Comparison,
    Condition,
    GroupState,
    Measure,
    Phase,
    Rule,
    SeriesByMetric,
    by_metric,
    groups,
    step,
)
from farwatch.domain.samples import SampleBlock, SeriesKey

FORGET_SILENT_MS = 86_400_000
"""A series silent for a day is taken to be gone for good: a disk unmounted, a container removed."""

States = dict[str, dict[str, GroupState]]
"""Where the groups of rules stand, by rule id and the text of the group's series."""


@dataclass(frozen=True, slots=True)
class Step:
    """One group of a rule after the samples taken at ``at`` (epoch ms). ``value`` is the first condition's: a sample, or
    seconds of silence for a rule on silence; None when unknown.
    """

    rule: Rule
    key: SeriesKey
    state: GroupState
    at: int
    value: float | None
    change: Change


def walk(
    rules: Iterable[Rule], states: States, block: SampleBlock, last_seen: Mapping[SeriesKey, int]
) -> Iterator[Step]:
    """Advance every group of the ``rules`` through ``block``, changing ``states`` in place; yield the steps, rule by rule.

    Groups that are well and have no sample beyond a line they would have to cross are most of all groups: no step of
    theirs would change anything. They yield nothing, and once their past does not matter any more no state is kept of them.

    ``last_seen`` gives the time of the newest sample before the block of series that the host has sent; only rules on
    silence need it, since their groups include series that are not in the block any more.
    """
    if not len(block.times):
        return
    sampled, with_silent = _Look.at(block), None
    for rule in rules:
        look = sampled
        if rule.on_silence:
            with_silent = look = with_silent or _Look.at(_with_silent(block, last_seen))
        mine = states.setdefault(rule.id, {})
        keeps_a_window = any(condition.measure in WINDOWED for condition in rule.conditions)
        for key, columns in groups(rule, look.series):
            text = key.text()
            state = mine.get(text) or GroupState()
            if state.phase is Phase.OK and not keeps_a_window and look.harmless(rule.conditions, columns):
                state.at = max(state.at, look.times[-1])
                if text in mine and not count_after_firing(state.flaps, state.ended_at, state.at):
                    del mine[text]
                continue
            mine[text] = state
            observed = [
                look.observed(condition.measure, column, last_seen)
                for condition, column in zip(rule.conditions, columns, strict=True)
            ]
            for at, now in zip(look.times, zip(*observed, strict=True), strict=True):
                yield Step(rule, key, state, at, now[0], step(rule, state, at, now))


def _with_silent(block: SampleBlock, last_seen: Mapping[SeriesKey, int]) -> SampleBlock:
    """Return the block with a column of NaN for each series that has fallen silent, but not for good."""
    known = set(block.series)
    gone = tuple(
        key
        for key, at in last_seen.items()
        if key not in known and int(block.times[-1]) - at < FORGET_SILENT_MS
    )
    nothing = np.full((len(block.times), len(gone)), np.nan)
    return SampleBlock(block.times, block.series + gone, np.concatenate([block.values, nothing], axis=1))


@dataclass(frozen=True, slots=True)
class _Look:
    """A block as rules see it; ``highest`` and ``lowest`` are the extremes of each column, NaN where it is empty."""

    block: SampleBlock
    series: SeriesByMetric
    times: list[int]
    highest: list[float]
    lowest: list[float]

    @classmethod
    def at(cls, block: SampleBlock) -> _Look:
        extremes = (np.fmax.reduce(block.values, axis=0), np.fmin.reduce(block.values, axis=0))
        highest, lowest = (extreme.tolist() for extreme in extremes)
        return cls(block, by_metric(block.series), block.times.tolist(), highest, lowest)

    def harmless(self, conditions: Sequence[Condition], columns: Sequence[int | None]) -> bool:
        """Tell whether some condition, and so the whole rule, can hold at no time of the block unless it is firing."""
        for condition, column in zip(conditions, columns, strict=True):
            if column is None:
                return True  # never known
            if condition.measure is Measure.VALUE:
                above = condition.comparison is Comparison.ABOVE
                if not condition.holds((self.highest if above else self.lowest)[column], firing=False):
                    return True
        return False

    def observed(
        self, measure: Measure, column: int | None, last_seen: Mapping[SeriesKey, int]
    ) -> list[float | None]:
        """Return what a condition has to go by at each time: the samples of ``column``, or how long it has been silent."""
        if column is None:
            return [None] * len(self.times)
        found = _known(self.block.values[:, column])
        if measure is not Measure.SILENT:
            return found
        silences: list[float | None] = []
        last = last_seen.get(self.block.series[column])
        for at, value in zip(self.times, found, strict=True):
            last = at if value is not None else last
            silences.append(None if last is None else max(at - last, 0) / 1000)
        return silences


def _known(values: npt.NDArray[np.float64]) -> list[float | None]:
    return [None if value != value else value for value in values.tolist()]  # noqa: PLR0124 - NaN
