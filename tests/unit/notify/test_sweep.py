"""The sweep: silence is noticed, lost endings are made up for, and one broken step stops nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from farwatch.adapters.postgres.anomalies import PostgresAnomalies
from farwatch.adapters.postgres.sweep import PostgresSweepLog
from farwatch.domain.anomalies import Anomaly
from farwatch.domain.events import IncidentEvent
from farwatch.domain.hosts import Host, waiting_ms
from farwatch.domain.incidents import IncidentStatus
from farwatch.domain.routing import Channel
from farwatch.domain.samples import SeriesKey
from farwatch.domain.severity import Severity
from farwatch.domain.signals import Signal, SignalKind, SignalState
from farwatch.errors import Rejected, Unavailable
from farwatch.ports.anomalies import AnomalyFilter, Verdict
from farwatch.ports.incidents import IncidentFilter
from farwatch.services.health import findings
from farwatch.services.incidents import Incidents
from farwatch.services.sweep import Sweep, Watch, announce_due, forget, ring_again
from tests.unit.notify.makers import NOW, Dead, a_signal
from tests.unit.notify.world import Signals, World

MINUTE = 60_000
HOST = Host(id="host_1", name="web-3", last_seen_at=NOW, interval_s=5, labels={"env": "prod"})


class Hosts:
    """The register, as far as the sweep asks."""

    def __init__(self, *hosts: Host) -> None:
        self.known = {host.id: host for host in hosts}

    def all(self) -> list[Host]:
        return list(self.known.values())

    def set(self, host_id: str, **changes: object) -> None:
        self.known[host_id] = replace(self.known[host_id], **changes)  # type: ignore[arg-type]  # test data


class Door:
    """Where agents knock, as far as the sweep asks: when each host was last heard there."""

    def __init__(self) -> None:
        self.times: dict[str, int] = {}
        self.down = False

    def heard(self) -> dict[str, int]:
        if self.down:
            raise Unavailable("redis", "down for the test")
        return dict(self.times)


class Tower:
    """A watch over the given hosts, run minute by minute on the world's clock."""

    def __init__(self, world: World, *hosts: Host) -> None:
        self.world = world
        self.hosts = Hosts(*hosts)
        self.signals = Signals()
        self.log = PostgresSweepLog(world.database)
        self.door = Door()
        self.watch = Watch(self.hosts, self.door, world.store, world.incidents, self.signals, self.log)  # type: ignore[arg-type]  # only all() is asked for

    def minutes(
        self, count: int, *, heard: bool = False, knocking: Sequence[str] = (), deaf: bool = False
    ) -> None:
        """Let minutes pass; ``heard``: what the hosts report is stored at once; ``knocking``: the batches of these hosts
        wait in the queue; ``deaf``: the sweep itself does not run.
        """
        for _ in range(count):
            self.world.now += MINUTE
            for host_id in self.hosts.known if heard else knocking:
                self.door.times[host_id] = self.world.now - 1000
            if heard:
                for host_id in self.hosts.known:
                    self.hosts.set(host_id, last_seen_at=self.world.now - 1000)
            if not deaf:
                self.watch.look(self.world.now)
                for signal in self.signals.sent:
                    self.world.signal(signal)
                self.signals.sent.clear()

    def open_titles(self) -> list[str]:
        found = self.world.store.find(IncidentFilter(status=(IncidentStatus.OPEN,)), limit=50)
        return [incident.title for incident in found]


def test_a_host_that_stops_reporting_is_one_incident_until_it_reports_again(world: World) -> None:
    tower = Tower(world, HOST)
    tower.minutes(2, heard=True)
    assert tower.open_titles() == []
    tower.minutes(5)
    assert tower.open_titles() == ["web-3 is silent"]
    tower.minutes(1, heard=True)
    assert tower.open_titles() == []
    [incident] = world.store.find(IncidentFilter(), limit=5)
    assert incident.severity is Severity.CRITICAL
    assert "Nothing has been heard from web-3 for 1 min" in incident.reason


@pytest.mark.parametrize(
    "host",
    [
        replace(HOST, may_be_off=True),
        replace(HOST, last_seen_at=None),
        replace(HOST, interval_s=3600),
    ],
)
def test_hosts_that_need_not_report_yet_are_not_silent(world: World, host: Host) -> None:
    tower = Tower(world, host)
    tower.minutes(10)
    assert tower.open_titles() == []


def test_a_silent_host_that_may_be_off_from_now_on_is_let_be(world: World) -> None:
    tower = Tower(world, HOST)
    tower.minutes(4)
    assert tower.open_titles() == ["web-3 is silent"]
    tower.hosts.set("host_1", may_be_off=True)
    tower.minutes(1)
    assert tower.open_titles() == []


def test_a_retired_host_takes_its_signals_with_it(world: World) -> None:
    tower = Tower(world, HOST)
    world.signal(a_signal())
    tower.minutes(4)
    tower.hosts.known.clear()
    tower.minutes(1)
    [incident] = world.store.find(IncidentFilter(), limit=5)
    assert incident.resolution == "the host has been retired"


def test_when_the_back_end_was_down_no_host_is_blamed_for_its_silence(world: World) -> None:
    tower = Tower(world, HOST)
    tower.minutes(2, heard=True)
    tower.minutes(60, deaf=True)
    tower.minutes(1)
    assert tower.open_titles() == [], "nobody could have been heard"
    tower.minutes(2)
    assert tower.open_titles() == ["web-3 is silent"], "but now it could"


def test_a_clock_that_ran_ahead_for_a_while_does_not_blind_the_watch_once_it_is_set_right(
    world: World,
) -> None:
    tower = Tower(world, HOST)
    tower.minutes(2, heard=True)
    world.now += 24 * 60 * MINUTE
    tower.minutes(1, deaf=True)
    tower.watch.look(world.now)
    world.now -= 24 * 60 * MINUTE
    tower.minutes(2, heard=True)
    tower.minutes(5)
    assert tower.open_titles() == ["web-3 is silent"]


def test_a_host_whose_batches_wait_in_the_queue_is_not_called_silent(world: World) -> None:
    tower = Tower(world, HOST)
    tower.minutes(2, heard=True)
    tower.minutes(20, knocking=["host_1"])
    assert tower.open_titles() == []
    tower.minutes(2, heard=True)
    assert world.store.find(IncidentFilter(), limit=5) == []


def test_a_host_that_dies_is_called_silent_in_time_whether_or_not_batches_wait(world: World) -> None:
    tower = Tower(world, HOST, replace(HOST, id="host_2", name="web-4"))
    tower.minutes(2, heard=True)
    tower.minutes(5, knocking=["host_1", "host_2"])
    tower.minutes(2, knocking=["host_1"])
    assert tower.open_titles() == ["web-4 is silent"]
    [incident] = world.store.find(IncidentFilter(), limit=5)
    assert "Nothing has been heard from web-4 for 1 min" in incident.reason
    # What the dead host had sent is stored late, with the time at which it came: that is no sign of life.
    tower.hosts.set("host_2", last_seen_at=tower.door.times["host_2"])
    tower.minutes(1, knocking=["host_1"])
    assert tower.open_titles() == ["web-4 is silent"]


def test_a_host_of_which_nothing_is_stored_while_others_are_is_told_of(world: World) -> None:
    tower = Tower(world, HOST, replace(HOST, id="host_2", name="web-4"))
    tower.minutes(2, heard=True)
    for _ in range(14):
        tower.minutes(1, knocking=["host_1", "host_2"])
        tower.hosts.set("host_2", last_seen_at=world.now - 1000)
    assert tower.open_titles() == []
    for _ in range(4):
        tower.minutes(1, knocking=["host_1", "host_2"])
        tower.hosts.set("host_2", last_seen_at=world.now - 1000)
    assert tower.open_titles() == ["Nothing of web-3 is stored"]
    [incident] = world.store.find(IncidentFilter(), limit=5)
    assert "web-3 reports, but nothing it has sent for 1" in incident.reason
    tower.minutes(1, heard=True)
    assert tower.open_titles() == []


def test_while_the_cache_is_down_silence_is_judged_by_what_is_stored(world: World) -> None:
    tower = Tower(world, HOST)
    tower.minutes(2, heard=True)
    tower.door.down = True
    tower.minutes(1, heard=True)
    assert tower.open_titles() == []
    tower.minutes(2)
    assert tower.open_titles() == ["web-3 is silent"]


def test_a_signal_whose_end_was_lost_ends_while_its_host_reports(world: World) -> None:
    tower = Tower(world, HOST)
    tower.minutes(1, heard=True)
    world.signal(a_signal(at=world.now))
    tower.minutes(5, heard=True)
    assert len(tower.open_titles()) == 1
    tower.minutes(1, heard=True)
    assert tower.open_titles() == []
    [incident] = world.store.find(IncidentFilter(), limit=5)
    assert incident.resolution == "no news of it for 6 min while the host reports"


def test_signals_that_are_refreshed_stay(world: World) -> None:
    tower = Tower(world, HOST)
    for _ in range(10):
        tower.minutes(1, heard=True)
        world.signal(a_signal(at=world.now))
    assert len(tower.open_titles()) == 1


def test_a_slow_host_and_a_forecast_are_given_more_time(world: World) -> None:
    tower = Tower(world, replace(HOST, interval_s=300), replace(HOST, id="host_2", name="web-4"))
    tower.minutes(1, heard=True)
    world.signal(a_signal(at=world.now))
    world.signal(
        a_signal(
            host_id="host_2",
            host_name="web-4",
            kind=SignalKind.FORECAST,
            title="Disk full in 8 h",
            top_processes=(),
            at=world.now,
        )
    )
    tower.minutes(14, heard=True)
    assert len(tower.open_titles()) == 2
    tower.minutes(3, heard=True)
    assert tower.open_titles() == ["Disk full in 8 h on web-4 for 3 min"]


def test_while_a_host_is_silent_its_other_signals_wait(world: World) -> None:
    tower = Tower(world, HOST)
    tower.minutes(1, heard=True)
    world.signal(a_signal(at=world.now))
    tower.minutes(30)
    [incident] = world.store.find(IncidentFilter(), limit=5)
    assert incident.active
    assert {signal.state.value for signal in world.store.signals(incident.id)} == {"firing"}
    tower.minutes(4, heard=True)
    assert len(tower.open_titles()) == 1, "it has only just begun to report again"
    tower.minutes(3, heard=True)
    assert tower.open_titles() == []


def test_after_the_group_wait_the_sweep_tells_people(world: World) -> None:
    from farwatch.domain.incidents import Policy

    patient = Incidents(world.store, world.publisher, Policy(group_wait_s=30))
    patient.receive(a_signal(), world.now)
    assert world.queues.waiting == []
    assert announce_due(world.store, patient, world.now + 29_000) == 0
    assert announce_due(world.store, patient, world.now + 30_000) == 1
    assert announce_due(world.store, patient, world.now + 31_000) == 0
    world.pump()
    assert len(world.far[Channel.SLACK].arrived) == 1


def test_deliveries_whose_message_is_gone_are_rung_for_again(world: World) -> None:
    def down() -> None:
        raise Unavailable("slack", "HTTP 503")

    world.far[Channel.SLACK].before = down
    world.signal(a_signal())
    world.pump()
    world.far[Channel.SLACK].before = lambda: None
    assert ring_again(world.deliveries, world.queues, world.now) == 0, "not due yet"
    world.now += MINUTE
    assert ring_again(world.deliveries, world.queues, world.now) == 1
    assert [channel for channel, _ in world.queues.waiting] == [Channel.SLACK]
    world.queues.down = True
    with pytest.raises(Unavailable, match="1 of 1"):
        ring_again(world.deliveries, world.queues, world.now)
    world.pump()
    assert len(world.far[Channel.SLACK].arrived) == 1


def test_while_the_topic_refuses_everything_the_sweep_says_so_and_goes_on_in_time(world: World) -> None:
    world.queues.down = True
    for number in range(30):
        world.signal(a_signal(host_id=f"host_{number}"))
    for number in range(30, 60):
        world.queues.down = False
        world.signal(a_signal(host_id=f"host_{number}"))
        world.queues.down = True
    while world.queues.waiting:
        channel, event = world.queues.take()
        world.deliveries.plan(event.incident_id, channel, lambda *_: ["chan_slack"], world.now)
    world.now += MINUTE
    asked: list[str] = []
    publish = world.queues.publish

    def slow_to_refuse(events: Sequence[IncidentEvent], only: Channel | None = None) -> list[str]:
        asked.append("each takes seconds")
        return publish(events, only)

    world.queues.publish = slow_to_refuse  # type: ignore[method-assign]
    with pytest.raises(Unavailable, match="30 events"):
        world.publisher.publish_again(world.now)
    with pytest.raises(Unavailable, match="doorbells"):
        ring_again(world.deliveries, world.queues, world.now)
    assert len(asked) <= 10, (
        "the sweep's minute is over before it has asked for each, and its other steps wait"
    )
    world.queues.down = False
    assert world.publisher.publish_again(world.now) == 30


def test_one_broken_step_stops_no_other_and_is_recorded(world: World) -> None:
    log = PostgresSweepLog(world.database)
    ran: list[str] = []

    def broken(now: int) -> None:
        raise ZeroDivisionError("by zero")

    def down(now: int) -> None:
        raise Unavailable("influx", "timed out")

    sweep = Sweep({"a": broken, "b": down, "c": lambda now: ran.append("c")}, log)
    assert sweep.run(world.now) == {"a": "ZeroDivisionError: by zero", "b": "influx: timed out", "c": "ok"}
    sweep.run(world.now + MINUTE)
    assert ran == ["c", "c"]
    steps = {step["step"]: step for step in log.steps()}
    assert (steps["a"]["failures"], steps["a"]["last_ok_at"]) == (2, None)
    assert (steps["c"]["failures"], steps["c"]["last_ok_at"]) == (0, world.now + MINUTE)
    Sweep({"a": lambda now: None}, log).run(world.now + 2 * MINUTE)
    assert {step["step"]: step["failures"] for step in log.steps()}["a"] == 0


def test_what_is_long_over_is_forgotten_with_everything_that_hangs_on_it(world: World) -> None:
    signal = a_signal()
    world.signal(signal)
    world.pump()
    world.signal(_ended(signal, world.now + 1))
    world.pump()
    open_still = a_signal(host_id="host_2", host_name="web-4")
    world.signal(open_still)
    world.pump()
    forget(world.store, world.inbox, PostgresAnomalies(world.database), world.now + 500 * 86_400_000)
    assert [incident.host_id for incident in world.store.find(IncidentFilter(), limit=5)] == ["host_2"]
    with world.database.transaction() as connection:
        row = connection.execute(
            """SELECT (SELECT count(DISTINCT incident_id) FROM deliveries) AS deliveries,
                      (SELECT count(DISTINCT incident_id) FROM incident_events) AS events,
                      (SELECT count(*) FROM notifications) AS notifications,
                      (SELECT count(*) FROM signals) AS signals"""
        ).fetchone()
    assert row == {"deliveries": 1, "events": 1, "notifications": 0, "signals": 1}


def test_old_anomalies_are_forgotten_but_those_that_somebody_judged(world: World) -> None:
    with world.database.transaction() as connection:
        connection.execute("INSERT INTO hosts (id, name) VALUES ('host_1', 'web-3')")
    log = PostgresAnomalies(world.database)
    log.append([an_anomaly(world.now), an_anomaly(world.now + 1), an_anomaly(world.now + 200 * 86_400_000)])
    newest, judged, _ = log.find(AnomalyFilter(), 5, None)
    log.judge(judged.id, Verdict.FALSE_ALARM, "user_1")
    forget(world.store, world.inbox, log, world.now + 500 * 86_400_000)
    assert [kept.id for kept in log.find(AnomalyFilter(), 5, None)] == [newest.id, judged.id]


def an_anomaly(at: int) -> Anomaly:
    key = SeriesKey("cpu.percent")
    return Anomaly("host_1", key, "default", at, 99.0, 0.9, 10.0, 20.0, "spike", "It is high.", since=at)


def _ended(signal: Signal, at: int) -> Signal:
    return replace(signal, state=SignalState.RESOLVED, at=at)


def test_the_health_page_tells_what_is_off_what_fails_and_what_is_late(world: World) -> None:
    row = world.channels.get("chan_slack")
    assert row is not None
    step = {"step": "watch", "last_run_at": NOW, "failures": 0, "last_error": ""}

    def told(**changes: Any) -> list[tuple[str, str, str]]:
        known: dict[str, Any] = {
            "steps": [step],
            "waiting_ms": [0, 0, 0],
            "channels": [row],
            "email_ready": True,
            "undelivered": {},
            "dead_letters": Dead({}),
            "now": NOW,
            **changes,
        }
        return [(part.name, part.status, part.detail) for part in findings(**known)]

    assert told() == [
        ("sweep", "ok", ""),
        ("batches", "ok", ""),
        ("slack chan_slack", "ok", "nothing sent yet"),
        ("deliveries", "ok", ""),
        ("dead letters", "ok", ""),
    ]
    assert told(steps=[])[0] == ("sweep", "down", "it has never run")
    assert told(now=NOW + 600_000)[0] == ("sweep", "down", "it last ran 10 min ago")
    assert told(steps=[{**step, "failures": 2, "last_error": "timed out"}])[0] == (
        "sweep",
        "down",
        "watch: timed out",
    )
    name, state, behind = told(waiting_ms=[0, 90_000, 240_000])[1]
    assert (name, state) == ("batches", "down")
    assert "2 hosts wait" in behind
    assert "up to 4 min behind" in behind
    assert told(email_ready=False)[2] == ("e-mail", "off", "no mail server is configured")
    assert told(channels=[replace(row, enabled=False)])[2][1] == "off"
    failing = replace(row, healthy=False, health_error="HTTP 404")
    assert told(channels=[failing])[2] == ("slack chan_slack", "down", "HTTP 404")
    assert told(undelivered={"dead": 2, "waiting": 1})[-2] == ("deliveries", "down", "2 dead, 1 waiting")


@pytest.mark.parametrize(
    ("held", "finding"),
    [
        ({"signals-dead.fifo": 0}, ("ok", "")),
        ({"signals-dead.fifo": 3, "pushes-dead": 1}, ("down", "3 in signals-dead.fifo, 1 in pushes-dead")),
        ({"samples-dead.fifo": 2, "live-dead": 1}, ("ok", "2 in samples-dead.fifo, 1 in live-dead")),
        (None, ("down", "sqs: away for the test")),
    ],
)
def test_dead_letters_are_counted_and_those_that_nobody_makes_good_are_a_fault(
    held: dict[str, int] | None, finding: tuple[str, str]
) -> None:
    parts = findings(
        steps=[],
        waiting_ms=[],
        channels=[],
        email_ready=True,
        undelivered={},
        dead_letters=Dead(held),
        now=NOW,
    )
    (dead,) = [part for part in parts if part.name == "dead letters"]
    assert (dead.status, dead.detail) == finding


@pytest.mark.parametrize(
    ("stored_s_ago", "knocked_s_ago", "interval_s", "waiting_s"),
    [
        (1, 1, 5, 0),
        (5, 0, 5, 0),
        (300, None, 5, 0),
        (300, 2, 5, 300),
        (300, 2, 300, 0),
        (3600, 1800, 300, 3600),
        (None, 2, 5, 900),
    ],
)
def test_batches_wait_when_a_host_knocks_and_nothing_of_it_is_stored(
    stored_s_ago: int | None, knocked_s_ago: int | None, interval_s: float, waiting_s: int
) -> None:
    stored = None if stored_s_ago is None else NOW - stored_s_ago * 1000
    host = replace(HOST, last_seen_at=stored, enrolled_at=NOW - 900_000, interval_s=interval_s)
    door = {} if knocked_s_ago is None else {"host_1": NOW - knocked_s_ago * 1000}
    assert waiting_ms(host, door, NOW) == waiting_s * 1000


def test_what_was_not_delivered_is_counted(world: World) -> None:
    def gone() -> None:
        raise Rejected("slack", "HTTP 404")

    world.far[Channel.SLACK].before = gone
    world.signal(a_signal())
    world.pump()
    assert world.deliveries.undelivered(world.now - 1) == {"failed": 1}
    assert world.deliveries.undelivered(world.now + 1) == {}
