"""The HTTP API in one process: authoriser, then API function, as the gateway would call them.

Everything behind them is real (PostgreSQL, Valkey); only the network and the queues' service are missing.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher

from farwatch.adapters.passwords import Argon2Passwords
from farwatch.bootstrap import Container, container
from farwatch.domain.rbac import COMMAND_LINE, Role
from farwatch.http.clock import now_ms
from tests.api_events import http_event

PASSWORD = "correct horse battery staple"


@dataclass
class Answered:
    """One answer of the API."""

    status: int
    headers: Mapping[str, str]
    body: Any
    raw: str


class Gateway:
    """A client of the API. ``address`` is where its requests seem to come from."""

    def __init__(self, made: Container) -> None:
        self.container = made
        self.address = "192.0.2.7"
        self._requests = 0

    def verdict(self, token: str | None) -> dict[str, Any]:
        """Return what the authoriser says about a credential."""
        return self.verdict_for(f"Bearer {token}" if token is not None else None)

    def verdict_for(self, authorization: str | None) -> dict[str, Any]:
        """Return what the authoriser says about an ``Authorization`` header."""
        from functions.authorizer.handler import handler

        headers = {"Authorization": authorization} if authorization is not None else {}
        answer = handler({"version": "2.0", "headers": headers}, None)
        assert answer["isAuthorized"] is True
        verdict = answer["context"]
        assert all(isinstance(value, str) for value in verdict.values())
        return dict(verdict)

    def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answered:
        """Send one request and return the answer."""
        from functions.api.handler import handler

        event = http_event(
            method,
            path,
            body=body,
            query=query,
            headers=headers,
            verdict=self.verdict(token),
            address=self.address,
        )
        self._requests += 1
        event["requestContext"]["requestId"] = f"request-{self._requests}"
        return self.send(event, handler)

    @staticmethod
    def send(event: dict[str, Any], handler: Any) -> Answered:
        """Send a finished event to a handler."""
        result = handler(event, None)
        text = result.get("body") or ""
        kind = result["headers"].get("Content-Type", "")
        return Answered(
            result["statusCode"],
            result["headers"],
            json.loads(text) if "json" in kind and text else None,
            text,
        )

    # People and their tokens

    def add_user(self, role: Role, email: str | None = None) -> str:
        """Create a person directly and return the id; the password is ``PASSWORD``."""
        from farwatch.domain.people import User
        from farwatch.ids import new_id

        user_id = new_id("user")
        address = email or f"{role}-{secrets.token_hex(3)}@example.com"
        user = User(user_id, address, f"A {role}", role, now_ms())
        self.container.adapters.people.add(user, self.container.adapters.passwords.hash(PASSWORD))
        return user_id

    def sign_in(self, email: str, password: str = PASSWORD) -> Answered:
        """Sign in through the API."""
        return self("POST", "/api/v1/auth/login", {"email": email, "password": password})

    def as_role(self, role: Role) -> str:
        """Return an access token of a new person with ``role``."""
        user_id = self.add_user(role)
        user = self.container.adapters.people.get(user_id)
        assert user is not None
        answer = self.sign_in(user.email)
        assert answer.status == 200, answer.raw
        return str(answer.body["access_token"])

    def enrolled(self, hostname: str = "web-1", **machine: Any) -> tuple[str, str]:
        """Enrol a host and return its id and credential."""
        made = self.container.enrol.create_enrolment_token(COMMAND_LINE, now_ms())
        answer = self("POST", "/api/v1/agents/enrol", {"token": made.text, "hostname": hostname, **machine})
        assert answer.status == 201, answer.raw
        return answer.body["host_id"], answer.body["credential"]


def quick_passwords() -> Argon2Passwords:
    """Real parameters make a hash slow on purpose; where only the logic around it matters, these do."""
    return Argon2Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


def secrets_document(postgres_url: str, redis_url: str) -> dict[str, Any]:
    """Return a Secrets document for tests, with fresh keys."""
    return {
        "database_url": postgres_url,
        "redis_url": redis_url,
        "jwt_keys": {"k1": base64.b64encode(secrets.token_bytes(32)).decode()},
        "jwt_active_kid": "k1",
        "pepper": secrets.token_hex(32),
    }


@contextmanager
def running_gateway(
    postgres_url: str, redis_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Gateway]:
    """Point this process's container at the given stores, and yield a client of the API over them."""
    from functions.api.handler import api

    document = folder / "secrets.json"
    document.write_text(json.dumps(secrets_document(postgres_url, redis_url)))
    monkeypatch.setenv("SECRETS_FILE", str(document))
    monkeypatch.setenv("API_URL", "https://farwatch.example")
    monkeypatch.setenv("WEBSOCKET_URL", "wss://live.farwatch.example")
    monkeypatch.setenv("DASHBOARD_URL", "https://dash.farwatch.example")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    container.cache_clear()
    api.cache_clear()
    made = container()
    made.adapters.passwords = quick_passwords()
    try:
        yield Gateway(made)
    finally:
        made.adapters.database.close()
        made.adapters.redis.close()
        container.cache_clear()
        api.cache_clear()
