"""An OpenID Connect provider on loopback: discovery, consent page, code flow with PKCE, RS256 tokens, keys, sign-out.

It is strict where a real one is: the redirect address is registered, a code works once and only with the client's secret
and the right PKCE verifier.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT_ID = "farwatch-dashboard"
PEOPLE: dict[str, dict[str, Any]] = {
    "olga": {"email": "olga@example.org", "name": "Olga Operator", "groups": ["sre"]},
    "vito": {"email": "vito@example.org", "name": "Vito Visitor", "groups": ["guests-of-the-house"]},
}
ROLES = "sre=operator,it-admins=admin"


@dataclass
class IdentityProvider:
    """What is known at the provider, and what was asked of it: ``ended`` counts sign-outs."""

    port: int = 0
    client_secret: str = field(default_factory=lambda: f"s3cret-{secrets.token_hex(16)}")
    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    issued: list[str] = field(default_factory=list)
    ended: int = 0

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> dict[str, str]:
        """The environment of ``./farwatch up`` for this provider."""
        return {
            "OIDC_ISSUER": self.issuer,
            "OIDC_CLIENT_ID": CLIENT_ID,
            "OIDC_JWKS_URL": f"{self.issuer}/keys",
            "OIDC_ROLES": ROLES,
            "OIDC_NAME": "Example ID",
        }

    def discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "end_session_endpoint": f"{self.issuer}/end",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            "code_challenge_methods_supported": ["S256"],
        }

    def keys(self) -> dict[str, Any]:
        key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        return {"keys": [{**key, "kid": "idp-1", "use": "sig", "alg": "RS256"}]}

    def consent(self, asked: dict[str, str]) -> str:
        """The page a person sees: who are you, and may this program know?"""
        back = urlsplit(asked["redirect_uri"])
        assert asked["client_id"] == CLIENT_ID
        assert (back.hostname, back.path) == ("127.0.0.1", "/oauth2callback"), "not a registered address"
        assert asked["code_challenge_method"] == "S256"
        links = []
        for who in PEOPLE:
            code = secrets.token_urlsafe(16)
            self.codes[code] = {**asked, "who": who}
            links.append((f"Allow as {who}", {"code": code, "state": asked["state"]}))
        links.append(("Deny", {"error": "access_denied", "state": asked["state"]}))
        anchors = "".join(
            f'<p><a href="{html.escape(asked["redirect_uri"] + "?" + urlencode(answer))}">{label}</a></p>'
            for label, answer in links
        )
        return f"<!doctype html><title>Example ID</title><h1>Example ID</h1>{anchors}"

    def token(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        """Exchange a code, once, for an identity token."""
        given = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
        if (given[0], unquote(given[2])) != (CLIENT_ID, self.client_secret):
            return 401, {"error": "invalid_client"}
        asked = self.codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if asked is None or asked["code_challenge"] != challenge:
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "sub": f"subject-{asked['who']}",
            "iat": now,
            "exp": now + 300,
            "nonce": asked.get("nonce", ""),
            "email_verified": True,
            **PEOPLE[asked["who"]],
        }
        token = jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": "idp-1"})
        self.issued.append(token)
        return 200, {
            "access_token": secrets.token_urlsafe(16),
            "token_type": "Bearer",
            "expires_in": 300,
            "id_token": token,
        }


@contextmanager
def identity_provider() -> Iterator[IdentityProvider]:
    """Run a provider on a free port of loopback."""
    provider = IdentityProvider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
            match parts.path:
                case "/.well-known/openid-configuration":
                    self.answer(200, provider.discovery())
                case "/keys":
                    self.answer(200, provider.keys())
                case "/authorize":
                    self.answer(200, provider.consent(asked))
                case "/end":
                    provider.ended += 1
                    self.send_response(302)
                    self.send_header("Location", asked["post_logout_redirect_uri"])
                    self.end_headers()
                case _:
                    self.answer(404, {})

        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: values[0] for name, values in parse_qs(text).items()}
            self.answer(*provider.token(form, self.headers.get("Authorization", "")))

        def answer(self, status: int, body: dict[str, Any] | str) -> None:
            page = isinstance(body, str)
            data = (body if isinstance(body, str) else json.dumps(body)).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/html" if page else "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
