"""A full run through the doors leaves no secret in any log line, error, audit row, queue or cache in the clear."""

from __future__ import annotations

import io
import json
import logging

import psycopg
import pytest

from farwatch.domain.rbac import COMMAND_LINE, Role
from farwatch.http.clock import now_ms
from farwatch.observability import logger
from tests.gateway import PASSWORD, Answered, Gateway

NEW_PASSWORD = "quite another long phrase"


def full_run(gateway: Gateway) -> list[str]:
    """Do everything that handles a secret, rightly and wrongly, and return the secrets."""
    secrets = [PASSWORD, NEW_PASSWORD]

    def post(path: str, body: object, token: str | None = None) -> Answered:
        return gateway("POST", path, body, token=token)

    gateway.container.auth.create_first_admin(COMMAND_LINE, "a@example.com", "Ada", PASSWORD, now_ms())
    signed_in = gateway.sign_in("a@example.com").body
    admin = signed_in["access_token"]
    refreshed = post("/api/v1/auth/refresh", {"refresh_token": signed_in["refresh_token"]}).body
    invited = post("/api/v1/invitations", {"email": "b@example.com", "name": "B", "role": "viewer"}, admin)
    invitation = invited.body["link"].split("=")[1]
    joined = post("/api/v1/auth/invitations/accept", {"token": invitation, "password": PASSWORD}).body
    reset = post(f"/api/v1/users/{joined['user']['id']}/password-reset", None, admin).body["link"]
    reset = reset.split("=")[1]
    assert (
        gateway("PUT", "/api/v1/auth/password-reset", {"token": reset, "new_password": NEW_PASSWORD}).status
        == 204
    )
    enrolment = post("/api/v1/enrolment-tokens", {}, admin).body["token"]
    agent = post("/api/v1/agents/enrol", {"token": enrolment, "hostname": "web-1"}).body["credential"]
    renewed = gateway("POST", "/api/v1/agents/credential", token=agent).body["credential"]
    token = post("/api/v1/tokens", {"name": "t", "scopes": ["hosts:read"]}, admin).body["token"]
    ticket = post("/api/v1/ws-tickets", None, admin).body["ticket"]
    secrets += [admin, signed_in["refresh_token"], refreshed["access_token"], refreshed["refresh_token"]]
    secrets += [invitation, reset, enrolment, agent, renewed, token, ticket]
    # And wrongly: wrong types, wrong places, wrong times.
    wrong = [
        post("/api/v1/auth/login", {"email": [NEW_PASSWORD], "password": PASSWORD}),
        post("/api/v1/auth/login", {"email": "a@example.com", "password": [PASSWORD]}),
        post("/api/v1/auth/login", json.dumps({"email": "a@example.com", "password": PASSWORD})[:-1]),
        post("/api/v1/auth/login", {"email": "a@example.com", "passwort": PASSWORD}),
        post("/api/v1/auth/refresh", {"refresh_token": signed_in["refresh_token"]}),
        post("/api/v1/agents/enrol", {"token": enrolment, "hostname": "web-2"}),
        post("/api/v1/agents/enrol", {"token": agent, "hostname": "x\n"}),
        post("/api/v1/auth/oidc", {"id_token": admin}),
        gateway("GET", "/api/v1/hosts", token=token + "0"),
        gateway("GET", "/api/v1/agents", token=agent),
        gateway(
            "PUT", "/api/v1/auth/password", {"current_password": "no", "new_password": PASSWORD}, token=token
        ),
    ]
    for answer in wrong:
        assert answer.status >= 400
        assert not [secret for secret in secrets if secret in answer.raw or secret in str(answer.headers)]
    return secrets


def keys_of(gateway: Gateway) -> list[str]:
    stored = gateway.container.adapters.secrets
    return [stored.pepper, *stored.jwt_keys.values()]


def test_nothing_secret_is_logged(
    gateway: Gateway,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG)
    lines = io.StringIO()
    monkeypatch.setattr(logger.registered_handler, "stream", lines)
    secrets = full_run(gateway) + keys_of(gateway)
    out, err = capsys.readouterr()
    logged = out + err + lines.getvalue() + "".join(str(record.__dict__) for record in caplog.records)
    assert '"message":"request"' in logged, "the run was logged at all"
    assert [secret[:12] for secret in secrets if secret in logged] == []


def test_nothing_secret_is_stored_in_the_clear(gateway: Gateway, postgres_url: str) -> None:
    secrets = full_run(gateway) + keys_of(gateway)
    stored = ""
    with psycopg.connect(postgres_url) as connection:
        tables = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        ).fetchall()
        for (table,) in tables:
            rows = connection.execute(f'SELECT t::text FROM "{table}" t').fetchall()
            stored += "\n".join(row[0] for row in rows)
    redis = gateway.container.adapters.redis
    for name in redis.scan_iter():
        dumped = redis.dump(name)
        stored += f"{name!r} {dumped!r}"
    assert "a@example.com" in stored, "the run was stored at all"
    assert [secret[:12] for secret in secrets if secret in stored] == []


def test_a_password_hash_is_argon2id(gateway: Gateway, postgres_url: str) -> None:
    gateway.add_user(Role.VIEWER)
    with psycopg.connect(postgres_url) as connection:
        row = connection.execute("SELECT password_hash FROM users").fetchone()
    assert row is not None
    assert row[0].startswith("$argon2id$")
