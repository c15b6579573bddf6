"""From an incident's events to deliveries: who is told, in which order, and what faults do not change."""

from __future__ import annotations

from dataclasses import replace

import pytest

from farwatch.domain.deliveries import Delivery
from farwatch.domain.events import EventKind
from farwatch.domain.routing import Channel
from farwatch.domain.severity import Severity
from farwatch.domain.signals import Signal, SignalState
from farwatch.errors import Conflict, PreconditionFailed, Rejected, Unavailable
from farwatch.ports.deliveries import RECIPIENT_REJECTED, DeliveryFilter, PersonRow
from farwatch.ports.incidents import IncidentFilter
from farwatch.wire.messages import decode_event
from tests.unit.notify.makers import a_signal
from tests.unit.notify.world import Killed, World

OPENED, RESOLVED = EventKind.OPENED.value, EventKind.RESOLVED.value


def ended(signal: Signal, at: int) -> Signal:
    return replace(signal, state=SignalState.RESOLVED, at=at)


def test_an_opening_and_its_end_reach_every_channel_once(world: World) -> None:
    signal = a_signal()
    world.signal(signal)
    world.pump()
    world.now += 60_000
    world.signal(ended(signal, world.now))
    world.pump()
    for channel, far in world.far.items():
        assert [event.kind for _, _, event in far.arrived] == [EventKind.OPENED, EventKind.RESOLVED], channel
    assert [recipient for recipient, _, _ in world.far[Channel.EMAIL].arrived] == ["usr_ada@example.test"] * 2
    assert world.far[Channel.SLACK].arrived[0][0] == "chan_slack"
    assert [n.kind for n in world.inbox.find("usr_ada", unread=True, limit=10)] == [RESOLVED, OPENED]
    assert [push.topic for push in world.pushes.sent] == ["user:usr_ada"] * 2
    world.sweep()
    assert world.queues.waiting == [], "everything has a receipt, so nothing is published again"


def test_the_end_never_overtakes_the_opening(world: World) -> None:
    signal = a_signal()
    world.signal(signal)
    world.signal(ended(signal, world.now + 1))
    assert len(world.queues.waiting) == 8
    world.queues.waiting.sort(key=lambda message: RESOLVED in message[1], reverse=True)
    while world.queues.waiting:
        channel, text = world.queues.waiting.pop(0)
        world.notify.handle(decode_event(text), channel)
    for far in world.far.values():
        assert [event.kind for _, _, event in far.arrived] == [EventKind.OPENED, EventKind.RESOLVED]


def test_mere_information_stays_in_the_app(world: World) -> None:
    world.signal(a_signal(severity=Severity.INFO))
    world.pump()
    assert not any(far.arrived for far in world.far.values())
    assert len(world.inbox.find("usr_ada", unread=True, limit=10)) == 1


def test_preferences_decide_who_is_told_and_the_end_goes_to_whoever_was(world: World) -> None:
    world.add_user("usr_bob", role="viewer")
    world.add_user("usr_eve", role="guest")
    bob = world.people.get("usr_bob")
    assert bob is not None
    quiet = replace(bob.preferences, enabled=frozenset({Channel.IN_APP}))
    world.people.save(replace(bob, preferences=quiet))
    signal = a_signal()
    world.signal(signal)
    world.pump()
    assert [to for to, _, _ in world.far[Channel.EMAIL].arrived] == ["usr_ada@example.test"]
    ada = world.people.get("usr_ada")
    assert ada is not None
    world.people.save(replace(ada, preferences=replace(ada.preferences, enabled=frozenset())))
    world.signal(ended(signal, world.now + 1))
    world.pump()
    assert [event.kind for _, _, event in world.far[Channel.EMAIL].arrived] == [
        EventKind.OPENED,
        EventKind.RESOLVED,
    ]
    assert world.inbox.unread("usr_bob") == 2
    assert world.inbox.unread("usr_eve") == 0


def test_a_minimum_severity_lets_the_worse_news_through(world: World) -> None:
    ada = world.people.get("usr_ada")
    assert ada is not None
    strict = replace(ada.preferences, min_severity=Severity.CRITICAL)
    world.people.save(PersonRow(strict, "pager@example.test"))
    world.signal(a_signal())
    world.pump()
    assert world.far[Channel.EMAIL].arrived == []
    world.signal(a_signal(source="rule_disk", severity=Severity.CRITICAL))
    world.pump()
    [(recipient, _, event)] = world.far[Channel.EMAIL].arrived
    assert (recipient, event.kind) == ("pager@example.test", EventKind.ESCALATED)


def test_personal_destinations_and_mailing_lists_are_told_too(world: World) -> None:
    ada = world.people.get("usr_ada")
    assert ada is not None
    own = replace(ada.preferences, personal=frozenset({Channel.SLACK}))
    world.people.save(
        PersonRow(own, "", {"slack_webhook_url": "https://example.test/own"}, version=ada.version)
    )
    world.add_channel(
        Channel.EMAIL, "chan_mail", config={"recipients": ["Ops@example.test", "usr_ada@example.test"]}
    )
    world.signal(a_signal())
    world.pump()
    assert [to for to, _, _ in world.far[Channel.SLACK].arrived] == ["chan_slack", "user:usr_ada"]
    assert [to for to, _, _ in world.far[Channel.EMAIL].arrived] == [
        "ops@example.test",
        "usr_ada@example.test",
    ]
    stored = world.people.get("usr_ada")
    assert stored is not None
    assert stored.personal == {"slack_webhook_url": "https://example.test/own"}
    with world.database.transaction() as connection:
        row = connection.execute("SELECT personal FROM preferences").fetchone()
    assert row is not None
    assert b"example.test" not in bytes(row["personal"])


def test_acknowledging_tells_pagerduty_and_slack_and_nobody_by_mail(world: World) -> None:
    world.signal(a_signal())
    world.pump()
    [incident_id] = {event.incident_id for _, _, event in world.far[Channel.SLACK].arrived}
    incident = world.incidents.acknowledge(incident_id, actor="Ada", note="Mine.", now=world.now, version=1)
    world.pump()
    assert world.far[Channel.PAGERDUTY].arrived[-1][2].kind is EventKind.ACKNOWLEDGED
    assert world.far[Channel.SLACK].arrived[-1][2].actor == "Ada"
    assert len(world.far[Channel.EMAIL].arrived) == 1
    with pytest.raises(PreconditionFailed):
        world.incidents.resolve(incident_id, actor="Bob", note="", now=world.now, version=1)
    assert incident.version == 2


def test_assigning_tells_the_assignee_in_the_app(world: World) -> None:
    world.add_user("usr_bob")
    world.signal(a_signal(severity=Severity.INFO))
    world.pump()
    [incident] = world.store.find(IncidentFilter(), limit=5)
    world.now += 1000
    world.incidents.assign(incident.id, actor="Ada", assignee="usr_bob", assignee_name="Bob", now=world.now)
    world.pump()
    assert world.inbox.find("usr_bob", unread=True, limit=5)[0].text == "Assigned to Bob."
    assert world.inbox.unread("usr_ada") == 1


def test_without_a_mail_server_no_mail_is_planned(world: World) -> None:
    world.mail_configured = False
    world.signal(a_signal())
    world.pump()
    assert not [key for key in world.states() if key[0] == "email"]


def test_a_passing_fault_is_tried_again_with_patience_and_the_end_waits_for_it(world: World) -> None:
    slack = world.far[Channel.SLACK]

    def down() -> None:
        raise Unavailable("slack", "HTTP 429", retry_after_s=120)

    slack.before = down
    signal = a_signal()
    world.signal(signal)
    world.pump()
    [waiting] = world.deliveries.find(DeliveryFilter(channel=Channel.SLACK), limit=5)
    assert waiting.next_attempt_at >= world.now + 120_000
    assert waiting.last_error == "slack: HTTP 429"
    world.signal(ended(signal, world.now + 1))
    world.pump()
    slack.before = lambda: None
    world.sweep(60)
    world.pump()
    assert slack.arrived == []
    world.sweep(200)
    world.pump()
    assert [event.kind for _, _, event in slack.arrived] == [EventKind.OPENED, EventKind.RESOLVED]
    outcomes = [attempt.outcome for attempt in world.deliveries.attempts(waiting.id)]
    assert outcomes == ["retry", "delivered"]


def test_a_dead_webhook_is_given_up_shown_and_gets_no_all_clear(world: World) -> None:
    def gone() -> None:
        raise Rejected("slack", "HTTP 404 no_service")

    world.far[Channel.SLACK].before = gone
    signal = a_signal()
    world.signal(signal)
    world.pump()
    row = world.channels.get("chan_slack")
    assert row is not None
    assert (row.healthy, row.health_error) == (False, "slack: HTTP 404 no_service")
    titles = [kept.title for kept in world.inbox.find("usr_ada", unread=True, limit=5)]
    assert "The channel chan_slack does not deliver" in titles
    assert "The channel chan_slack does not deliver" in [push.data["title"] for push in world.pushes.sent]
    world.signal(ended(signal, world.now + 1))
    world.pump()
    assert world.states()["slack", OPENED, "failed"] == 1
    assert world.states()["slack", RESOLVED, "suppressed"] == 1

    world.far[Channel.SLACK].before = lambda: None
    [failed] = [d for d in world.deliveries.find(DeliveryFilter(), limit=50) if d.state == "failed"]
    world.deliveries.redrive(failed.id, world.now)
    world.sweep(1)
    world.pump()
    assert [event.kind for _, _, event in world.far[Channel.SLACK].arrived] == [
        EventKind.OPENED,
        EventKind.RESOLVED,
    ]
    row = world.channels.get("chan_slack")
    assert row is not None
    assert row.healthy
    with pytest.raises(Conflict):
        world.deliveries.redrive(failed.id, world.now)


def test_one_bad_mailbox_does_not_make_the_mail_server_sick(world: World) -> None:
    world.add_channel(Channel.EMAIL, "chan_mail", config={"recipients": []})

    def unknown() -> None:
        error = Rejected("email", "550 no such user")
        error.code = RECIPIENT_REJECTED
        raise error

    world.far[Channel.EMAIL].before = unknown
    world.signal(a_signal())
    world.pump()
    assert world.states()["email", OPENED, "failed"] == 1
    assert world.inbox.unread("usr_ada") == 1


def test_a_channel_that_fails_for_a_day_leaves_dead_deliveries_to_redrive(world: World) -> None:
    def down() -> None:
        raise Unavailable("pagerduty", "HTTP 503")

    world.far[Channel.PAGERDUTY].before = down
    world.signal(a_signal())
    for _ in range(30):
        world.pump()
        world.sweep(3600)
    assert world.states()["pagerduty", OPENED, "dead"] == 1


def test_a_message_that_kills_every_worker_is_given_up_after_a_day_like_any_other(world: World) -> None:
    def kill() -> None:
        raise Killed

    world.far[Channel.SLACK].before = kill
    world.signal(a_signal())
    event = next(decode_event(text) for channel, text in world.queues.waiting if channel is Channel.SLACK)
    for minutes in (2, 2, 24 * 60):
        with pytest.raises(Killed):
            world.notify.handle(event, Channel.SLACK)
        world.now += minutes * 60_000
    assert world.notify.handle(event, Channel.SLACK) is None
    assert world.states()["slack", OPENED, "dead"] == 1
    row = world.channels.get("chan_slack")
    assert row is not None
    assert row.healthy is False


def test_a_message_that_cannot_be_made_does_not_hold_up_the_others(world: World) -> None:
    world.add_channel(Channel.SLACK, "chan_other")
    far = world.far[Channel.SLACK]
    calls = iter([ValueError("broken template")])

    def once() -> None:
        for error in calls:
            raise error

    far.before = once
    world.signal(a_signal())
    world.pump()
    assert len(far.arrived) == 1
    world.sweep(60)
    world.pump()
    assert sorted(recipient for recipient, _, _ in far.arrived) == ["chan_other", "chan_slack"]


def test_the_mail_of_a_worker_that_died_waits_with_the_others_while_the_mail_server_is_down(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add_user("usr_bob")
    mail = world.far[Channel.EMAIL]
    monkeypatch.setattr(mail, "destination", lambda recipient: "chan_mail")
    greylisted = Unavailable("email", "450 greylisted")
    greylisted.code = RECIPIENT_REJECTED
    faults = iter([greylisted, Killed()])

    def once_each() -> None:
        raise next(faults)

    mail.before = once_each
    world.signal(a_signal())
    event = next(decode_event(text) for channel, text in world.queues.waiting if channel is Channel.EMAIL)
    with pytest.raises(Killed):
        world.notify.handle(event, Channel.EMAIL)

    faults = iter([Unavailable("email", "no answer")])
    world.now += 100_000
    reads: list[str] = []
    of_incident = world.deliveries.of_incident

    def counted(incident_id: str, channel: Channel) -> list[Delivery]:
        reads.append(incident_id)
        assert len(reads) < 20, "it asks for what is due over and over, and sends nothing"
        return of_incident(incident_id, channel)

    monkeypatch.setattr(world.deliveries, "of_incident", counted)
    again = world.notify.handle(event, Channel.EMAIL)
    assert again is not None
    assert again > world.now

    mail.before = lambda: None
    world.now = again
    world.notify.handle(event, Channel.EMAIL)
    assert [recipient for recipient, _, _ in mail.arrived] == ["usr_ada@example.test", "usr_bob@example.test"]


def test_what_waits_for_an_earlier_message_keeps_no_other_from_being_rung_for(world: World) -> None:
    def down() -> None:
        raise Unavailable("email", "no answer", retry_after_s=3000)

    world.far[Channel.EMAIL].before = down
    for number in range(3):
        signal = a_signal(host_id=f"host_{number}", fingerprint=f"f{number}")
        world.signal(signal)
        world.signal(ended(signal, world.now + 1))
    world.pump()
    world.now += 120_000
    world.signal(a_signal(host_id="host_9", fingerprint="f9"))
    [lost] = [text for channel, text in world.queues.waiting if channel is Channel.SLACK]
    world.queues.waiting.clear()
    world.deliveries.plan(decode_event(lost).incident_id, Channel.SLACK, lambda *_: ["chan_slack"], world.now)
    world.now += 100_000
    [bell] = world.deliveries.due(world.now, 1)
    assert bell.channel is Channel.SLACK, "the ends of the others wait for their openings, which are not due"


def test_news_of_trouble_is_not_sent_again_to_someone_who_was_told_that_it_is_over(world: World) -> None:
    pager = world.far[Channel.PAGERDUTY]

    def gone() -> None:
        raise Rejected("pagerduty", "HTTP 400 bad key")

    pager.before = gone
    mild, bad = a_signal(severity=Severity.WARNING), a_signal(fingerprint="f2", severity=Severity.CRITICAL)
    world.signal(mild)
    world.pump()
    [failed] = [d for d in world.deliveries.find(DeliveryFilter(), limit=50) if d.state == "failed"]
    pager.before = lambda: None
    world.signal(bad)
    for signal in (mild, bad):
        world.signal(ended(signal, world.now + 1))
    world.pump()
    assert [event.kind for _, _, event in pager.arrived] == [EventKind.ESCALATED, EventKind.RESOLVED]
    with pytest.raises(Conflict, match="over"):
        world.deliveries.redrive(failed.id, world.now)
    world.sweep()
    world.pump()
    assert len(pager.arrived) == 2, "an alert opened now would stay open"


def test_hostile_names_pass_through_the_database(world: World) -> None:
    name = "evil\x00\\u0000\u202e<script>'; DROP TABLE users; --"
    processes = (replace(a_signal().top_processes[0], name=name),)
    world.signal(a_signal(host_name=name, reason=name, title=name, top_processes=processes))
    world.pump()
    [(_, _, event)] = world.far[Channel.SLACK].arrived
    assert event.evidence is not None
    assert event.evidence.top_processes[0].name == name, (
        "an event in a queue is JSON and keeps every character"
    )
    stored = world.store.get(event.incident_id)
    assert stored is not None
    assert stored.evidence[0].top_processes[0].name == name.replace("\x00", "\ufffd")
