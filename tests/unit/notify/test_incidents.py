"""The incident state machine: what each signal and person changes, and what no sequence of them can break."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from farwatch.domain import incidents
from farwatch.domain.events import EventKind, IncidentEvent
from farwatch.domain.incidents import Change, Group, Incident, IncidentStatus, Policy, Tracking
from farwatch.domain.severity import Severity
from farwatch.domain.signals import Signal, SignalKind, SignalState
from farwatch.errors import Conflict
from tests.unit.notify.makers import NOW, a_signal

AT_ONCE = Policy()
MINUTE = 60_000


class Story:
    """A group and everything that has been published about it, stepped by signals and people."""

    def __init__(self, policy: Policy = AT_ONCE) -> None:
        self.group = Group("host=host_1")
        self.policy = policy
        self.events: list[IncidentEvent] = []
        self.timeline: list[str] = []
        self.opened = 0

    def receive(self, signal: Signal, now: int = NOW) -> Change | None:
        return self.take(
            incidents.receive(
                self.group, signal, now=now, new_id=f"inc_{self.opened + 1}", policy=self.policy
            )
        )

    def take(self, change: Change | None) -> Change | None:
        if change is not None:
            before = self.group.incident
            self.group = change.group
            self.events += change.events
            self.timeline += [entry.text for entry in change.timeline]
            if change.group.incident is not None and (
                before is None or before.id != change.group.incident.id
            ):
                self.opened += 1
        return change

    def incident(self) -> Incident:
        assert self.group.incident is not None
        return self.group.incident

    def kinds(self) -> list[EventKind]:
        return [event.kind for event in self.events]


CPU = a_signal()
DISK = a_signal(
    source="rule_disk",
    metric="disk.used_percent",
    labels={"mount": "/"},
    value=91.0,
    severity=Severity.WARNING,
    reason="/ is 91 % full.",
    top_processes=(),
)
SILENT = a_signal(
    kind=SignalKind.SILENCE,
    source="silence",
    title="web-3 is silent",
    severity=Severity.CRITICAL,
    metric=None,
    value=None,
    reason="Nothing heard for 90 s.",
)


def over(signal: Signal, at: int = NOW + MINUTE) -> Signal:
    return replace(signal, state=SignalState.RESOLVED, at=at)


def again(signal: Signal, at: int = NOW + MINUTE) -> Signal:
    return replace(signal, at=at)


def test_the_first_firing_signal_opens_an_incident_that_names_the_cause_and_pages() -> None:
    story = Story()
    story.receive(CPU)
    assert story.incident().title == "CPU 97 % on web-3 for 2 min: stress (pid 4242) uses 93 %"
    assert story.incident().status is IncidentStatus.OPEN
    [event] = story.events
    assert (event.kind, event.pages, event.seq) == (EventKind.OPENED, True, 1)
    assert event.evidence is not None
    assert event.evidence.top_processes[0].pid == 4242


def test_the_same_signal_again_changes_nothing_people_see() -> None:
    story = Story()
    story.receive(CPU)
    assert story.receive(CPU) is None
    change = story.receive(again(CPU), NOW + MINUTE)
    assert change is not None
    assert (change.events, change.timeline) == ((), ())
    assert story.group.signals[CPU.fingerprint].last_at == NOW + MINUTE


def test_thirty_signals_of_a_host_are_one_page() -> None:
    story = Story()
    for number in range(30):
        story.receive(a_signal(source=f"rule_{number}"))
    assert story.opened == 1
    assert [kind for kind in story.kinds() if kind.firing] == [EventKind.OPENED]
    assert story.events[-1].signal_count == 30
    assert len(story.events[-1].signals) == 20


def test_a_worse_signal_escalates_once_and_takes_over_title_and_evidence() -> None:
    story = Story()
    story.receive(DISK)
    story.receive(CPU)
    story.receive(again(CPU), NOW + MINUTE)
    assert story.kinds() == [EventKind.OPENED, EventKind.ESCALATED]
    assert story.incident().severity is Severity.HIGH
    assert story.incident().title.startswith("CPU 97 %")
    assert [evidence.metric for evidence in story.incident().evidence] == ["disk.used_percent", "cpu.percent"]


def test_an_incident_ends_with_its_last_signal() -> None:
    story = Story()
    story.receive(DISK)
    story.receive(CPU)
    story.receive(over(CPU), NOW + MINUTE)
    assert story.incident().status is IncidentStatus.OPEN
    assert "rule_cpu" not in {signal.source for signal in story.group.firing()}
    story.receive(over(DISK), NOW + 2 * MINUTE)
    assert story.incident().status is IncidentStatus.RESOLVED
    assert story.kinds()[-1] is EventKind.RESOLVED
    assert story.events[-1].pages
    assert "2 min" in story.timeline[-1]


def test_the_title_speaks_of_what_is_left_when_the_signal_it_named_is_over() -> None:
    story = Story()
    story.receive(CPU)
    story.receive(DISK)
    story.receive(over(CPU), NOW + MINUTE)
    assert story.incident().reason == "/ is 91 % full."
    assert story.incident().severity is Severity.HIGH


def test_a_firing_signal_that_comes_after_its_own_end_opens_nothing() -> None:
    story = Story()
    story.receive(over(CPU), NOW + MINUTE)
    story.receive(CPU, NOW + MINUTE)
    assert story.events == []
    story.receive(replace(CPU, started_at=NOW + 2 * MINUTE, at=NOW + 3 * MINUTE), NOW + 3 * MINUTE)
    assert story.kinds() == [EventKind.OPENED]


def test_a_late_copy_after_the_end_does_not_open_it_again() -> None:
    story = Story()
    story.receive(CPU)
    story.receive(over(CPU), NOW + MINUTE)
    assert story.receive(CPU, NOW + 2 * MINUTE) is None
    assert story.opened == 1


def test_a_silent_host_mutes_its_own_metrics() -> None:
    story = Story()
    story.receive(replace(SILENT, severity=Severity.WARNING))
    story.receive(replace(CPU, severity=Severity.CRITICAL))
    assert not any(kind.firing for kind in story.kinds()[1:])
    assert story.incident().severity is Severity.WARNING
    assert [line.inhibited for line in story.events[-1].signals] == [True, False]
    story.receive(over(SILENT), NOW + MINUTE)
    story.receive(again(replace(CPU, severity=Severity.CRITICAL)), NOW + MINUTE)
    assert story.kinds()[-1] is EventKind.ESCALATED
    assert story.incident().severity is Severity.CRITICAL


def test_mere_information_does_not_page_until_it_gets_worse() -> None:
    story = Story()
    story.receive(replace(CPU, severity=Severity.INFO))
    assert not story.events[0].pages
    story.receive(again(replace(CPU, severity=Severity.WARNING)), NOW + MINUTE)
    assert (story.events[1].kind, story.events[1].pages) == (EventKind.ESCALATED, True)


def test_an_acknowledged_incident_opens_again_when_it_gets_worse() -> None:
    story = Story()
    story.receive(DISK)
    story.take(incidents.acknowledge(story.group, now=NOW, actor="Ada"))
    assert story.incident().acknowledged_by == "Ada"
    with pytest.raises(Conflict, match="Ada"):
        incidents.acknowledge(story.group, now=NOW, actor="Bob")
    story.receive(replace(SILENT, at=NOW + 1))
    assert story.incident().status is IncidentStatus.OPEN
    assert story.incident().acknowledged_by is None


def test_what_a_person_resolved_stays_quiet_until_it_ends_or_gets_worse() -> None:
    story = Story()
    story.receive(DISK)
    story.take(incidents.resolve_by_hand(story.group, now=NOW, actor="Ada"))
    story.receive(again(DISK), NOW + MINUTE)
    assert story.opened == 1
    assert story.group.signals[DISK.fingerprint].state is Tracking.DISMISSED
    story.receive(again(replace(DISK, severity=Severity.CRITICAL), NOW + 2 * MINUTE), NOW + 2 * MINUTE)
    assert story.opened == 2


def test_a_lost_ending_is_made_up_for_and_a_signal_that_goes_on_opens_anew() -> None:
    story = Story()
    story.receive(CPU)
    story.take(
        incidents.expire(story.group, [CPU.fingerprint], now=NOW + 5 * MINUTE, why="no news for 5 min")
    )
    assert story.incident().status is IncidentStatus.RESOLVED
    assert story.incident().resolution == "no news for 5 min"
    assert story.receive(CPU, NOW + 6 * MINUTE) is None
    story.receive(again(CPU, NOW + 6 * MINUTE), NOW + 6 * MINUTE)
    assert story.opened == 2


def test_a_clock_that_runs_ahead_does_not_deafen_us_once_it_is_set_right() -> None:
    story = Story()
    ahead = NOW + 365 * 86_400_000
    story.receive(replace(CPU, started_at=ahead, at=ahead))
    story.receive(replace(over(CPU), started_at=ahead, at=ahead), NOW + 1)
    story.receive(replace(CPU, started_at=NOW + MINUTE, at=NOW + 2 * MINUTE), NOW + 2 * MINUTE)
    assert story.opened == 2


def test_trouble_shorter_than_the_group_wait_is_recorded_and_not_sent() -> None:
    story = Story(Policy(group_wait_s=30))
    story.receive(CPU)
    assert story.events == []
    assert incidents.announce(story.group, now=NOW + 29_000) is None
    story.receive(over(CPU, NOW + 10_000), NOW + 10_000)
    assert [(event.kind, event.pages) for event in story.events] == [(EventKind.RESOLVED, False)]


def test_after_the_group_wait_people_are_told_once_with_everything_that_joined() -> None:
    story = Story(Policy(group_wait_s=30))
    story.receive(DISK)
    story.receive(CPU, NOW + 10_000)
    story.take(incidents.announce(story.group, now=NOW + 30_000))
    assert incidents.announce(story.group, now=NOW + 31_000) is None
    [opened] = [event for event in story.events if event.kind.firing]
    assert opened.severity is Severity.HIGH
    assert opened.signal_count == 2


def test_who_acknowledged_before_people_were_paged_keeps_pagerduty_quiet() -> None:
    story = Story(Policy(group_wait_s=30))
    story.receive(DISK)
    story.take(incidents.acknowledge(story.group, now=NOW + 5_000, actor="Ada"))
    story.take(incidents.announce(story.group, now=NOW + 30_000))
    opened, taken = story.events[-2:]
    assert (opened.kind, opened.pages) == (EventKind.OPENED, True)
    assert (taken.kind, taken.pages, taken.actor) == (EventKind.ACKNOWLEDGED, True, "Ada")

    mild = Story()
    mild.receive(replace(DISK, severity=Severity.INFO))
    mild.take(incidents.acknowledge(mild.group, now=NOW, actor="Ada"))
    mild.take(incidents.set_severity(mild.group, now=NOW, actor="Bob", severity=Severity.HIGH))
    mild.take(incidents.set_severity(mild.group, now=NOW, actor="Bob", severity=Severity.CRITICAL))
    assert mild.kinds()[2:] == [EventKind.ESCALATED, EventKind.ACKNOWLEDGED, EventKind.ESCALATED]


def test_a_person_may_raise_and_lower_the_severity_and_only_raising_tells_people() -> None:
    story = Story()
    story.receive(DISK)
    story.take(incidents.set_severity(story.group, now=NOW, actor="Ada", severity=Severity.CRITICAL))
    story.take(incidents.set_severity(story.group, now=NOW, actor="Ada", severity=Severity.INFO))
    assert story.kinds() == [EventKind.OPENED, EventKind.ESCALATED, EventKind.UPDATED]
    assert incidents.set_severity(story.group, now=NOW, actor="Ada", severity=Severity.INFO) is None
    story.take(incidents.resolve_by_hand(story.group, now=NOW, actor="Ada"))
    assert story.events[-1].pages, "whoever was paged is told of the end, however mild it was called since"


def test_an_incident_opened_by_hand_pages_and_ends_by_hand() -> None:
    story = Story()
    story.take(
        incidents.open_by_hand(
            now=NOW,
            new_id="inc_1",
            actor="Ada",
            title="Shop is slow\nX: y",
            reason="",
            severity=Severity.HIGH,
        )
    )
    assert story.incident().title == "Shop is slow X: y"
    story.take(incidents.assign(story.group, now=NOW, actor="Ada", assignee="usr_2", assignee_name="Bob"))
    story.take(incidents.comment(story.group, now=NOW, actor="Bob", text="Looking."))
    story.take(incidents.resolve_by_hand(story.group, now=NOW + MINUTE, actor="Bob", note="Cache was cold."))
    with pytest.raises(Conflict):
        incidents.resolve_by_hand(story.group, now=NOW, actor="Bob")
    story.take(incidents.comment(story.group, now=NOW, actor="Ada", text="Thanks."))
    assert story.kinds() == [
        EventKind.OPENED,
        EventKind.ASSIGNED,
        EventKind.COMMENTED,
        EventKind.RESOLVED,
        EventKind.COMMENTED,
    ]


def test_an_incident_can_be_about_other_labels_than_the_host() -> None:
    assert incidents.group_key(CPU) == "host=host_1"
    assert incidents.group_key(CPU, ("env", "team")) == "env=prod,team="


class AnySequence(RuleBasedStateMachine):
    """Signals of three sources in any order, with copies and old ones, people, expiry and clock jumps."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.wait = 0
        self.story = Story()
        self.started = [NOW, NOW, NOW]
        self.sent: list[Signal] = []

    @rule(
        source=st.integers(0, 2),
        severity=st.sampled_from(Severity),
        new=st.booleans(),
        resolved=st.booleans(),
    )
    def a_source_speaks(self, source: int, severity: Severity, new: bool, resolved: bool) -> None:
        if new:
            self.started[source] = self.now
        signal = a_signal(
            source=f"s{source}",
            kind=SignalKind.SILENCE if source == 0 else SignalKind.RULE,
            severity=severity,
            state=SignalState.RESOLVED if resolved else SignalState.FIRING,
            started_at=self.started[source],
            at=self.now,
        )
        self.sent.append(signal)
        self.story.receive(signal, self.now)

    @rule(pick=st.randoms(use_true_random=False))
    def an_old_message_comes_again(self, pick: object) -> None:
        if self.sent:
            copy = self.sent[pick.randrange(len(self.sent))]  # type: ignore[attr-defined] # a random.Random
            opened = self.story.opened
            newest = max(
                (signal for signal in self.sent if signal.source == copy.source),
                key=lambda signal: (signal.started_at, signal.at),
            )
            self.story.receive(copy, self.now)
            if copy != newest and (copy.started_at, copy.at) < (newest.started_at, newest.at):
                assert self.story.opened == opened

    @rule(seconds=st.integers(-30, 600))
    def the_clock_moves(self, seconds: int) -> None:
        self.now += seconds * 1000

    @rule(wait=st.sampled_from([0.0, 30.0]))
    def the_group_wait_is_set(self, wait: float) -> None:
        self.story.policy = Policy(group_wait_s=wait)

    @rule()
    def the_group_wait_is_looked_at(self) -> None:
        if self.story.group.incident is not None and self.story.group.incident.active:
            self.story.take(incidents.announce(self.story.group, now=self.now))

    @rule(verb=st.sampled_from(["acknowledge", "resolve", "assign", "comment", "severity", "expire"]))
    def a_person_or_the_sweep_acts(self, verb: str) -> None:
        group, now = self.story.group, self.now
        if group.incident is None or not group.incident.active:
            return
        if verb == "acknowledge" and group.incident.status is IncidentStatus.OPEN:
            self.story.take(incidents.acknowledge(group, now=now, actor="Ada"))
        elif verb == "resolve":
            self.story.take(incidents.resolve_by_hand(group, now=now, actor="Ada"))
        elif verb == "assign":
            self.story.take(
                incidents.assign(group, now=now, actor="Ada", assignee="usr_1", assignee_name="Bob")
            )
        elif verb == "comment":
            self.story.take(incidents.comment(group, now=now, actor="Ada", text="hm"))
        elif verb == "severity":
            self.story.take(incidents.set_severity(group, now=now, actor="Ada", severity=Severity.HIGH))
        elif verb == "expire":
            self.story.take(incidents.expire(group, list(group.signals), now=now, why="no news"))

    @invariant()
    def every_incident_speaks_in_order_and_ends_once(self) -> None:
        by_incident: dict[str, list[IncidentEvent]] = {}
        for event in self.story.events:
            by_incident.setdefault(event.incident_id, []).append(event)
        for events in by_incident.values():
            assert [event.seq for event in events] == list(range(1, len(events) + 1))
            kinds = [event.kind for event in events]
            assert kinds.count(EventKind.OPENED) <= 1
            assert kinds.count(EventKind.RESOLVED) <= 1
            if EventKind.ESCALATED in kinds:
                assert EventKind.OPENED in kinds[: kinds.index(EventKind.ESCALATED)]
            if EventKind.RESOLVED in kinds:
                end = kinds.index(EventKind.RESOLVED)
                paged = any(event.pages and event.kind.firing for event in events)
                assert events[end].pages == paged
                assert not any(kind.firing for kind in kinds[end:])

    @invariant()
    def automatic_escalations_only_rise(self) -> None:
        for event in self.story.events:
            if event.kind is EventKind.ESCALATED and not event.actor:
                earlier = [
                    e for e in self.story.events if e.incident_id == event.incident_id and e.seq < event.seq
                ]
                assert all(event.severity.rank > e.severity.rank for e in earlier if e.kind.firing)

    @invariant()
    def an_active_incident_of_signals_has_something_firing_and_a_resolved_one_nothing(self) -> None:
        incident = self.story.group.incident
        if incident is not None:
            assert bool(self.story.group.firing()) == incident.active


AnySequence.TestCase.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
TestAnySequence = AnySequence.TestCase
