"""Signing in through an identity provider: settings, the exchange of the identity, refusals, the way back."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient
from streamlit.testing.v1 import AppTest

from dashboard import context, single_sign_on
from dashboard.settings import Misconfigured
from dashboard.single_sign_on import FailuresLeadBack, Provider
from tests.unit.dashboard.fake_api import FakeApi
from tests.unit.dashboard.test_pages import MAIN, button, stand

__all__ = ["stand"]  # a fixture

ENVIRONMENT = {
    "FARWATCH_OIDC_ISSUER": "https://id.example.org/",
    "FARWATCH_OIDC_CLIENT_ID": "farwatch",
    "FARWATCH_OIDC_CLIENT_SECRET": "hush",
    "FARWATCH_OIDC_DASHBOARD_URL": "https://farwatch.example.org",
}


def test_without_an_issuer_there_is_no_single_sign_on() -> None:
    assert single_sign_on.load({}) is None


def test_the_environment_of_a_container_is_enough_and_shows_no_secret() -> None:
    provider = single_sign_on.load(ENVIRONMENT)
    assert provider is not None
    auth = provider.streamlit_secrets()["auth"]
    assert auth["redirect_uri"] == "https://farwatch.example.org/oauth2callback"
    assert auth["server_metadata_url"] == "https://id.example.org/.well-known/openid-configuration"
    assert auth["expose_tokens"] == ["id"]
    assert provider.name == "id.example.org"
    assert len(provider.cookie_secret) >= 32
    assert "hush" not in repr(provider)


def test_a_file_is_read_instead_when_it_is_named(tmp_path: Path) -> None:
    path = tmp_path / "sso.json"
    known = {name.removeprefix("FARWATCH_OIDC_").lower(): value for name, value in ENVIRONMENT.items()}
    path.write_text(
        json.dumps({**known, "name": "Example ID", "cookie_secret": "kept", "scopes": "openid groups"})
    )
    provider = single_sign_on.load({"FARWATCH_OIDC_FILE": str(path)})
    assert provider is not None
    assert (provider.name, provider.cookie_secret, provider.scopes) == ("Example ID", "kept", "openid groups")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"FARWATCH_OIDC_CLIENT_SECRET": ""}, "FARWATCH_OIDC_CLIENT_SECRET is not set"),
        ({"FARWATCH_OIDC_ISSUER": "http://id.example.org"}, "ISSUER must start with https"),
        (
            {"FARWATCH_OIDC_DASHBOARD_URL": "http://farwatch.example.org"},
            "DASHBOARD_URL must start with https",
        ),
        ({"FARWATCH_OIDC_FILE": "/nowhere.json"}, "cannot be read"),
    ],
)
def test_a_setting_that_is_missing_or_could_be_overheard_is_named(
    changes: dict[str, str], words: str
) -> None:
    with pytest.raises(Misconfigured, match=words):
        single_sign_on.load({**ENVIRONMENT, **changes})


def test_plain_http_is_for_this_machine() -> None:
    local = {
        "FARWATCH_OIDC_ISSUER": "http://127.0.0.1:9000",
        "FARWATCH_OIDC_DASHBOARD_URL": "http://localhost:8501",
    }
    assert single_sign_on.load({**ENVIRONMENT, **local}) is not None


@pytest.fixture
def identity(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The claims Streamlit found in the identity cookie; AppTest has no browser and hence no cookie."""
    claims: dict[str, Any] = {}
    provider = Provider("Example ID", "https://id.example.org", "farwatch", "https://farwatch.example.org")
    monkeypatch.setattr(context, "provider", lambda: provider)
    monkeypatch.setattr(context, "identity", lambda: claims)
    return claims


def came_back(claims: dict[str, Any], token: str, age_s: float = 1.0) -> AppTest:
    claims.update(is_logged_in=True, iat=time.time() - age_s, tokens={"id": token})
    return AppTest.from_file(str(MAIN), default_timeout=60).run()


def test_the_button_stands_beside_the_password_only_where_there_is_a_provider(
    identity: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = AppTest.from_file(str(MAIN), default_timeout=60).run()
    assert {"Sign in with Example ID", "Sign in"} <= {one.label for one in app.button}
    monkeypatch.setattr(context, "provider", lambda: None)
    app.run()
    assert "Sign in with Example ID" not in {one.label for one in app.button}


def test_an_identity_that_was_just_brought_back_signs_in_once(api: FakeApi, identity: dict[str, Any]) -> None:
    app = came_back(identity, "operator@example.org")
    assert app.header[0].value == "Fleet"
    again = came_back(identity, "operator@example.org")
    assert again.header[0].value == "Sign in to Farwatch", "a spent identity opens nothing"
    assert not again.error, "and whose session has ended is told nothing but how to begin another"


def test_an_old_identity_is_not_presented_at_all(api: FakeApi, identity: dict[str, Any]) -> None:
    app = came_back(identity, "operator@example.org", age_s=3600)
    assert app.header[0].value == "Sign in to Farwatch"
    assert api.requests == []


def test_a_refused_identity_is_explained_until_another_is_chosen(identity: dict[str, Any]) -> None:
    app = came_back(identity, "stranger@example.net")
    assert "you may not sign in here" in app.error[0].value
    assert "This person has no role here" in app.error[0].value
    app.run()
    assert "This person has no role here" in app.error[0].value
    assert button(app, "Take another account")


def test_an_api_that_is_down_is_said_with_the_request_id(api: FakeApi, identity: dict[str, Any]) -> None:
    body = {"title": "Unavailable", "detail": "the keys cannot be fetched", "instance": "request-7"}
    api.failing["POST /auth/oidc"] = (503, body)
    app = came_back(identity, "operator@example.org")
    assert "the keys cannot be fetched" in app.error[0].value
    assert "request-7" in app.error[0].value
    api.failing.clear()
    assert app.run().header[0].value == "Fleet", "what could not be tried is not spent"


@pytest.mark.parametrize(
    ("failure", "words"), [("unreachable", "does not answer"), ("refused", "did not sign you in")]
)
def test_what_went_wrong_at_the_provider_is_said(identity: dict[str, Any], failure: str, words: str) -> None:
    app = AppTest.from_file(str(MAIN), default_timeout=60)
    app.query_params["sso"] = failure
    assert words in app.run().error[0].value


def test_too_many_attempts_are_told_how_long_to_wait(api: FakeApi) -> None:
    api.failing["POST /auth/login"] = (429, {"detail": "too many failed sign-ins"})
    api.retry_after_s = 40
    app = AppTest.from_file(str(MAIN), default_timeout=60).run()
    app.text_input(key="sign-in-email").input("admin@example.org")
    app.text_input(key="sign-in-password").input("guess")
    button(app, "Sign in").click().run()
    assert "Wait 40 s" in app.error[0].value


# On the way back from the provider


@pytest.fixture
def door() -> Iterator[TestClient]:
    """What Streamlit answers on its two routes, behind the middleware."""

    async def login(request: Request) -> Response:
        if "down" in request.query_params:
            return PlainTextResponse("Authentication error", 400)
        return RedirectResponse("https://id.example.org/authorize", 302)

    async def callback(request: Request) -> Response:
        answer = RedirectResponse("/", 302)
        if request.query_params.get("code") == "good":
            answer.set_cookie("_streamlit_user", "signed")
        else:
            answer.delete_cookie("_streamlit_user")
        return answer

    routes = [
        Route("/auth/login", login),
        Route("/oauth2callback", callback),
        Route("/base/oauth2callback", callback),
    ]
    with TestClient(FailuresLeadBack(Starlette(routes=routes)), follow_redirects=False) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "leads_to"),
    [
        ("/auth/login", "https://id.example.org/authorize"),
        ("/auth/login?down=1", "/?sso=unreachable"),
        ("/oauth2callback?code=good&state=x", "/"),
        ("/oauth2callback?code=stale&state=x", "/?sso=refused"),
        ("/oauth2callback?error=access_denied", "/?sso=refused"),
        ("/base/oauth2callback?error=access_denied", "/base/?sso=refused"),
        ("/oauth2callback", "/"),
    ],
)
def test_a_failure_at_the_provider_leads_to_the_page_that_says_so(
    door: TestClient, path: str, leads_to: str
) -> None:
    answer = door.get(path)
    assert answer.is_redirect
    assert answer.headers["location"] == leads_to
