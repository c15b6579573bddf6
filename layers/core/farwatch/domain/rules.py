"""Rules: conditions on a host's own metrics that hold for a while, with hysteresis.

A rule watches one group per label set of its first condition's metric (each mount of ``disk.used_percent`` is a group).
All its conditions must hold together: "above 90 % *and* less than 5 GB free" is two. A group moves through

    ok ──enter──▶ pending ──for_s──▶ firing ──leave──▶ recovering ──keep_firing_for_s──▶ ok
                     └──not held──▶ ok        ◀──enter again──┘

Entering asks for ``enter``; once firing, a condition counts as held until ``leave`` is passed, so a value that trembles
around one line does not flap; what comes back soon after it ended is kept firing for longer (``flapping``). A missing sample
changes nothing, except to a condition on silence. (Prometheus' ``for`` and ``keep_firing_for``, Netdata's two thresholds.)
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase

from farwatch.domain.flapping import count_after_firing, keep_firing_s
from farwatch.domain.measures import WINDOWED, Measure, change_per_hour, remember, seconds_to_bound
from farwatch.domain.samples import SeriesKey
from farwatch.domain.severity import Severity

__all__ = [
    "Change",
    "Comparison",
    "Condition",
    "GroupState",
    "Measure",
    "Phase",
    "Rule",
    "SeriesByMetric",
    "applies_to_host",
    "by_metric",
    "groups",
    "step",
]


class Comparison(StrEnum):
    """Which side of the threshold is trouble."""

    ABOVE = "above"
    BELOW = "below"


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison. ``leave`` is the value at which the trouble counts as over; it defaults to ``enter``.

    ``change_per_hour`` and ``seconds_to_bound`` look at the last ``window_s`` seconds and are unknown until three quarters
    of them have been seen; ``bound`` is what a ``seconds_to_bound`` one runs into: 100 for a percentage, 0 for free space.
    """

    metric: str
    comparison: Comparison
    enter: float
    leave: float | None = None
    measure: Measure = Measure.VALUE
    window_s: float = 0.0
    bound: float = 0.0

    def holds(self, value: float, *, firing: bool) -> bool:
        """Tell whether ``value`` is trouble, given whether the group is firing already."""
        line = self.leave if firing and self.leave is not None else self.enter
        compare: Callable[[float, float], bool] = (
            operator.gt if self.comparison is Comparison.ABOVE else operator.lt
        )
        return compare(value, line)


@dataclass(frozen=True, slots=True)
class Rule:
    """What to watch on which hosts, and how much it matters.

    ``host_labels`` and ``series_labels`` choose by label, values may be globs (``env: prod*``); an empty mapping chooses
    all. ``title`` and ``summary`` are for people; ``runbook`` names an entry of the fixes table.
    """

    id: str
    name: str
    conditions: tuple[Condition, ...]
    severity: Severity
    for_s: float = 60.0
    keep_firing_for_s: float = 60.0
    host_labels: Mapping[str, str] = field(default_factory=dict)
    series_labels: Mapping[str, str] = field(default_factory=dict)
    summary: str = ""
    enabled: bool = True
    stock: bool = False

    @property
    def metric(self) -> str:
        """The metric that gives the rule its groups."""
        return self.conditions[0].metric

    @property
    def on_silence(self) -> bool:
        """Whether it watches for series that are not sent any more."""
        return any(condition.measure is Measure.SILENT for condition in self.conditions)


class Phase(StrEnum):
    """Where a group stands; see the module's picture."""

    OK = "ok"
    PENDING = "pending"
    FIRING = "firing"
    RECOVERING = "recovering"


@dataclass(slots=True)
class GroupState:
    """One rule's state for one group. Times are epoch ms.

    ``since`` is when the phase began, ``started_at`` when the episode's condition first held, ``sent_at`` when the firing
    signal was last sent, ``windows`` the (time, value) pairs of each condition that looks back, by its place and metric: a
    rule that is edited must not see the values of another metric as its own. ``flaps`` is the flap count and ``ended_at``
    when the last episode ended.
    """

    phase: Phase = Phase.OK
    since: int = 0
    started_at: int = 0
    sent_at: int = 0
    at: int = 0
    windows: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    flaps: int = 0
    ended_at: int = 0


class Change(StrEnum):
    """What a step of the state machine brought about."""

    NONE = "none"
    FIRED = "fired"
    RESOLVED = "resolved"


def step(rule: Rule, state: GroupState, at: int, values: Sequence[float | None]) -> Change:
    """Advance one group by the samples taken at ``at``; ``values[i]`` belongs to ``rule.conditions[i]``, None is unknown.

    For a ``silent_s`` condition the value is the silence itself, in seconds.
    Returns FIRED on the step that enters firing and RESOLVED on the one that leaves it. Times at or before the last one
    seen are ignored, so replaying samples changes nothing.
    """
    if at <= state.at:
        return Change.NONE
    state.at = at
    measured = [
        _measure(condition, index, state, at, value)
        for index, (condition, value) in enumerate(zip(rule.conditions, values, strict=True))
    ]
    if any(value is None for value in measured):
        return Change.NONE
    firing = state.phase in (Phase.FIRING, Phase.RECOVERING)
    held = all(
        condition.holds(value, firing=firing)
        for condition, value in zip(rule.conditions, measured, strict=True)
        if value is not None
    )
    return _advance(rule, state, at, held=held)


def _advance(rule: Rule, state: GroupState, at: int, *, held: bool) -> Change:
    if state.phase is Phase.OK and held:
        state.phase, state.since, state.started_at = Phase.PENDING, at, at
    elif state.phase is Phase.PENDING and not held:
        state.phase, state.since = Phase.OK, at
    elif state.phase is Phase.RECOVERING and held:
        state.phase, state.since = Phase.FIRING, at
    elif state.phase is Phase.FIRING and not held:
        state.phase, state.since = Phase.RECOVERING, at
    if state.phase is Phase.PENDING and at - state.since >= rule.for_s * 1000:
        state.phase, state.since = Phase.FIRING, at
        state.flaps = count_after_firing(state.flaps, state.ended_at, at)
        return Change.FIRED
    if (
        state.phase is Phase.RECOVERING
        and at - state.since >= keep_firing_s(rule.keep_firing_for_s, state.flaps) * 1000
    ):
        state.phase, state.since, state.ended_at = Phase.OK, at, at
        return Change.RESOLVED
    return Change.NONE


def _measure(
    condition: Condition, index: int, state: GroupState, at: int, value: float | None
) -> float | None:
    if value is None or condition.measure not in WINDOWED:
        return value
    place = f"{index} {condition.metric}"
    if place not in state.windows:
        for other in [key for key in state.windows if key.startswith(f"{index} ")]:
            del state.windows[other]
    window = state.windows.setdefault(place, [])
    remember(window, at, value, condition.window_s)
    if condition.measure is Measure.CHANGE:
        return change_per_hour(window, condition.window_s)
    return seconds_to_bound(window, condition.window_s, condition.bound)


def applies_to_host(rule: Rule, labels: Mapping[str, str]) -> bool:
    """Tell whether an enabled rule chooses a host with these labels."""
    return rule.enabled and _chosen(rule.host_labels, labels)


SeriesByMetric = Mapping[str, Sequence[tuple[int, SeriesKey]]]
"""A host's series of each metric, with their places among all of them."""


def by_metric(series: Sequence[SeriesKey]) -> SeriesByMetric:
    """Return ``series`` by metric, for `groups`."""
    found: dict[str, list[tuple[int, SeriesKey]]] = {}
    for place, key in enumerate(series):
        found.setdefault(key.metric, []).append((place, key))
    return found


def groups(rule: Rule, series: SeriesByMetric) -> Iterator[tuple[SeriesKey, list[int | None]]]:
    """Yield each group of the rule among a host's series: its key, and for each condition the place of its series.

    A further condition is matched by the series of its metric whose labels agree with the group's on every label both
    have; None when there is none.
    """
    for place, key in series.get(rule.metric, ()):
        if _chosen(rule.series_labels, key.label_map):
            others = [_partner(key, series.get(condition.metric, ())) for condition in rule.conditions[1:]]
            yield key, [place, *others]


def _partner(key: SeriesKey, candidates: Sequence[tuple[int, SeriesKey]]) -> int | None:
    mine = key.label_map
    for place, other in candidates:
        if all(mine.get(name, value) == value for name, value in other.labels):
            return place
    return None


def _chosen(wanted: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return all(name in labels and fnmatchcase(labels[name], pattern) for name, pattern in wanted.items())
