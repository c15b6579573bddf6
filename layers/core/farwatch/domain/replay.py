"""What a rule would have done: history walked through it, nothing sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from farwatch.domain.rules import Change, Rule, by_metric, groups
from farwatch.domain.samples import SampleBlock, SeriesKey
from farwatch.domain.walk import walk


@dataclass(slots=True)
class Firing:
    """One episode of one group. Times are epoch ms; ``resolved_at`` is None while it lasts at the end of the history.

    ``began_at`` is when the conditions first held, ``fired_at`` when they had held for long enough; ``flaps`` counts how
    often the group had come back soon after an end.
    """

    key: SeriesKey
    began_at: int
    fired_at: int
    resolved_at: int | None
    value: float | None
    flaps: int


def replay(
    rule: Rule, block: SampleBlock, last_seen: Mapping[SeriesKey, int] | None = None
) -> dict[SeriesKey, list[Firing]]:
    """Return, for each group of ``rule`` in ``block``, its episodes in order; groups that never fire have none."""
    series = by_metric(block.series) if len(block.times) else {}
    episodes: dict[SeriesKey, list[Firing]] = {key: [] for key, _ in groups(rule, series)}
    for now in walk((rule,), {}, block, last_seen or {}):
        mine = episodes.setdefault(now.key, [])
        if now.change is Change.FIRED:
            mine.append(Firing(now.key, now.state.started_at, now.at, None, now.value, now.state.flaps))
        elif now.change is Change.RESOLVED:
            mine[-1].resolved_at = now.at
    return episodes
