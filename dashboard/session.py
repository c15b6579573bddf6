"""Who is signed in, in which browser.

Tokens stay in this process. The browser holds one HttpOnly, SameSite=Strict cookie with a random session id, so a
reload or a second tab finds its session again, no script can read a token, and none appears in a URL. All tabs of a
browser share one :class:`Session`, so a refresh token, which the API lets be used once, is never used by two tabs.
Sessions live in memory: after a restart of the dashboard people sign in again.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from dashboard.answers import SignedOut
from dashboard.client import Client, Credentials
from dashboard.live import LiveFeed
from dashboard.settings import Settings
from dashboard.wire import Tokens, User

COOKIE = "farwatch_session"
IDLE_S = 12 * 3600.0
CODE_S = 60.0
RENEW_BEFORE_S = 30.0
IDENTITY_S = 300.0
MOST_SESSIONS = 2000


@dataclass
class Session:
    """One signed-in browser: its person, its tokens, its client and its live feed.

    ``id`` is the cookie's value; ``stream_key`` opens the live stream of this session and is handed to the page
    over Streamlit's own connection. ``memory`` holds answers of the API for a short while (time, answer).
    """

    user: User
    tokens: Tokens
    http: httpx.Client
    settings: Settings
    clock: Callable[[], float] = time.monotonic
    id: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    stream_key: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    ended: bool = False
    last_used: float = 0.0
    permissions: frozenset[str] = frozenset()
    memory: dict[str, tuple[float, Any]] = field(default_factory=dict, repr=False)
    _renewal: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _expires: float = 0.0

    def __post_init__(self) -> None:
        self._expires = self.clock() + self.tokens["expires_in"]
        self.last_used = self.clock()
        self.client = Client(self.http, Credentials(self._bearer, self._renew))
        self.feed = LiveFeed(
            ticket=self.client.ws_ticket,
            events=self.client.events,
            ws_url=self.settings.ws_url,
            clock=self.clock,
        )

    def _bearer(self) -> str:
        if self.ended:
            raise SignedOut("You are signed out.")
        self.last_used = self.clock()
        token = self.tokens["access_token"]
        if self.clock() > self._expires - RENEW_BEFORE_S:
            return self._renew(token)
        return token

    def _renew(self, stale: str) -> str:
        """Return a newer access token than ``stale``; one thread asks, the others wait and share its answer."""
        with self._renewal:
            if self.ended:
                raise SignedOut("You are signed out.")
            if self.tokens["access_token"] != stale:
                return self.tokens["access_token"]
            try:
                fresh = Client(self.http).refresh(self.tokens["refresh_token"])
            except Exception as error:
                if getattr(error, "status", None) in {400, 401, 403, 422}:
                    self.ended = True
                    self.feed.stop()
                    raise SignedOut("Your session has ended. Sign in again.") from error
                raise
            self.tokens = {**self.tokens, **fresh}
            self._expires = self.clock() + fresh["expires_in"]
            return fresh["access_token"]

    def end(self) -> None:
        """Forget the tokens and stop the feed; nothing can be asked with this session any more."""
        self.ended = True
        self.feed.stop()


@dataclass
class SessionStore:
    """All sessions of this process, by cookie, by stream key and by one-time code."""

    clock: Callable[[], float] = time.monotonic
    _by_id: dict[str, Session] = field(default_factory=dict)
    _by_key: dict[str, Session] = field(default_factory=dict)
    _codes: dict[str, tuple[str, float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, session: Session) -> None:
        """Keep a new session; the least recently used one goes when there are too many."""
        with self._lock:
            self._expire()
            while len(self._by_id) >= MOST_SESSIONS:
                self._drop(min(self._by_id.values(), key=lambda kept: kept.last_used))
            self._by_id[session.id] = session
            self._by_key[session.stream_key] = session

    def by_cookie(self, session_id: str | None) -> Session | None:
        """Return the live session of a cookie, or None."""
        with self._lock:
            self._expire()
            return self._by_id.get(session_id or "")

    def by_stream_key(self, key: str) -> Session | None:
        """Return the live session a stream key opens, or None."""
        with self._lock:
            self._expire()
            return self._by_key.get(key)

    def one_time_code(self, session: Session) -> str:
        """Return a code, good once and for a minute, that a page swaps for the session's cookie."""
        code = secrets.token_urlsafe(24)
        with self._lock:
            self._codes[code] = (session.id, self.clock() + CODE_S)
        return code

    def redeem(self, code: str) -> Session | None:
        """Return the session of a one-time code and use the code up; None if it is unknown, used or late."""
        with self._lock:
            self._expire()
            session_id, _ = self._codes.pop(code, ("", 0.0))
            return self._by_id.get(session_id)

    def remove(self, session: Session) -> None:
        """End a session and forget it."""
        with self._lock:
            self._drop(session)

    def close(self) -> None:
        """End every session (the server is stopping)."""
        with self._lock:
            for session in list(self._by_id.values()):
                self._drop(session)

    def _drop(self, session: Session) -> None:
        self._by_id.pop(session.id, None)
        self._by_key.pop(session.stream_key, None)
        session.end()

    def _expire(self) -> None:
        now = self.clock()
        for session in [s for s in self._by_id.values() if s.ended or now - s.last_used > IDLE_S]:
            self._drop(session)
        for code in [code for code, (_, until) in self._codes.items() if now > until]:
            del self._codes[code]


STORE = SessionStore()
"""The process's sessions. The pages and the ASGI routes run in one process and meet here."""


def sign_in(http: httpx.Client, settings: Settings, email: str, password: str) -> Session:
    """Log in at the API and keep the session; raises what the client raises (401: wrong, 429: slow down)."""
    return start(http, settings, Client(http).log_in(email, password))


def start(http: httpx.Client, settings: Settings, tokens: Tokens) -> Session:
    """Make and keep a session from tokens the API has just given."""
    session = Session(tokens["user"], tokens, http, settings)
    session.permissions = session.client.permissions()
    STORE.add(session)
    return session


def sign_out(session: Session) -> None:
    """Log out at the API, best effort in order only: the session here ends even when the API is down."""
    try:
        session.client.log_out()
    finally:
        STORE.remove(session)
