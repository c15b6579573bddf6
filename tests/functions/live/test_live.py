"""The WebSocket API: who gets in, who sees what, and what a client that was away gets to hear."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farwatch.adapters.redis.client import connect as connect_redis
from farwatch.adapters.redis.connections import RECENT_SAMPLES, RedisConnections, RedisPushed
from farwatch.adapters.redis.sessions import RedisTickets
from farwatch.domain.pushes import Push
from farwatch.domain.rbac import Role
from farwatch.errors import Forbidden, Unauthenticated, Unavailable
from farwatch.ports.connections import Gone, Viewer
from farwatch.services.live import MESSAGE_BYTES, Live, envelope, parts, replay

NOW = 1_790_000_000_000


class Wire:
    """The far ends of connections: what each received; those in ``gone`` or ``broken`` fail."""

    def __init__(self) -> None:
        self.received: dict[str, list[dict[str, Any]]] = {}
        self.gone: set[str] = set()
        self.broken: set[str] = set()
        self.hung_up: list[str] = []

    def post(self, connection_id: str, text: str) -> None:
        if connection_id in self.gone:
            raise Gone(connection_id)
        if connection_id in self.broken:
            raise Unavailable("websocket", "HTTP 500")
        assert len(text.encode()) <= MESSAGE_BYTES
        self.received.setdefault(connection_id, []).append(json.loads(text))

    def hang_up(self, connection_id: str) -> None:
        self.hung_up.append(connection_id)


class House:
    """A live service on a real Valkey."""

    def __init__(self, url: str) -> None:
        self.redis = connect_redis(url)
        self.wire = Wire()
        self.tickets = RedisTickets(self.redis)
        self.connections = RedisConnections(self.redis)
        self.pushed = RedisPushed(self.redis)
        self.live = Live(self.tickets, self.connections, self.pushed, self.wire)

    def enter(self, connection_id: str, role: Role = Role.VIEWER, user_id: str = "user_1") -> None:
        session = f"session-{user_id}"
        self.redis.hset(f"session:{session}", "user_id", user_id)
        ticket, _ = self.tickets.issue(user_id, role, session, NOW)
        self.live.connect(connection_id, ticket)

    def say(self, connection_id: str, **message: Any) -> dict[str, Any]:
        """Send a message and return the first answer to it."""
        before = len(self.heard(connection_id))
        self.live.message(connection_id, json.dumps(message), NOW)
        return self.heard(connection_id)[before]

    def heard(self, connection_id: str) -> list[dict[str, Any]]:
        return self.wire.received.get(connection_id, [])

    def pushes(self, connection_id: str) -> list[dict[str, Any]]:
        return [m for m in self.heard(connection_id) if m["type"] not in {"subscribed", "pong", "problem"}]


@pytest.fixture
def house(redis_url: str) -> Iterator[House]:
    made = House(redis_url)
    yield made
    made.redis.close()


def push(topic: str = "incidents", number: int = 1, kind: str = "incident.opened") -> Push:
    return Push(topic, kind, f"evt_{number}", NOW, {"number": number})


def test_a_ticket_lets_one_client_in_once(house: House) -> None:
    ticket, _ = house.tickets.issue("user_1", Role.VIEWER, "s", NOW)
    assert house.live.connect("c1", ticket) == Viewer("user_1", Role.VIEWER, "s")
    for bad in (ticket, "", "x" * 5000, "\ud800"):
        with pytest.raises(Unauthenticated):
            house.live.connect("c2", bad)


def test_a_subscriber_gets_numbered_pushes_and_others_get_none(house: House) -> None:
    for connection in ("c1", "c2"):
        house.enter(connection)
    answer = house.say("c1", action="subscribe", topics=["incidents"])
    assert (answer["type"], answer["data"]["gap"]) == ("subscribed", False)
    house.live.push(push(number=1))
    house.live.push(push(number=2))
    first, second = house.pushes("c1")
    assert (first["v"], first["topic"], first["type"], first["id"], first["at"]) == (
        1,
        "incidents",
        "incident.opened",
        "evt_1",
        NOW,
    )
    assert second["seq"] == first["seq"] + 1
    assert house.pushes("c2") == []


def test_ping_is_answered(house: House) -> None:
    house.enter("c1")
    assert house.say("c1", action="ping")["type"] == "pong"


@pytest.mark.parametrize(
    ("role", "topic", "allowed"),
    [
        (Role.GUEST, "fleet", True),
        (Role.GUEST, "incidents", False),
        (Role.GUEST, "host:host_1", False),
        (Role.GUEST, "notifications", False),
        (Role.VIEWER, "incidents", True),
        (Role.VIEWER, "host:host_1", True),
        (Role.VIEWER, "notifications", True),
        (Role.VIEWER, "user:user_1", True),
        (Role.ADMIN, "user:user_2", False),
        (Role.ADMIN, "secrets", False),
        (Role.ADMIN, "host:", False),
    ],
)
def test_a_role_decides_which_topics_may_be_followed(
    house: House, role: Role, topic: str, allowed: bool
) -> None:
    house.enter("c1", role)
    answer = house.say("c1", action="subscribe", topics=[topic])
    assert answer["type"] == ("subscribed" if allowed else "problem")
    if allowed:
        replay(house.pushed, Viewer("user_1", role, ""), topic, 0)
    else:
        assert answer["data"]["code"] == "topic_forbidden"
        with pytest.raises(Forbidden):
            replay(house.pushed, Viewer("user_1", role, ""), topic, 0)


def test_a_role_is_checked_again_when_pushing(house: House) -> None:
    house.enter("c1", Role.GUEST)
    house.connections.subscribe("c1", ["incidents"])  # as if the role had been lowered since
    house.live.push(push())
    assert house.pushes("c1") == []
    assert house.wire.hung_up == ["c1"]


def test_notifications_go_to_their_owner_alone(house: House) -> None:
    house.enter("c1", user_id="user_1")
    house.enter("c2", user_id="user_2")
    for connection in ("c1", "c2"):
        house.say(connection, action="subscribe", topics=["notifications"])
    house.live.push(push("user:user_1", kind="notification"))
    assert [m["topic"] for m in house.pushes("c1")] == ["notifications"]
    assert house.pushes("c2") == []


def test_signing_out_closes_the_connection_at_the_next_push_or_message(house: House) -> None:
    for connection in ("c1", "c2"):
        house.enter(connection)
        house.say(connection, action="subscribe", topics=["incidents"])
    house.redis.delete("session:session-user_1")
    house.live.push(push())
    assert house.pushes("c1") == []
    assert sorted(house.wire.hung_up) == ["c1", "c2"]
    house.live.message("c1", '{"action":"ping"}', NOW)
    assert house.wire.hung_up[-1] == "c1"


def test_a_client_that_comes_back_hears_what_it_missed_once_and_in_order(house: House) -> None:
    house.enter("c1")
    house.say("c1", action="subscribe", topics=["incidents"])
    for number in range(1, 6):
        house.live.push(push(number=number))
    seen = house.pushes("c1")[1]["seq"]
    house.live.disconnect("c1")
    house.live.push(push(number=6))
    house.enter("c2")
    answer = house.say("c2", action="subscribe", topics=["incidents"], after=seen)
    assert answer["data"]["gap"] is False
    assert [m["data"]["number"] for m in house.pushes("c2")] == [3, 4, 5, 6]
    viewer = Viewer("user_1", Role.VIEWER, "")
    assert [m["data"]["number"] for m in replay(house.pushed, viewer, "incidents", seen)] == [3, 4, 5, 6]
    house.enter("c3")
    house.say("c3", action="subscribe", topics=["incidents"])
    assert house.pushes("c3") == [], "who asks for nothing old gets nothing old"


def test_a_client_that_was_away_too_long_is_told_of_the_gap(house: House) -> None:
    house.live.push(push("fleet", 0, "samples"))
    house.enter("c1")
    first = house.say("c1", action="subscribe", topics=["fleet"])["seq"]
    for number in range(RECENT_SAMPLES + 5):
        house.live.push(push("fleet", number, "samples"))
    answer = house.say("c1", action="subscribe", topics=["fleet"], after={"fleet": first})
    assert answer["data"]["gap"] is True


def test_numbers_go_on_rising_when_redis_has_lost_its_memory(house: House) -> None:
    house.enter("c1")
    house.say("c1", action="subscribe", topics=["incidents"])
    house.live.push(push(number=1))
    house.redis.flushall()
    house.enter("c1")
    house.say("c1", action="subscribe", topics=["incidents"])
    house.live.push(push(number=2))
    before, after = house.pushes("c1")
    assert after["seq"] > before["seq"]


def test_a_client_that_has_gone_is_forgotten_and_holds_up_nobody(house: House) -> None:
    for number in range(60):
        house.enter(f"c{number}")
        house.say(f"c{number}", action="subscribe", topics=["incidents"])
    house.wire.gone = {f"c{number}" for number in range(0, 60, 2)}
    house.wire.broken = {"c1"}
    house.live.push(push())
    assert sum(len(house.pushes(f"c{number}")) for number in range(60)) == 29
    assert set(house.connections.subscribers("incidents")) == {f"c{number}" for number in range(1, 60, 2)}


def test_a_client_that_goes_while_it_catches_up_is_forgotten(house: House) -> None:
    house.enter("c1")
    seen = house.say("c1", action="subscribe", topics=["incidents"])["seq"]
    for number in range(1, 4):
        house.live.push(push(number=number))
    post = house.wire.post

    def until_the_first_push(connection_id: str, text: str) -> None:
        post(connection_id, text)
        if '"type":"incident.opened"' in text:
            house.wire.gone.add(connection_id)

    house.enter("c2")
    house.wire.post = until_the_first_push  # type: ignore[method-assign]
    after = {"incidents": seen or 1, "fleet": 0}
    house.live.message(
        "c2", json.dumps({"action": "subscribe", "topics": ["incidents", "fleet"], "after": after}), NOW
    )
    assert len(house.pushes("c2")) == 1
    assert set(house.connections.subscribers("incidents")) == {"c1"}
    assert set(house.connections.subscribers("fleet")) == set()


def test_a_push_that_reaches_nobody_for_a_fault_of_ours_is_tried_again(house: House) -> None:
    house.enter("c1")
    house.say("c1", action="subscribe", topics=["incidents"])
    house.wire.broken = {"c1"}
    with pytest.raises(Unavailable):
        house.live.push(push())


BAD_SUBSCRIPTIONS: list[dict[str, Any]] = [
    {},
    {"topics": []},
    {"topics": "incidents"},
    {"topics": [1]},
    {"topics": ["x" * 101]},
    {"topics": ["host:\ud800"]},
    {"topics": ["host:\x00"]},
    {"topics": ["fleet"] * 201},
    {"topics": ["fleet"], "after": -1},
    {"topics": ["fleet"], "after": True},
    {"topics": ["fleet"], "after": {"fleet": "1"}},
    {"topics": ["fleet"], "after": 1e300},
]
BAD_TEXTS = ["", "null", "[]", "{", '{"action":"shout"}', '{"action":["subscribe"]}', "[" * 100_000]


@pytest.mark.parametrize(
    "body", BAD_TEXTS + [json.dumps({"action": "subscribe", **bad}) for bad in BAD_SUBSCRIPTIONS]
)
def test_a_bad_message_is_answered_with_a_problem_and_the_connection_stays(house: House, body: str) -> None:
    house.enter("c1")
    house.live.message("c1", body, NOW)
    assert house.heard("c1")[-1]["type"] == "problem"
    assert house.say("c1", action="ping")["type"] == "pong"


@settings(max_examples=60, deadline=None)
@given(
    series=st.integers(1, 80),
    times=st.integers(1, 30),
    name=st.text(min_size=1, max_size=60),
)
def test_samples_are_divided_into_messages_of_8_kb_without_losing_any(
    series: int, times: int, name: str
) -> None:
    data = {
        "host_id": "host_1",
        "host_name": name,
        "times": list(range(NOW, NOW + times)),
        "series": [
            {"metric": f"m{s}", "labels": {"x": name}, "values": [s * 1000 + t for t in range(times)]}
            for s in range(series)
        ],
    }
    found: set[int] = set()
    ids = []
    for part in parts(Push("host:host_1", "samples", "b1", NOW, data)):
        assert len(
            json.dumps({**envelope(part), "seq": 2**52}, separators=(",", ":"), ensure_ascii=False).encode()
        ) <= (MESSAGE_BYTES)
        ids.append(part.id)
        for one in part.data["series"]:
            assert len(one["values"]) == len(part.data["times"])
            found.update(one["values"])
    assert found == {s * 1000 + t for s in range(series) for t in range(times)}
    assert len(set(ids)) == len(ids)


def test_anything_else_that_is_too_long_is_left_out_rather_than_cut() -> None:
    assert list(parts(Push("incidents", "incident.opened", "e", NOW, {"title": "x" * 9000}))) == []
