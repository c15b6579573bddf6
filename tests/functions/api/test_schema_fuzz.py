"""Every operation, every kind of caller, valid and invalid requests: no 5xx, no undocumented status, no other shape."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from farwatch.domain.rbac import COMMAND_LINE, Caller, Role
from farwatch.http.clock import now_ms
from infra.local.api_reference import ROOT
from tests.gateway import Gateway, running_gateway
from tests.services import PostgresServer
from tests.wsgi import WsgiGateway

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
schema = schemathesis.openapi.from_dict(json.loads((ROOT / "docs/api/openapi.json").read_text()))


class Unlimited:
    """No rate limits: they would answer 429 to most of what is sent here."""

    def spend(self, caller: Caller, limit: str | None) -> Sequence[Any]:
        return []


class Callers:
    """A credential for every kind of caller, made anew when a fuzzed request has revoked it."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self._tokens: dict[str, str] = {}

    def token(self, kind: str) -> str | None:
        if kind == "nobody":
            return None
        if kind == "forged":
            return "fwt_0123456789abcdef_" + "0" * 64
        held = self._tokens.get(kind)
        if held is None or self.gateway.verdict(held)["kind"] == "refused":
            held = self._tokens[kind] = self._new(kind)
        return held

    def _new(self, kind: str) -> str:
        if kind == "agent":
            return self.gateway.enrolled()[1]
        if kind == "token":
            admin = self.token("admin")
            scopes = ["hosts:read", "incidents:read", "rules:write"]
            answer = self.gateway("POST", "/api/v1/tokens", {"name": "t", "scopes": scopes}, token=admin)
            return str(answer.body["token"])
        return self.gateway.as_role(Role(kind))

    def known_id(self, parameter: str) -> str | None:
        """Return the id of something that exists, for a path parameter."""
        made = self.gateway.container
        if parameter == "host_id":
            host = next(iter(made.adapters.hosts.all()), None)
            return host.id if host is not None else self.gateway.enrolled()[0]
        if parameter == "user_id":
            return self.gateway.add_user(Role.GUEST)
        if parameter == "token_id":
            return made.enrol.create_enrolment_token(COMMAND_LINE, now_ms()).token.id
        makers: dict[str, tuple[str, dict[str, Any]]] = {
            "scan_id": (
                "/api/v1/scans",
                {"target": "fuzz", "files": 1, "seconds": 0.1, "findings": []},
            ),
            "incident_id": ("/api/v1/incidents", {"title": "fuzz", "severity": "warning"}),
            "channel_id": (
                "/api/v1/channels",
                {
                    "kind": "email",
                    "name": "fuzz",
                    "email": {"host": "127.0.0.1", "port": 1, "security": "none", "sender": "f@example.com"},
                },
            ),
        }
        if parameter not in makers:
            return None
        path, body = makers[parameter]
        answer = self.gateway("POST", path, body, token=self.token("admin"))
        if answer.status == 409:  # there is one mail server at most
            return str(self.gateway("GET", path, token=self.token("admin")).body["items"][0]["id"])
        assert answer.status == 201, answer.raw
        return str(answer.body["id"])


@pytest.fixture(scope="module")
def callers(
    postgres: PostgresServer, valkey: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callers]:
    url = postgres.create_database()
    folder: Path = tmp_path_factory.mktemp("fuzz")
    with pytest.MonkeyPatch.context() as patch, running_gateway(url, valkey, folder, patch) as gateway:
        gateway.container.__dict__["rate_limits"] = Unlimited()
        yield Callers(gateway)
    postgres.drop_database(url)


KINDS = [*map(str, Role), "agent", "token", "nobody", "forged"]


@schema.given(kind=st.sampled_from(KINDS), known=st.booleans())
@schema.parametrize()
@settings(
    max_examples=10,
    deadline=None,
    database=None,
    derandomize=True,  # the test command must not fail by luck
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_operation_answers_as_documented(
    case: Case[Any], kind: str, known: bool, callers: Callers
) -> None:
    token = callers.token(kind)
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    if known and case.path_parameters:
        for name, made_up in case.path_parameters.items():
            case.path_parameters[name] = callers.known_id(name) or made_up
    response = case.call(app=WsgiGateway(callers.gateway), headers=headers)
    case.validate_response(response, checks=CHECKS)
