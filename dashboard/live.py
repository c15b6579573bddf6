"""The live feed: one WebSocket to the back end per signed-in browser, kept by a thread.

The thread keeps a ring buffer per topic and calls listeners as messages come. It never touches Streamlit: pages read
from it, and the stream route (:mod:`dashboard.routes`) listens to it. What makes it hold:

* every push has a sequence number per topic; a gap is filled over HTTP (``GET /events``), a repeat is dropped;
* on a lost connection it takes a new ticket and subscribes again *after* the last sequence number it has seen,
  with full-jitter back-off; while it cannot connect, it polls ``GET /events`` every few seconds and says so;
* API Gateway closes sockets after ten idle minutes and two hours always, so it pings and moves on its own before;
* nobody listening or reading for a minute closes the socket; the next reader opens it again.
"""

from __future__ import annotations

import contextlib
import json
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol
from urllib.parse import quote

from dashboard.answers import ApiError, SignedOut
from dashboard.wire import Ticket

log = logging.getLogger(__name__)

BUFFER = 500
PING_EVERY_S = 240.0
MOVE_AFTER_S = 105 * 60.0
IDLE_S = 60.0
POLL_EVERY_S = 5.0
POLL_AFTER_FAILURES = 2
BACKOFF_S = (0.25, 15.0)
RECEIVE_S = 1.0
CONTROL = frozenset({"pong", "subscribed", "problem"})


class FeedState(StrEnum):
    """``polling`` is ``offline`` with a safety net: the socket is down and HTTP still answers."""

    IDLE = "idle"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    POLLING = "polling"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
class Message:
    """One push. ``at`` is the back end's epoch milliseconds."""

    topic: str
    type: str
    seq: int
    id: str
    at: int
    data: Mapping[str, Any]

    @classmethod
    def of(cls, raw: Any) -> Message | None:
        """Return the message in a decoded JSON value, or None if it is not one."""
        if not isinstance(raw, Mapping) or not isinstance(raw.get("topic"), str):
            return None
        seq, at, data = raw.get("seq"), raw.get("at"), raw.get("data")
        return cls(
            canonical(raw["topic"]),
            str(raw.get("type", "")),
            seq if isinstance(seq, int) else 0,
            str(raw.get("id", "")),
            at if isinstance(at, int) else 0,
            data if isinstance(data, Mapping) else {},
        )

    def wire(self) -> dict[str, Any]:
        """Return the message as the browser gets it."""
        return {
            "topic": self.topic,
            "type": self.type,
            "seq": self.seq,
            "id": self.id,
            "at": self.at,
            "data": dict(self.data),
        }


def canonical(topic: str) -> str:
    """Return the name a topic is kept under: a person's own ``user:…`` topic is ``notifications`` to the pages."""
    return "notifications" if topic.startswith("user:") else topic


@dataclass(frozen=True, slots=True)
class FeedStatus:
    """What the indicator shows. ``age_s`` is how old the newest message is, None before the first one."""

    state: FeedState
    age_s: float | None
    reason: str = ""


class Socket(Protocol):
    """The part of ``websockets.sync.client.ClientConnection`` that the feed uses."""

    def send(self, message: str) -> None:
        """Send one text frame."""

    def recv(self, timeout: float | None = None) -> str | bytes:
        """Return the next frame, or raise TimeoutError."""

    def close(self) -> None:
        """Close the connection."""


def _connect(url: str) -> Socket:
    from websockets.sync.client import connect

    return connect(url, open_timeout=5, close_timeout=1, max_size=256 * 1024, ping_interval=None)


Listener = Callable[[Message | FeedStatus], None]


@dataclass
class Subscription:
    """A listener's interest in topics; ``close`` ends it."""

    feed: LiveFeed
    topics: frozenset[str]
    listener: Listener

    def close(self) -> None:
        """Stop calling the listener."""
        self.feed._unsubscribe(self)


@dataclass
class _Topic:
    messages: deque[Message] = field(default_factory=lambda: deque(maxlen=BUFFER))
    ids: deque[str] = field(default_factory=lambda: deque(maxlen=BUFFER))
    last_seq: int = 0
    joined: bool = False


class LiveFeed:
    """Pushes of the back end, for one session.

    ``ticket`` returns a one-time ticket; ``events(after, topics)`` returns missed pushes over HTTP; ``ws_url``
    overrides the address in the ticket; ``connect`` and ``clock`` are replaced in tests.
    """

    def __init__(
        self,
        *,
        ticket: Callable[[], Ticket],
        events: Callable[[Mapping[str, int], Sequence[str]], list[dict[str, Any]]],
        ws_url: str | None = None,
        connect: Callable[[str], Socket] = _connect,
        clock: Callable[[], float] = time.monotonic,
        idle_s: float = IDLE_S,
        poll_s: float = POLL_EVERY_S,
        backoff_s: tuple[float, float] = BACKOFF_S,
        rng: random.Random | None = None,
    ) -> None:
        self._ticket = ticket
        self._events = events
        self._ws_url = ws_url
        self._connect = connect
        self._clock = clock
        self._idle_s = idle_s
        self._poll_s = poll_s
        self._backoff_s = backoff_s
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not a secret
        self._lock = threading.RLock()
        self._topics: dict[str, _Topic] = {}
        self._subscriptions: list[Subscription] = []
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._socket: Socket | None = None
        self._state = FeedState.IDLE
        self._reason = ""
        self._newest: float | None = None
        self._last_read = clock()
        self._stopped = False

    # -- for readers -----------------------------------------------------------------------------------------

    def subscribe(self, topics: Iterable[str], listener: Listener) -> Subscription:
        """Call ``listener`` (from the feed's thread) with each message on ``topics`` and each change of status."""
        subscription = Subscription(self, frozenset(topics), listener)
        with self._lock:
            self._subscriptions.append(subscription)
        self._want(subscription.topics)
        return subscription

    def recent(self, topic: str, after: int = 0) -> list[Message]:
        """Return buffered messages of a topic with a sequence number above ``after``, oldest first."""
        self._want([topic])
        with self._lock:
            return [message for message in self._topics[topic].messages if message.seq > after]

    def last_seq(self, topic: str) -> int:
        """Return the newest sequence number seen on a topic, 0 if none."""
        with self._lock:
            kept = self._topics.get(topic)
            return kept.last_seq if kept else 0

    def status(self) -> FeedStatus:
        """Return the connection's state and the age of the newest message."""
        with self._lock:
            age = None if self._newest is None else max(0.0, self._clock() - self._newest)
            return FeedStatus(self._state, age, self._reason)

    def stop(self, wait_s: float = 0.0) -> None:
        """End the thread and its connection for good; wait up to ``wait_s`` for it. Any thread, any number of times."""
        with self._lock:
            self._stopped = True
            self._subscriptions.clear()
            thread = self._thread
        self._stopping.set()
        if wait_s and thread is not None and thread is not threading.current_thread():
            thread.join(wait_s)

    # -- inside ----------------------------------------------------------------------------------------------

    def _unsubscribe(self, subscription: Subscription) -> None:
        with self._lock:
            if subscription in self._subscriptions:
                self._subscriptions.remove(subscription)
            self._last_read = self._clock()

    def _want(self, topics: Iterable[str]) -> None:
        """Make sure the topics are followed and the thread is running."""
        with self._lock:
            self._last_read = self._clock()
            for topic in topics:
                self._topics.setdefault(topic, _Topic())
            if not self._stopped and (self._thread is None or not self._thread.is_alive()):
                self._stopping.clear()
                self._thread = threading.Thread(target=self._run, name="farwatch-live-feed", daemon=True)
                self._thread.start()
        self._join_topics()

    def _join_topics(self) -> None:
        """Subscribe on the open socket to topics that are wanted and not joined yet."""
        with self._lock:
            socket = self._socket
            waiting = [(name, topic) for name, topic in self._topics.items() if not topic.joined]
            if socket is None or not waiting:
                return
            for _, topic in waiting:
                topic.joined = True
        for name, topic in waiting:
            request: dict[str, Any] = {"action": "subscribe", "topics": [name]}
            if topic.last_seq:
                request["after"] = topic.last_seq
            try:
                socket.send(json.dumps(request))
            except Exception as error:  # noqa: BLE001 - whatever broke the socket, the thread reconnects and joins again
                log.debug("could not subscribe to %s: %s", name, error)
                return

    def _run(self) -> None:
        failures = 0
        while not self._ended():
            self._set_state(
                self._state_while_down(failures) if failures else FeedState.CONNECTING, self._reason
            )
            socket: Socket | None = None
            try:
                socket = self._open()
                failures = 0
                self._follow(socket)
            except SignedOut as error:
                self._stop_for(error)
            except Exception as error:  # noqa: BLE001 - however a connection was refused or lost: wait, connect again
                self._reason = str(error) or type(error).__name__
                failures += 1
            finally:
                if socket is not None:
                    self._leave(socket)
            if failures:
                self._wait_and_poll(failures)

    def _ended(self) -> bool:
        """Return True when the thread must end, having given up its place so that a later reader starts another."""
        with self._lock:
            if not (self._stopping.is_set() or self._is_idle()):
                return False
            self._thread = None
            if not self._stopped:
                self._set_state(FeedState.IDLE, "")
            return True

    def _stop_for(self, error: SignedOut) -> None:
        """End for good because the session is over."""
        with self._lock:
            self._stopped = True
        self._set_state(FeedState.OFFLINE, error.message)
        self._stopping.set()

    def _open(self) -> Socket:
        ticket = self._ticket()
        url = self._ws_url or ticket.get("url") or ""
        if not url:
            raise ApiError("The API gives no WebSocket address; set FARWATCH_WS_URL.")
        joint = "&" if "?" in url else "?"
        socket = self._connect(f"{url}{joint}ticket={quote(ticket['ticket'], safe='')}")
        with self._lock:
            for topic in self._topics.values():
                topic.joined = False
            self._socket = socket
        self._set_state(FeedState.CONNECTED, "")
        self._join_topics()
        return socket

    def _leave(self, socket: Socket) -> None:
        with self._lock:
            self._socket = None
        with contextlib.suppress(Exception):  # closing a broken socket may fail, and it is closed then
            socket.close()

    def _follow(self, socket: Socket) -> None:
        """Receive until the socket breaks (raises), it is time to move to a new one, or nobody is interested."""
        opened = pinged = self._clock()
        move_after = MOVE_AFTER_S + self._rng.uniform(0, 300)
        while not self._stopping.is_set():
            now = self._clock()
            if now - opened > move_after or self._is_idle():
                return
            if now - pinged > PING_EVERY_S:
                pinged = now
                socket.send(json.dumps({"action": "ping"}))
            try:
                frame = socket.recv(timeout=RECEIVE_S)
            except TimeoutError:
                continue
            try:
                raw = json.loads(frame)
            except ValueError:
                log.warning("a push was not JSON and was left out")
                continue
            message = Message.of(raw)
            if message is None:
                continue
            if message.type in CONTROL:
                self._note(message)
            else:
                self._take(message)

    def _note(self, answer: Message) -> None:
        """Take an answer to one of our own messages: where a topic stands now, or why it was refused."""
        newest = answer.data.get("newest")
        if answer.type == "problem":
            log.warning("the live feed was refused: %s", answer.data.get("detail"))
            self._reason = str(answer.data.get("detail", ""))
        elif answer.type == "subscribed" and isinstance(newest, int):
            with self._lock:
                topic = self._topics.get(answer.topic)
                if topic is not None and (topic.last_seq == 0 or newest < topic.last_seq):
                    topic.last_seq = newest

    def _take(self, message: Message, *, fill: bool = True) -> None:
        """Keep a message, unless it is a repeat, and tell the listeners; first fetch what was missed before it."""
        with self._lock:
            topic = self._topics.setdefault(message.topic, _Topic())
            key = f"{message.id}:{message.seq}:{message.at if not message.seq else 0}"
            if key in topic.ids:
                return
            missed = fill and 0 < topic.last_seq < message.seq - 1
            after = topic.last_seq
        if missed:
            self._catch_up({message.topic: after}, below=message.seq)
        with self._lock:
            # A lower number than the last with an unknown id: the back end lost its counters and started again.
            topic.ids.append(key)
            topic.messages.append(message)
            topic.last_seq = message.seq
            self._newest = self._clock()
            listeners = [s.listener for s in self._subscriptions if message.topic in s.topics]
        for listener in listeners:
            listener(message)

    def _catch_up(self, after: Mapping[str, int], below: int | None = None) -> None:
        """Fetch missed pushes over HTTP and take them in order."""
        for raw in self._events(after, list(after)):
            message = Message.of(raw)
            if message is not None and (below is None or message.seq < below):
                self._take(message, fill=False)

    def _wait_and_poll(self, failures: int) -> None:
        """Wait for the back-off; from the second failure on, poll over HTTP meanwhile."""
        low, high = self._backoff_s
        until = self._clock() + self._rng.uniform(low, min(high, low * 2 ** min(failures, 10)))
        self._set_state(self._state_while_down(failures), self._reason)
        while not self._is_idle():
            if failures >= POLL_AFTER_FAILURES:
                self._poll()
            left = until - self._clock()
            if left <= 0 or self._stopping.wait(min(left, self._poll_s)):
                return

    def _state_while_down(self, failures: int) -> FeedState:
        if failures < POLL_AFTER_FAILURES or self._state not in {FeedState.POLLING, FeedState.OFFLINE}:
            return FeedState.RECONNECTING
        return self._state

    def _poll(self) -> None:
        with self._lock:
            after = {name: topic.last_seq for name, topic in self._topics.items()}
        try:
            self._catch_up(after)
            self._set_state(FeedState.POLLING, self._reason)
        except SignedOut as error:
            self._stop_for(error)
        except ApiError as error:
            self._set_state(FeedState.OFFLINE, error.message)

    def _is_idle(self) -> bool:
        with self._lock:
            return not self._subscriptions and self._clock() - self._last_read > self._idle_s

    def _set_state(self, state: FeedState, reason: str) -> None:
        with self._lock:
            changed = state is not self._state
            self._state, self._reason = state, reason
            listeners = [s.listener for s in self._subscriptions] if changed else []
            status = self.status()
        for listener in listeners:
            listener(status)
