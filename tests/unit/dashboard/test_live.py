from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from dashboard.answers import SignedOut, Unreachable
from dashboard.live import FeedState, FeedStatus, LiveFeed, Message
from dashboard.wire import Ticket

LONG = 30.0


class FakeSocket:
    """A WebSocket to the feed: what the test puts in arrives; what the feed sends is kept."""

    def __init__(self) -> None:
        self.incoming: queue.Queue[str | Exception] = queue.Queue()
        self.sent: queue.Queue[dict[str, Any]] = queue.Queue()
        self.closed = threading.Event()

    def send(self, message: str) -> None:
        self.sent.put(json.loads(message))

    def recv(self, timeout: float | None = None) -> str:
        try:
            item = self.incoming.get(timeout=min(timeout or LONG, 0.05))
        except queue.Empty:
            raise TimeoutError from None
        if isinstance(item, Exception):
            raise item
        return item

    def close(self) -> None:
        self.closed.set()

    def push(self, seq: int, topic: str = "host:h1", **extra: Any) -> None:
        self.incoming.put(json.dumps(raw(seq, topic, **extra)))


def raw(seq: int, topic: str = "host:h1", **extra: Any) -> dict[str, Any]:
    return {
        "v": 1,
        "seq": seq,
        "topic": topic,
        "type": "samples",
        "id": f"m{seq}",
        "at": seq,
        "data": {},
        **extra,
    }


class Bench:
    """A feed with its far side in the test's hands."""

    def __init__(self) -> None:
        self.sockets: queue.Queue[FakeSocket] = queue.Queue()
        self.down = threading.Event()
        self.missed: list[dict[str, Any]] = []
        self.asked: list[dict[str, int]] = []
        self.events_fail: Exception | None = None
        self.ticket_fails: Exception | None = None
        self.tickets = 0
        self.heard: queue.Queue[Message | FeedStatus] = queue.Queue()
        self.feed = self.make()

    def make(self, **settings: Any) -> LiveFeed:
        options: dict[str, Any] = {"idle_s": 60.0, "poll_s": 0.02, "backoff_s": (0.01, 0.05), **settings}
        return LiveFeed(ticket=self.ticket, events=self.events, connect=self.connect, **options)

    def ticket(self) -> Ticket:
        self.tickets += 1
        if self.ticket_fails:
            raise self.ticket_fails
        return {"ticket": f"t{self.tickets}", "expires_in": 60, "url": "ws://far/live"}

    def events(self, after: Mapping[str, int], topics: Sequence[str]) -> list[dict[str, Any]]:
        self.asked.append(dict(after))
        if self.events_fail:
            raise self.events_fail
        return [m for m in self.missed if m["topic"] in topics and m["seq"] > after.get(m["topic"], 0)]

    def connect(self, url: str) -> FakeSocket:
        assert url.startswith("ws://far/live?ticket=t")
        if self.down.is_set():
            raise ConnectionError("refused")
        socket = FakeSocket()
        self.sockets.put(socket)
        return socket

    def socket(self) -> FakeSocket:
        return self.sockets.get(timeout=LONG)

    def message(self) -> Message:
        while True:
            item = self.heard.get(timeout=LONG)
            if isinstance(item, Message):
                return item

    def state(self, wanted: FeedState) -> FeedStatus:
        until = time.monotonic() + LONG
        while time.monotonic() < until:
            status = self.feed.status()
            if status.state is wanted:
                return status
            time.sleep(0.005)
        raise AssertionError(f"the feed is {self.feed.status()}, not {wanted}")


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.feed.stop(wait_s=LONG)


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.005)


def test_a_listener_hears_the_messages_of_its_topics_and_no_others(bench: Bench) -> None:
    bench.feed.subscribe(["host:h1"], bench.heard.put)
    socket = bench.socket()
    assert socket.sent.get(timeout=LONG) == {"action": "subscribe", "topics": ["host:h1"]}
    socket.push(1, "host:h2")
    socket.push(1, "host:h1", data={"x": 1})
    message = bench.message()
    assert (message.topic, message.seq, message.data) == ("host:h1", 1, {"x": 1})
    bench.state(FeedState.CONNECTED)


def test_a_topic_wanted_later_is_subscribed_on_the_open_socket(bench: Bench) -> None:
    bench.feed.subscribe(["fleet"], bench.heard.put)
    socket = bench.socket()
    assert socket.sent.get(timeout=LONG)["topics"] == ["fleet"]
    bench.feed.recent("incidents")
    assert socket.sent.get(timeout=LONG)["topics"] == ["incidents"]


def test_a_repeated_message_is_heard_once(bench: Bench) -> None:
    bench.feed.subscribe(["host:h1"], bench.heard.put)
    socket = bench.socket()
    for seq in (1, 1, 2):
        socket.push(seq)
    assert [bench.message().seq for _ in range(2)] == [1, 2]
    assert [m.seq for m in bench.feed.recent("host:h1")] == [1, 2]


def test_two_parts_of_one_batch_with_the_same_id_are_both_heard(bench: Bench) -> None:
    bench.feed.subscribe(["host:h1"], bench.heard.put)
    socket = bench.socket()
    socket.push(1, id="batch-1")
    socket.push(2, id="batch-1")
    assert [bench.message().seq for _ in range(2)] == [1, 2]


def test_a_gap_is_filled_over_http_before_the_newer_message_is_heard(bench: Bench) -> None:
    bench.feed.subscribe(["host:h1"], bench.heard.put)
    socket = bench.socket()
    socket.push(1)
    assert bench.message().seq == 1
    bench.missed = [raw(2), raw(3), raw(4)]
    socket.push(4)
    assert [bench.message().seq for _ in range(3)] == [2, 3, 4]
    assert bench.asked == [{"host:h1": 1}]


def test_after_a_break_it_takes_a_new_ticket_and_subscribes_after_the_last_message(bench: Bench) -> None:
    bench.feed.subscribe(["host:h1"], bench.heard.put)
    first = bench.socket()
    first.push(7)
    bench.message()
    first.incoming.put(ConnectionError("cut"))
    second = bench.socket()
    assert second.sent.get(timeout=LONG) == {"action": "subscribe", "topics": ["host:h1"], "after": 7}
    assert first.closed.is_set()
    assert bench.tickets == 2
    bench.state(FeedState.CONNECTED)


def test_while_the_socket_cannot_be_opened_it_polls_and_says_so(bench: Bench) -> None:
    bench.down.set()
    bench.missed = [raw(1)]
    bench.feed.subscribe(["host:h1"], bench.heard.put)
    assert bench.message().seq == 1
    assert bench.state(FeedState.POLLING).reason == "refused"
    bench.missed.append(raw(2))
    assert bench.message().seq == 2
    bench.down.clear()
    bench.socket()
    bench.state(FeedState.CONNECTED)


def test_when_even_polling_fails_it_is_offline_and_comes_back(bench: Bench) -> None:
    bench.down.set()
    bench.events_fail = Unreachable("no answer")
    bench.feed.subscribe(["host:h1"], bench.heard.put)
    assert bench.state(FeedState.OFFLINE).reason == "no answer"
    bench.events_fail = None
    bench.state(FeedState.POLLING)


def test_a_session_that_has_ended_stops_the_feed_for_good(bench: Bench) -> None:
    bench.ticket_fails = SignedOut("over")
    bench.feed.subscribe(["host:h1"], bench.heard.put)
    assert bench.state(FeedState.OFFLINE).reason == "over"
    bench.ticket_fails = None
    bench.feed.recent("host:h1")
    assert bench.tickets == 1


def test_a_back_end_that_lost_its_counters_is_followed_from_its_new_start(bench: Bench) -> None:
    bench.feed.subscribe(["host:h1"], bench.heard.put)
    socket = bench.socket()
    socket.push(500)
    bench.message()
    socket.push(1, id="new-1", at=501)
    socket.push(2, id="new-2", at=502)
    assert [bench.message().id for _ in range(2)] == ["new-1", "new-2"]
    assert bench.asked == []


def test_what_came_before_the_subscription_is_not_a_gap(bench: Bench) -> None:
    bench.feed.subscribe(["host:h1"], bench.heard.put)
    socket = bench.socket()
    socket.push(0, type="subscribed", data={"topic": "host:h1", "newest": 41, "gap": False})
    bench.missed = [raw(42)]
    socket.push(43)
    assert [bench.message().seq for _ in range(2)] == [42, 43]
    assert bench.asked == [{"host:h1": 41}]


def test_a_refused_topic_is_said_and_the_feed_goes_on(bench: Bench) -> None:
    bench.feed.subscribe(["host:h1"], bench.heard.put)
    socket = bench.socket()
    socket.push(
        0, "", type="problem", data={"code": "topic_forbidden", "detail": "you may not follow host:h1"}
    )
    socket.push(1)
    assert bench.message().seq == 1


def test_what_is_not_a_message_is_left_out(bench: Bench) -> None:
    bench.feed.subscribe(["host:h1"], bench.heard.put)
    socket = bench.socket()
    for frame in ("{", "[]", '{"topic": 3}', '{"topic": "host:h1", "type": "pong", "seq": 1}'):
        socket.incoming.put(frame)
    socket.push(1)
    assert bench.message().seq == 1
    assert len(bench.feed.recent("host:h1")) == 1


def test_a_persons_own_topic_is_kept_as_notifications(bench: Bench) -> None:
    bench.feed.subscribe(["notifications"], bench.heard.put)
    bench.socket().push(1, "user:user_1")
    assert bench.message().topic == "notifications"


def test_nobody_interested_closes_the_socket_and_the_next_reader_opens_another(bench: Bench) -> None:
    bench.feed = feed = bench.make(idle_s=0.0)
    subscription = feed.subscribe(["fleet"], bench.heard.put)
    socket = bench.socket()
    bench.state(FeedState.CONNECTED)
    subscription.close()
    assert socket.closed.wait(LONG)
    bench.state(FeedState.IDLE)
    feed.subscribe(["fleet"], bench.heard.put)
    bench.socket()
    bench.state(FeedState.CONNECTED)


def test_stop_ends_the_thread_and_closes_the_socket() -> None:
    bench = Bench()
    bench.feed.subscribe(["fleet"], bench.heard.put)
    socket = bench.socket()
    thread = bench.feed._thread
    assert thread is not None
    bench.feed.stop(wait_s=LONG)
    assert socket.closed.is_set()
    assert not thread.is_alive()


def test_listeners_hear_when_the_connection_changes(bench: Bench) -> None:
    bench.feed.subscribe(["fleet"], bench.heard.put)
    socket = bench.socket()
    bench.state(FeedState.CONNECTED)
    socket.incoming.put(ConnectionError("cut"))
    bench.socket()
    bench.state(FeedState.CONNECTED)
    states: list[FeedState] = []
    wait_for(lambda: bench.heard.qsize() >= 3)
    while not bench.heard.empty():
        item = bench.heard.get()
        if isinstance(item, FeedStatus):
            states.append(item.state)
    assert states[-2:] == [FeedState.RECONNECTING, FeedState.CONNECTED]


def test_the_age_counts_from_the_newest_message(bench: Bench) -> None:
    clock = [100.0]
    bench.feed = feed = bench.make(clock=lambda: clock[0])
    feed.subscribe(["host:h1"], bench.heard.put)
    assert feed.status().age_s is None
    bench.socket().push(1)
    bench.message()
    clock[0] = 112.0
    assert feed.status().age_s == pytest.approx(12.0)
