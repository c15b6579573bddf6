from __future__ import annotations

import threading

import httpx
import pytest

from dashboard.answers import SignedOut
from dashboard.session import CODE_S, IDLE_S, Session, SessionStore, sign_in, sign_out
from dashboard.settings import Misconfigured, Settings, load
from tests.unit.dashboard.conftest import SETTINGS
from tests.unit.dashboard.fake_api import FakeApi
from tests.unit.dashboard.fake_shapes import PASSWORD


@pytest.fixture
def session(http: httpx.Client, store: SessionStore) -> Session:
    return sign_in(http, SETTINGS, "operator@example.org", PASSWORD)


def test_signing_in_keeps_the_person_and_what_they_may_do(session: Session) -> None:
    assert session.user["role"] == "operator"
    assert "incidents:write" in session.permissions
    assert "users:manage" not in session.permissions
    assert len(session.client.hosts()) == 8


def test_several_threads_with_an_expired_token_use_the_refresh_token_once(
    api: FakeApi, session: Session
) -> None:
    api.tokens.clear()
    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.append(len(session.client.hosts()))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [8] * 8
    assert api.requests.count(("POST", "/api/v1/auth/refresh")) == 1


def test_a_token_about_to_expire_is_renewed_before_it_is_used(http: httpx.Client, api: FakeApi) -> None:
    clock = [0.0]
    tokens = api.handle(
        "POST", "/api/v1/auth/login", [], {"email": "admin@example.org", "password": PASSWORD}, ""
    )[1]
    session = Session(tokens["user"], tokens, http, SETTINGS, lambda: clock[0])
    session.client.hosts()
    assert ("POST", "/api/v1/auth/refresh") not in api.requests
    clock[0] = tokens["expires_in"] - 10
    session.client.hosts()
    assert ("POST", "/api/v1/auth/refresh") in api.requests


def test_a_refused_refresh_ends_the_session(api: FakeApi, session: Session, store: SessionStore) -> None:
    api.tokens.clear()
    api.refreshes.clear()
    with pytest.raises(SignedOut):
        session.client.hosts()
    assert session.ended
    assert store.by_cookie(session.id) is None
    assert store.by_stream_key(session.stream_key) is None


def test_a_back_end_that_is_down_does_not_end_the_session(api: FakeApi, session: Session) -> None:
    api.tokens.clear()
    api.failing["POST /auth/refresh"] = (503, {"title": "Unavailable"})
    with pytest.raises(Exception, match="Unavailable"):
        session.client.hosts()
    assert not session.ended
    del api.failing["POST /auth/refresh"]
    assert len(session.client.hosts()) == 8


def test_a_one_time_code_works_once_and_for_a_minute(session: Session) -> None:
    clock = [0.0]
    store = SessionStore(lambda: clock[0])
    session.clock = lambda: clock[0]
    session.last_used = 0.0
    store.add(session)
    code = store.one_time_code(session)
    assert store.redeem(code) is session
    assert store.redeem(code) is None
    late = store.one_time_code(session)
    clock[0] = CODE_S + 1
    assert store.redeem(late) is None


def test_a_session_nobody_uses_is_forgotten(session: Session) -> None:
    clock = [0.0]
    store = SessionStore(lambda: clock[0])
    session.last_used = 0.0
    store.add(session)
    clock[0] = IDLE_S + 1
    assert store.by_cookie(session.id) is None
    assert session.ended


def test_the_least_recently_used_session_goes_when_there_are_too_many(
    http: httpx.Client, monkeypatch: pytest.MonkeyPatch, session: Session
) -> None:
    monkeypatch.setattr("dashboard.session.MOST_SESSIONS", 2)
    store = SessionStore(lambda: 100.0)
    made = [Session(session.user, session.tokens, http, SETTINGS, lambda: 0.0) for _ in range(3)]
    for age, one in enumerate(made[:2]):
        one.last_used = 50.0 + age
        store.add(one)
    made[2].last_used = 60.0
    store.add(made[2])
    assert store.by_cookie(made[0].id) is None
    assert store.by_cookie(made[1].id) is made[1]


def test_signing_out_ends_the_session_even_when_the_back_end_cannot_be_told(
    api: FakeApi, session: Session, store: SessionStore
) -> None:
    api.failing["POST /auth/logout"] = (500, {"title": "Broken"})
    with pytest.raises(Exception, match="Broken"):
        sign_out(session)
    assert store.by_cookie(session.id) is None
    with pytest.raises(SignedOut):
        session.client.hosts()


def test_settings_come_from_the_environment() -> None:
    read = load(
        {
            "FARWATCH_API_URL": "https://api.example.org/api/v1/",
            "FARWATCH_WS_URL": "wss://ws.example.org/live",
        }
    )
    assert read == Settings("https://api.example.org", "wss://ws.example.org/live")


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"FARWATCH_API_URL": "api.example.org"},
        {"FARWATCH_API_URL": "http://a", "FARWATCH_WS_URL": "http://b"},
    ],
)
def test_a_missing_or_wrong_setting_is_named(environ: dict[str, str]) -> None:
    with pytest.raises(Misconfigured, match="FARWATCH_"):
        load(environ)
