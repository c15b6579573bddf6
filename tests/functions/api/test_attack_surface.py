"""What is attacked everywhere: every text that the API takes, and every id in a path. Both lists come from the OpenAPI."""

from __future__ import annotations

import copy
import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from farwatch.domain.audit import verify
from farwatch.domain.rbac import COMMAND_LINE, Role, permissions_of
from farwatch.domain.severity import Severity
from farwatch.http.clock import now_ms
from farwatch.ports.deliveries import Notification
from functions.api.handler import handler
from infra.local.api_reference import ROOT
from tests.api_events import as_agent, as_token, as_user, http_event
from tests.gateway import PASSWORD, Answered, Gateway

DOCUMENT: dict[str, Any] = json.loads((ROOT / "docs/api/openapi.json").read_text())
OPERATIONS = [
    (method.upper(), path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]
HOSTILE = [
    "x'); DROP TABLE users; --",
    "' OR pg_sleep(60) IS NULL OR '",
    '"><script>alert(1)</script>{{7*7}}${7*7}',
    "a\r\nSet-Cookie: x=1\nb\x1b[31m\x00",
    "\u202e" + "🙈" * 300,
]
RULE = {
    "name": "r",
    "severity": "warning",
    "conditions": [{"metric": "cpu.percent", "comparison": "above", "enter": 90, "leave": 80}],
    "summary": "s",
}
EMAIL = {
    "host": "127.0.0.1",
    "port": 1,
    "security": "none",
    "username": "u",
    "password": "p",
    "sender": "f@example.com",
    "recipients": ["r@example.com"],
}
# A good body for each operation that takes one, with every text in it; HOST stands for a host that exists.
BODIES: dict[str, Any] = {
    "enrol": {
        "token": "fwe_x",
        "hostname": "h",
        "machine_id": "m",
        "os": "o",
        "kernel": "k",
        "agent_version": "1",
        "labels": {"a": "b"},
    },
    "run_detector": {"host_id": "HOST", "metric": "cpu.percent", "from": 0, "to": 60_000},
    "put_detectors": {"items": [{"metric": "cpu.*", "detector": "zscore"}]},
    "accept_invitation": {"token": "x", "password": PASSWORD, "name": "n"},
    "login": {"email": "e@example.com", "password": PASSWORD},
    "login_with_identity": {"id_token": "a.b.c"},
    "change_password": {"current_password": "wrong", "new_password": "another long phrase"},
    "reset_password": {"token": "x", "new_password": "another long phrase"},
    "request_reset": {"email": "e@example.com"},
    "refresh": {"refresh_token": "x.y"},
    "create_channel": {"kind": "email", "name": "n", "email": EMAIL},
    "change_channel": {"name": "n", "email": {k: v for k, v in EMAIL.items() if k != "recipients"}},
    "test_channel": {"address": "a@example.com"},
    "create_enrolment_token": {"name": "n", "labels": {"a": "b"}},
    "change_host": {"name": "n", "labels": {"a": "b"}},
    "open_incident": {"title": "t", "reason": "r", "severity": "warning", "host_id": "HOST"},
    "acknowledge": {"note": "n"},
    "assign": {"assignee": "user_1"},
    "comment": {"text": "t"},
    "resolve": {"note": "n"},
    "invite": {"email": "i@example.com", "name": "n", "role": "guest"},
    "forecast": {"host_id": "HOST", "metric": "cpu.percent", "model": "default"},
    "put_preferences": {
        "email": "me@example.com",
        "timezone": "Europe/Berlin",
        "slack_webhook_url": "https://hooks.slack.com/services/T0/B0/x",
        "pagerduty_routing_key": "0" * 32,
    },
    "create_rule": RULE,
    "preview_rule": {"rule": RULE, "host_id": "HOST", "from": 0, "to": 60_000},
    "replace_rule": RULE,
    "create_token": {"name": "n", "scopes": ["hosts:read"]},
    "change_user": {"name": "n"},
    "publish_scan": {
        "target": "n",
        "files": 1,
        "seconds": 1,
        "findings": [
            {
                "rule": "sql-format",
                "kind": "sql",
                "severity": "high",
                "file": "a.py",
                "line": 1,
                "column": 1,
                "snippet": "s",
                "why": "w",
                "fix": "f",
                "cwe": 89,
                "sources": ["ours"],
                "fingerprint": "0" * 16,
            }
        ],
    },
}


def texts(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where the texts of a body are."""
    if isinstance(value, str):
        yield path
    for key, inner in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield from texts(inner, (*path, key))


def with_text(body: Any, path: tuple[Any, ...], text: str) -> Any:
    changed = copy.deepcopy(body)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = text
    return changed


class Target:
    """An API with one of everything in it."""

    def __init__(self, gateway: Gateway) -> None:
        gateway.container.__dict__["rate_limits"] = type("Unlimited", (), {"spend": lambda *_: []})()
        self.gateway = gateway
        self.admin = gateway.add_user(Role.ADMIN)
        self.victim = gateway.add_user(Role.VIEWER)
        self.host, _ = gateway.enrolled("victim-1")
        self.other_host, other = gateway.enrolled("other-1")
        self.other_credential = other.split("_")[1]
        note = "ntf_" + "0" * 22
        gateway.container.adapters.inbox.add(
            Notification(
                note,
                self.victim,
                "evt_1",
                "inc_1",
                "incident.opened",
                Severity.HIGH,
                "t",
                "private",
                now_ms(),
            )
        )
        enrolment = gateway.container.enrol.create_enrolment_token(COMMAND_LINE, now_ms())
        self.ids = {
            "host_id": [self.host],
            "user_id": [self.victim],
            "notification_id": [note],
            "incident_id": [self._made("/api/v1/incidents", {"title": "t", "severity": "warning"})],
            "channel_id": [self._made("/api/v1/channels", BODIES["create_channel"])],
            "rule_id": [self._made("/api/v1/rules", RULE)],
            "token_id": [
                enrolment.token.id,
                self._made("/api/v1/tokens", {"name": "n", "scopes": ["hosts:read"]}),
            ],
            "invitation_id": [
                self._made("/api/v1/invitations", {"email": "x@example.com", "name": "n", "role": "guest"})
            ],
        }

    def send(self, method: str, path: str, verdict: dict[str, str], **more: Any) -> Answered:
        return self.gateway.send(http_event(method, path, verdict=verdict, **more), handler)

    def as_admin(self, method: str, path: str, **more: Any) -> Answered:
        return self.send(method, path, as_user(Role.ADMIN, self.admin), **more)

    def _made(self, path: str, body: Any) -> str:
        answer = self.as_admin("POST", path, body=body)
        assert answer.status == 201, answer.raw
        return str(answer.body.get("id") or answer.headers["Location"].rsplit("/", 1)[1])

    def real(self, path: str) -> str:
        """Return the path with ids of what exists, where it does."""
        return re.sub(r"{(.*?)}", lambda found: self.ids.get(found[1], ["x_1"])[0], path)

    def state(self) -> dict[str, Any]:
        """Return what a successful attack would have changed."""
        with self.gateway.container.adapters.database.transaction() as connection:
            return {
                table: connection.execute(
                    f"SELECT count(*) AS n, md5(string_agg({table}::text, '|' ORDER BY {table}::text)) AS h FROM {table}"  # type: ignore[arg-type]
                ).fetchone()
                for table in (
                    "users",
                    "hosts",
                    "agent_credentials",
                    "api_tokens",
                    "enrolment_tokens",
                    "invitations",
                    "incidents",
                    "rules",
                    "channels",
                    "notifications",
                )
            }


@pytest.fixture
def target(gateway: Gateway) -> Target:
    return Target(gateway)


# Every text


def test_there_is_a_body_for_every_operation_that_takes_text() -> None:
    taking = {
        operation["operationId"]
        for _, _, operation in OPERATIONS
        if "requestBody" in operation
        and _texts_of_schema(operation["requestBody"]["content"]["application/json"]["schema"])
    }
    assert taking - BODIES.keys() == set(), "give these operations a good body here"


def _texts_of_schema(schema: dict[str, Any]) -> bool:
    if "$ref" in schema:
        schema = DOCUMENT["components"]["schemas"][schema["$ref"].split("/")[-1]]
    if schema.get("type") == "string":
        return "enum" not in schema and "const" not in schema
    inner = [*schema.get("properties", {}).values(), *schema.get("anyOf", [])]
    return any(_texts_of_schema(one) for one in [*inner, *([schema["items"]] if "items" in schema else [])])


def test_hostile_text_in_any_field_is_kept_as_it_is_or_refused_and_does_nothing(target: Target) -> None:
    users = target.gateway.container.adapters.people.count()
    tried = 0
    for method, path, operation in OPERATIONS:
        body = json.loads(
            json.dumps(BODIES.get(operation["operationId"], {})).replace('"HOST"', f'"{target.host}"')
        )
        for where in texts(body):
            for text in HOSTILE:
                began = time.monotonic()
                answer = target.as_admin(method, target.real(path), body=with_text(body, where, text))
                place = (method, path, where, text[:12], answer.raw[:300])
                assert answer.status < 500 or answer.body["code"] == "dependency_unavailable", place
                assert time.monotonic() - began < 25, f"slept: {place}"
                assert "Set-Cookie" not in answer.headers, place
                if answer.raw:
                    assert "json" in answer.headers["Content-Type"], place
                    assert answer.headers["X-Content-Type-Options"] == "nosniff"
                shown = (
                    answer.body.get(where[0]) if isinstance(answer.body, dict) and len(where) == 1 else None
                )
                if answer.status < 300 and isinstance(shown, str) and where[0] != "token":
                    assert shown == text.strip(), place
                tried += 1
    assert tried > 250
    assert target.gateway.container.adapters.people.count() == users
    assert verify(target.gateway.container.adapters.audit.links()).broken_at is None


def test_hostile_text_in_any_query_is_refused_or_finds_nothing(target: Target) -> None:
    tried = 0
    for method, path, operation in OPERATIONS:
        for parameter in operation.get("parameters", []):
            if parameter["in"] != "query":
                continue
            required = {
                p["name"]: "1" for p in operation["parameters"] if p["in"] == "query" and p.get("required")
            }
            for text in HOSTILE[:4]:
                began = time.monotonic()
                query = {**required, parameter["name"]: text}
                answer = target.as_admin(method, target.real(path), query=query)
                place = (method, path, parameter["name"], text[:12], answer.raw[:300])
                assert answer.status < 500, place
                assert time.monotonic() - began < 25, place
                if answer.status < 300 and isinstance(answer.body, dict) and parameter["name"] != "bucket":
                    assert not answer.body.get("items"), place
                tried += 1
    assert tried > 100


# Every id


def test_nobody_does_anything_to_the_things_of_others_by_knowing_their_id(target: Target) -> None:
    """Real ids, in the hands of everybody who may not: refused, nothing changed, and no telling whether they exist."""
    callers: dict[str, tuple[dict[str, str], frozenset[str]]] = {
        "nobody": ({}, frozenset()),
        "another host's agent": (as_agent(target.other_host, target.other_credential), frozenset()),
        "a program": (as_token("hosts:read"), frozenset({"hosts:read"})),
        **{
            str(role): (
                as_user(role, target.gateway.add_user(role)),
                frozenset(map(str, permissions_of(role))),
            )
            for role in (Role.GUEST, Role.VIEWER, Role.OPERATOR)
        },
    }
    before = target.state()
    tried: set[str] = set()
    for method, path, operation in OPERATIONS:
        names = re.findall(r"{(.*?)}", path)
        permission = operation.get("x-permission")
        if not names or permission is None:
            continue
        for identifier in target.ids.get(names[0], ["x_1"]):
            real = path.replace(f"{{{names[0]}}}", identifier)
            made_up = path.replace(
                f"{{{names[0]}}}", identifier[:-1] + ("0" if identifier[-1] != "0" else "1")
            )
            for name, (verdict, permissions) in callers.items():
                personal = names[0] == "notification_id"
                if permission in permissions and not personal:
                    continue
                body = BODIES.get(operation["operationId"])
                answers = [target.send(method, one, verdict, body=body) for one in (real, made_up)]
                where = (method, path, name, answers[0].raw)
                expected = {401} if name == "nobody" else {403, 404} if personal else {403}
                assert answers[0].status in expected, where
                assert answers[0].status == answers[1].status, where
                assert answers[0].body["code"] == answers[1].body["code"], "it tells whether the id exists"
                tried.add(names[0])
    assert tried >= target.ids.keys()
    assert target.state() == before


def test_an_agent_brings_samples_and_asks_for_progress_of_its_own_host_only(target: Target) -> None:
    """The id in the body or the spool's id of another host does not help: the credential says whose it is."""
    from functions.ingest.handler import handler as ingest

    verdict = as_agent(target.other_host, target.other_credential)
    target.gateway.container.adapters.hosts.record_stored(target.host, "spool-of-victim", 41, 0, "0.1.0")
    path = "/api/v1/metrics/batches/progress"
    event = http_event("GET", path, query={"spool_id": "spool-of-victim"}, verdict=verdict)
    assert target.gateway.send(event, ingest).body["stored_through"] == 0
    renewed = target.send("POST", "/api/v1/agents/credential", verdict, body={"host_id": target.host})
    assert renewed.body["host_id"] == target.other_host
