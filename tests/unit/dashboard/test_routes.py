from __future__ import annotations

import gzip
from collections.abc import Iterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from dashboard.live import Message
from dashboard.routes import UNKNOWN_KEY, asset_names, asset_version, routes
from dashboard.session import COOKIE, Session, SessionStore, sign_in
from tests.unit.dashboard.conftest import SETTINGS
from tests.unit.dashboard.fake_shapes import PASSWORD


@pytest.fixture
def web(store: SessionStore) -> Iterator[TestClient]:
    with TestClient(Starlette(routes=routes()), base_url="https://dash.test") as client:
        yield client


@pytest.fixture
def session(http: httpx.Client, store: SessionStore) -> Session:
    return sign_in(http, SETTINGS, "viewer@example.org", PASSWORD)


def test_the_server_says_that_it_is_up(web: TestClient) -> None:
    assert web.get("/healthz").json() == {"status": "ok"}


@pytest.mark.parametrize("name", ["chart.js", "live.js", "farwatch.css", "inter.woff2", "plotly.min.js"])
def test_assets_are_served_packed_and_for_ever(web: TestClient, name: str) -> None:
    answer = web.get(f"/farwatch/assets/{asset_version()}/{name}")
    assert answer.status_code == 200
    assert answer.content == asset_names()[name].read_bytes()
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers.get("content-encoding") == (None if name.endswith("woff2") else "gzip")


def test_an_asset_is_served_plain_to_who_cannot_unpack_and_not_kept_under_an_old_version(
    web: TestClient,
) -> None:
    answer = web.get("/farwatch/assets/old/live.js", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in answer.headers
    assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("name", ["..%2Fapp.py", "app.py", "inter.LICENSE.txt", "%2e%2e%2fsession.py"])
def test_nothing_but_the_listed_assets_can_be_read(web: TestClient, name: str) -> None:
    assert web.get(f"/farwatch/assets/x/{name}").status_code == 404


def test_a_one_time_code_becomes_a_cookie_no_script_can_read(
    web: TestClient, session: Session, store: SessionStore
) -> None:
    answer = web.post("/farwatch/session", json={"code": store.one_time_code(session)})
    assert answer.status_code == 204
    cookie = answer.headers["set-cookie"].lower()
    for attribute in ("httponly", "samesite=strict", "secure", "path=/"):
        assert attribute in cookie
    assert store.by_cookie(answer.cookies[COOKIE]) is session
    assert session.tokens["access_token"] not in cookie


def test_over_plain_http_the_cookie_is_not_secure_only_or_it_would_be_lost(
    session: Session, store: SessionStore
) -> None:
    web = TestClient(Starlette(routes=routes()), base_url="http://dash.test")
    answer = web.post("/farwatch/session", json={"code": store.one_time_code(session)})
    assert "secure" not in answer.headers["set-cookie"].lower()


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b'{"code": "guess"}', {"content-type": "application/json"}, 403),
        (b'{"code": 3}', {"content-type": "application/json"}, 403),
        (b"[]", {"content-type": "application/json"}, 403),
        (b"{", {"content-type": "application/json"}, 403),
        (b'{"code": "guess"}', {"content-type": "text/plain"}, 415),
        (b'{"code": "guess"}', {"content-type": "application/json", "sec-fetch-site": "cross-site"}, 403),
    ],
)
def test_nobody_gets_a_cookie_without_a_good_code_from_the_dashboards_own_page(
    web: TestClient, content: bytes, headers: dict[str, str], status: int
) -> None:
    answer = web.post("/farwatch/session", content=content, headers=headers)
    assert answer.status_code == status
    assert "set-cookie" not in answer.headers


def test_signing_out_clears_the_cookie(web: TestClient) -> None:
    assert 'farwatch_session=""' in web.delete("/farwatch/session").headers["set-cookie"]


@pytest.mark.parametrize("hello", [{"key": "wrong"}, {"key": 3}, [], {"topics": ["fleet"]}])
def test_a_page_without_a_good_key_gets_no_stream(web: TestClient, hello: object) -> None:
    with web.websocket_connect("/farwatch/live") as socket:
        socket.send_json(hello)
        with pytest.raises(WebSocketDisconnect) as caught:
            socket.receive_json()
    assert caught.value.code == UNKNOWN_KEY


def _message(seq: int, topic: str = "fleet") -> Message:
    return Message(topic, "samples", seq, f"m{seq}", 1000 + seq, {"host_id": "host_1"})


def test_a_page_gets_the_status_then_what_it_missed_then_what_comes(
    web: TestClient, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session.feed, "_run", lambda: None)
    session.feed.recent("fleet")
    for seq in (1, 2):
        session.feed._take(_message(seq))
    with web.websocket_connect("/farwatch/live") as socket:
        socket.send_json({"key": session.stream_key, "topics": ["fleet"], "after": {"fleet": 1}})
        assert "state" in socket.receive_json()["status"]
        assert socket.receive_json()["seq"] == 2
        session.feed._take(_message(3))
        assert socket.receive_json() == _message(3).wire()


def test_a_page_can_change_what_it_follows(
    web: TestClient, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session.feed, "_run", lambda: None)
    session.feed.recent("incidents")
    session.feed._take(_message(1, "incidents"))
    with web.websocket_connect("/farwatch/live") as socket:
        socket.send_json({"key": session.stream_key, "topics": ["fleet"]})
        socket.receive_json()
        socket.send_json({"key": session.stream_key, "topics": ["incidents"], "after": {"incidents": 0}})
        assert socket.receive_json()["topic"] == "incidents"
        session.feed._take(_message(9, "fleet"))
        session.feed._take(_message(2, "incidents"))
        assert socket.receive_json()["seq"] == 2


def test_a_page_that_goes_away_is_no_longer_listened_for(
    web: TestClient, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session.feed, "_run", lambda: None)
    with web.websocket_connect("/farwatch/live") as socket:
        socket.send_json({"key": session.stream_key, "topics": ["fleet"]})
        socket.receive_json()
        assert len(session.feed._subscriptions) == 1
    assert session.feed._subscriptions == []


def test_assets_packed_once_unpack_to_the_same() -> None:
    from dashboard.routes import asset

    packed = asset("chart.js").packed
    assert packed is not None
    assert gzip.decompress(packed) == asset("chart.js").plain
