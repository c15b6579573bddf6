"""Single sign-on: the identity provider that ``st.login`` sends people to, and what went wrong on the way back.

Streamlit speaks OpenID Connect with the provider; who somebody is here, and with what role, the API decides from the
identity token. The client secret comes from a file that only its owner can read (``./farwatch up`` writes it) or, in a
container, from the environment; it reaches Streamlit as ``st.App(secrets=…)`` and is never shown.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboard.settings import Misconfigured

FILE = "FARWATCH_OIDC_FILE"
PREFIX = "FARWATCH_OIDC_"
SCOPES = "openid email profile"
FAILURE = "sso"
IDENTITY_COOKIE = b"_streamlit_user="
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_EXAMPLES = {
    "issuer": "https://id.example.org",
    "client_id": "farwatch",
    "client_secret": "as the provider gave it",
    "dashboard_url": "https://farwatch.example.org",
}


@dataclass(frozen=True, slots=True)
class Provider:
    """An identity provider. ``name`` stands on the button; ``cookie_secret`` signs Streamlit's identity cookie."""

    name: str
    issuer: str
    client_id: str
    dashboard_url: str
    scopes: str = SCOPES
    client_secret: str = field(default="", repr=False)
    cookie_secret: str = field(default="", repr=False)

    def streamlit_secrets(self) -> dict[str, Any]:
        """Return what ``st.login`` reads; the identity token is exposed to us because the API wants to see it."""
        return {
            "auth": {
                "redirect_uri": f"{self.dashboard_url}/oauth2callback",
                "cookie_secret": self.cookie_secret,
                "client_id": self.client_id,
                "client_secret": self.client_secret,
                "server_metadata_url": f"{self.issuer}/.well-known/openid-configuration",
                "expose_tokens": ["id"],
                "client_kwargs": {"scope": self.scopes, "prompt": "select_account"},
            }
        }


def load(environ: Mapping[str, str] | None = None) -> Provider | None:
    """Return the provider that ``FARWATCH_OIDC_FILE`` or the ``FARWATCH_OIDC_…`` variables describe, None without one.

    Raises Misconfigured, naming the setting, when it is described in part or leads over plain HTTP to another machine.
    """
    env = os.environ if environ is None else environ
    given = _from_file(Path(env[FILE])) if env.get(FILE) else _from_environment(env)
    if not given.get("issuer"):
        return None
    for name, example in _EXAMPLES.items():
        if not given.get(name):
            raise Misconfigured(
                f"{PREFIX}{name.upper()} is not set, which {PREFIX}ISSUER needs, for example {example}"
            )
    for name in ("issuer", "dashboard_url"):
        if not _is_private(given[name]):
            raise Misconfigured(
                f"{PREFIX}{name.upper()} must start with https:// (plain http:// goes to this machine only), "
                f"not {given[name]!r}"
            )
    issuer = given["issuer"].rstrip("/")
    return Provider(
        name=given.get("name") or urlsplit(issuer).hostname or issuer,
        issuer=issuer,
        client_id=given["client_id"],
        dashboard_url=given["dashboard_url"].rstrip("/"),
        scopes=given.get("scopes") or SCOPES,
        client_secret=given["client_secret"],
        cookie_secret=given.get("cookie_secret") or secrets.token_urlsafe(32),
    )


def _from_file(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): str(value) for name, value in found.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise Misconfigured(f"{FILE}={path} cannot be read ({type(error).__name__})") from error


def _from_environment(env: Mapping[str, str]) -> dict[str, str]:
    return {
        name.removeprefix(PREFIX).lower(): value.strip()
        for name, value in env.items()
        if name.startswith(PREFIX)
    }


def _is_private(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)


class FailuresLeadBack:
    """ASGI middleware: a sign-in that failed at the provider leads to the sign-in page, which says so.

    Streamlit answers with a bare error, or as if nothing had been tried. ``?sso=unreachable`` says that the provider
    could not be asked, ``?sso=refused`` that it sent somebody back without an identity.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and, where it failed, send the browser to the sign-in page."""
        path = str(scope.get("path", ""))
        began = path.endswith("/auth/login")
        returned = path.endswith("/oauth2callback") and any(
            part.startswith((b"code=", b"error=")) for part in scope.get("query_string", b"").split(b"&")
        )
        if scope["type"] != "http" or not (began or returned):
            await self.app(scope, receive, send)
            return
        base = path.removesuffix("auth/login").removesuffix("oauth2callback")

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                if began and message["status"] >= 400:
                    message["status"] = 303
                    MutableHeaders(scope=message)["location"] = f"{base}?{FAILURE}=unreachable"
                elif returned and not _brings_identity(message):
                    MutableHeaders(scope=message)["location"] = f"{base}?{FAILURE}=refused"
            await send(message)

        await self.app(scope, receive, watched)


def _brings_identity(message: Message) -> bool:
    return any(
        name == b"set-cookie" and value.startswith(IDENTITY_COOKIE) and b"Max-Age=0" not in value
        for name, value in message["headers"]
    )
