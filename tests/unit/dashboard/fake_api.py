"""A double of the back end for the dashboard's tests: the same routes and shapes, eight made-up hosts, no database.

``FakeApi.respond`` answers requests in process (for ``httpx.MockTransport``); ``fake_server`` puts it on a port.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from tests.unit.dashboard import fake_admin, fake_anomalies, fake_forecasts, fake_incidents, fake_metrics
from tests.unit.dashboard.fake_metrics import METRICS, wave
from tests.unit.dashboard.fake_shapes import CHANGERS, HOUR, NAMES, PASSWORD, PEOPLE, Call, problem, rfc3339

_GUEST = {"hosts:read", "preferences:own"}
_VIEWER = _GUEST | {
    "metrics:read",
    "incidents:read",
    "anomalies:read",
    "forecasts:read",
    "forecasts:run",
    "rules:read",
    "notifications:own",
    "tokens:own",
}
_OPERATOR = _VIEWER | {
    "hosts:write",
    "incidents:write",
    "rules:write",
    "config:write",
    "channels:read",
    "deliveries:read",
    "deliveries:redrive",
    "health:read",
    "anomalies:feedback",
    "analysis:run",
    "silences:write",
}
_ADMIN = _OPERATOR | {
    "users:manage",
    "agents:manage",
    "tokens:manage",
    "audit:read",
    "channels:write",
    "scan:read",
}
PERMISSIONS = {"admin": _ADMIN, "operator": _OPERATOR, "viewer": _VIEWER, "guest": _GUEST}


class FakeApi:
    """The state of the pretended back end. ``now`` returns epoch milliseconds."""

    def __init__(
        self, *, now: Callable[[], int] | None = None, hosts: int = len(NAMES), interval_s: float = 5.0
    ):
        self.now = now or (lambda: int(time.time() * 1000))
        self.started = self.now()
        self.interval_s = interval_s
        self.requests: list[tuple[str, str]] = []
        self.queries: list[tuple[str, list[tuple[str, str]]]] = []
        self.tried: dict[str, Any] | None = None
        self.held: set[str] = set()
        self.waiting: set[str] = set()
        self.hosts = [self._host(index) for index in range(hosts)]
        self.default_interval_s = interval_s
        self.tokens: dict[str, str] = {}
        self.refreshes: dict[str, str] = {}
        self.spent: set[str] = set()
        self.tickets: dict[str, str] = {}
        self.preferences: dict[str, dict[str, Any]] = {}
        self.incidents = [fake_incidents.made(self, 0)] if hosts > 2 else []
        if hosts > 4:
            self.incidents.append(fake_incidents.made(self, 1))
            self.incidents.append(fake_incidents.made(self, 2))
        self.notifications = [
            {
                "id": f"ntf_{i:03d}",
                "title": incident["title"],
                "body": f"Opened on {incident['host_name']}.",
                "severity": incident["severity"],
                "kind": "incident.opened",
                "incident_id": incident["id"],
                "created_at": incident["opened_at"],
                "read_at": None if i < 2 else incident["opened_at"] + 60_000,
            }
            for i, incident in enumerate(self.incidents)
        ]
        self.anomalies = fake_anomalies.made(self.started, hosts)
        self.detectors: list[dict[str, str]] = [
            {"metric": "load.*", "detector": "lof"},
            {"metric": "net.*", "detector": "isolation_forest"},
            {"metric": "swap.*", "detector": "off"},
        ]
        self.behind_s = 20.0
        self.asked_forecast: dict[str, Any] = {}
        self.asked_token: dict[str, Any] = {}
        self.forecasts_ready = False
        self.outlook: dict[str, Any] = {}
        self.changes: list[tuple[str, Any]] = []
        self.lists = {
            **fake_admin.lists(self.started),
            "tokens": fake_admin.api_tokens(self.started),
            "scans": fake_admin.scans(self.started),
        }
        self.findings = fake_admin.findings()
        self.pushed: dict[str, list[dict[str, Any]]] = {}
        self.listeners: list[Callable[[dict[str, Any]], None]] = []
        self.failing: dict[str, tuple[int, dict[str, Any]]] = {}
        self.cut: Callable[[], None] = lambda: None
        self.refuse_sockets = False
        self.retry_after_s = 0
        self.ws_url = "ws://127.0.0.1:9/"

    # -- made-up things --------------------------------------------------------------------------------------

    def _host(self, index: int) -> dict[str, Any]:
        name = NAMES[index % len(NAMES)]
        silent = name == "edge-fra"
        return {
            "id": f"host_{index:03d}",
            "name": name,
            "status": "silent" if silent else "live",
            "labels": {"env": "prod" if index < 6 else "dev", "role": name.split("-")[0]},
            "os": "Debian 12",
            "agent_version": "0.1.0",
            "last_seen_at": self.started - (11 * 60_000 if silent else 1500),
            "interval_s": self.interval_s,
            "interval_overridden": False,
            "may_be_off": False,
            "facts": {"cpus": 4, "memory_bytes": 16 * 2**30, "kernel": "6.1.0-28-amd64"},
        }

    def _with_latest(self, host: dict[str, Any]) -> dict[str, Any]:
        index = int(host["id"].rsplit("_", 1)[1])
        at = self.now()
        names = ("cpu.percent", "memory.used_percent", "disk.used_percent", "load.1m")
        latest = {name: round(wave(index, name, at), 2) for name in names}
        if host["status"] != "silent":
            host["last_seen_at"] = at - 1500
        opened = sum(i["host_id"] == host["id"] and i["state"] != "resolved" for i in self.incidents)
        return {**host, "latest": latest, "open_incidents": opened}

    # -- requests --------------------------------------------------------------------------------------------

    def transport(self) -> httpx.MockTransport:
        """Return this API as an httpx transport."""

        def answer(request: httpx.Request) -> httpx.Response:
            body = json.loads(request.content) if request.content else None
            status, content, headers = self.respond(
                request.method,
                request.url.path,
                [(k, v) for k, v in request.url.params.multi_items()],
                body,
                request.headers,
            )
            return httpx.Response(status, json=content, headers=headers)

        return httpx.MockTransport(answer)

    def respond(
        self,
        method: str,
        path: str,
        params: list[tuple[str, str]],
        body: Any,
        headers: Mapping[str, str],
    ) -> tuple[int, Any, dict[str, str]]:
        """Return (status, JSON, headers) for one request; the choice of detectors has an ETag."""
        tagged = path == "/api/v1/anomalies/detectors"
        wanted = headers.get("if-match")
        if tagged and wanted is not None and wanted != fake_anomalies.tag(self):
            status, content = problem(412, "somebody changed it first: read it again and repeat the change")
        else:
            status, content = self.handle(method, path, params, body, headers.get("authorization", ""))
        if status >= 400:
            return status, content, self._problem_headers()
        return status, content, {"etag": fake_anomalies.tag(self)} if tagged else {}

    def _problem_headers(self) -> dict[str, str]:
        waits = {"retry-after": str(self.retry_after_s)} if self.retry_after_s else {}
        return {"content-type": "application/problem+json", **waits}

    def handle(
        self, method: str, path: str, params: list[tuple[str, str]], body: Any, authorization: str
    ) -> tuple[int, Any]:
        """Return (status, JSON) for one request."""
        self.requests.append((method, path))
        self.queries.append((path.removeprefix("/api/v1"), params))
        route = f"{method} {path.removeprefix('/api/v1')}"
        if route in self.failing:
            return self.failing[route]
        if route in {"POST /auth/login", "POST /auth/oidc"}:
            return self._log_in(body) if "email" in body else self._identity(body["id_token"])
        if route in {
            "POST /auth/invitations/accept",
            "PUT /auth/password-reset",
            "POST /auth/password-reset",
        }:
            return self._letter(route, body)
        if route == "POST /auth/refresh":
            email = self.refreshes.pop(body["refresh_token"], None)
            return (200, self._issue(email)) if email else problem(401, "That refresh token is not valid.")
        email = self.tokens.get(authorization.removeprefix("Bearer "))
        if email is None:
            return problem(401, "Sign in first.")
        return self._answer(route, params, body, PEOPLE[email])

    def _letter(self, route: str, body: Any) -> tuple[int, Any]:
        if body.get("token", "good") != "good":
            return problem(401, "The link is not valid.")
        self.changes.append((route, body))
        return (200, self._issue("viewer@example.org")) if "invitations" in route else (204, None)

    def _log_in(self, body: Any) -> tuple[int, Any]:
        if body.get("email") in PEOPLE and body.get("password") == PASSWORD:
            return 200, self._issue(body["email"])
        return problem(401, "The e-mail address or the password is wrong.")

    def _identity(self, id_token: str) -> tuple[int, Any]:
        """Admit the person whose e-mail address the token is, as if a provider had signed it."""
        if id_token in self.spent:
            status, body = problem(401, "this identity token was used before")
            return status, {**body, "code": "sso_spent"}
        self.spent.add(id_token)
        if id_token in PEOPLE:
            return 200, self._issue(id_token)
        return problem(401, "this person has no role here")

    def _issue(self, email: str) -> dict[str, Any]:
        access, refresh = f"acc_{random.random()}", f"ref_{random.random()}"
        self.tokens[access] = email
        self.refreshes[refresh] = email
        return {"access_token": access, "expires_in": 900, "refresh_token": refresh, "user": PEOPLE[email]}

    def _answer(
        self, route: str, params: list[tuple[str, str]], body: Any, user: dict[str, Any]
    ) -> tuple[int, Any]:
        method, _, path = route.partition(" /")
        for pattern, answer in ROUTES.items():
            wanted, _, shape = pattern.partition(" /")
            found = re.fullmatch(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", shape), path)
            if wanted == method and found:
                return answer(self, Call(params, body, user, found.groupdict(), route))
        return problem(404, f"There is no {route}.")

    def _hosts(self, call: Call) -> tuple[int, Any]:
        return 200, {"items": [self._with_latest(h) for h in self.hosts], "next_cursor": None}

    def _host_by_id(self, call: Call) -> tuple[int, Any]:
        host = next((h for h in self.hosts if h["id"] == call.names["id"]), None)
        if host is None:
            return problem(404, "There is no such host.")
        if call.body:
            if call.user["role"] not in CHANGERS:
                return problem(403, "Your role may not change hosts.")
            host.update(call.body, interval_overridden=call.body.get("interval_s") is not None)
            host["interval_s"] = host["interval_s"] or self.default_interval_s
        return 200, self._with_latest(host)

    def _config(self, call: Call) -> tuple[int, Any]:
        if call.body:
            if call.user["role"] not in CHANGERS:
                return problem(403, "Your role may not change the configuration.")
            self.default_interval_s = call.body["default_interval_s"]
            for host in self.hosts:
                host["interval_s"] = self.default_interval_s
        return 200, {"default_interval_s": self.default_interval_s}

    def _list_notifications(self, call: Call) -> tuple[int, Any]:
        unread = sum(n["read_at"] is None for n in self.notifications)
        return 200, {"items": self.notifications, "unread": unread, "next_cursor": None}

    def _mark_read(self, call: Call) -> tuple[int, Any]:
        for item in self.notifications:
            if call.names.get("id") in {None, item["id"]}:
                item["read_at"] = item["read_at"] or self.now()
        return 204, None

    def _get_preferences(self, call: Call) -> tuple[int, Any]:
        return 200, self._preferences(call.user)

    def _put_preferences(self, call: Call) -> tuple[int, Any]:
        if "@" not in call.body.get("email", ""):
            return problem(422, "The input does not fit.", [{"loc": "email", "msg": "not an e-mail address"}])
        extra = set(call.body) - {"email", "channels", "min_severity", "timezone"}
        if extra:
            return problem(
                422, "The input does not fit.", [{"loc": f"body.{extra.pop()}", "msg": "unknown field"}]
            )
        self.preferences[call.user["id"]] = call.body
        return 200, call.body

    def _listed(self, call: Call) -> tuple[int, Any]:
        """Answer with a page: the cursor is how many came before."""
        asked, items = dict(call.params), self.lists[call.names["list"]]
        start = int(asked.get("cursor", 0))
        end = start + int(asked.get("limit", len(items) + 1))
        return 200, {"items": items[start:end], "next_cursor": str(end) if end < len(items) else None}

    def _noted(self, call: Call) -> tuple[int, Any]:
        """Take any other change: the test looks at ``changes``."""
        self.changes.append((call.route, call.body))
        answers = {
            "link": "https://dash.test/?reset=abc",
            "install": "install-me",
            "install_without_curl": "install-me-too",
            "mailed": False,
            "delivered": True,
            "token": "fwt_0123456789abcdef_shown-once",
        }
        return 200, {**(call.body or {}), **answers, "id": "new"}

    def _enrolment_token(self, call: Call) -> tuple[int, Any]:
        self.asked_token = call.body
        line = "curl -fsS …/install.sh | sh -s -- fwe_0123456789abcdef"
        return 201, {
            "id": "enr_1",
            "token": "fwe_0123456789abcdef",
            "expires_at": rfc3339(self.now() + HOUR),
            "install": line,
            "install_without_curl": "python3 -c '…' | FARWATCH_AGENT_TOKEN=fwe_0123456789abcdef sh",
        }

    def _me(self, call: Call) -> tuple[int, Any]:
        held = sorted(PERMISSIONS[call.user["role"]])
        scopes = [one for one in held if not one.endswith((":own", "users:manage", "tokens:manage"))]
        return 200, {**call.user, "permissions": held, "token_scopes": scopes}

    def _ticket(self, call: Call) -> tuple[int, Any]:
        ticket = f"tkt_{random.random()}"
        self.tickets[ticket] = call.user["id"]
        return 201, {"ticket": ticket, "expires_in": 60, "url": self.ws_url}

    def _events(self, call: Call) -> tuple[int, Any]:
        given = dict(call.params)
        kept = self.pushed.get(given["topic"], [])
        return 200, {"items": [m for m in kept if m["seq"] > int(given.get("after", 0))]}

    def _no_content(self, call: Call) -> tuple[int, Any]:
        return 204, None

    def _health(self, call: Call) -> tuple[int, Any]:
        parts = [
            {"name": n, "status": "ok", "milliseconds": 1.5, "detail": ""} for n in ("postgres", "redis")
        ]
        return 200, {"status": "ok", "parts": parts}

    def _preferences(self, user: dict[str, Any]) -> dict[str, Any]:
        default = {
            "email": user["email"],
            "channels": {"email": True, "slack": False, "pagerduty": False, "in_app": True},
            "min_severity": "warning",
            "timezone": None,
            "slack_webhook_url": None,
            "pagerduty_routing_key": None,
        }
        return self.preferences.get(user["id"], default)

    # -- pushes ----------------------------------------------------------------------------------------------

    def push(self, topic: str, kind: str, data: dict[str, Any]) -> None:
        """Push one message to everybody connected."""
        kept = self.pushed.setdefault(topic, [])
        seq = kept[-1]["seq"] + 1 if kept else 1
        message = {
            "v": 1,
            "seq": seq,
            "topic": topic,
            "type": kind,
            "id": f"{topic}-{seq}",
            "at": self.now(),
            "data": data,
        }
        kept.append(message)
        del kept[:-200]
        for listener in list(self.listeners):
            listener(message)

    def push_batches(self) -> None:
        """Push one batch of samples for every live host, as ``process`` does."""
        at = self.now()
        for index, host in enumerate(self.hosts):
            if host["status"] == "silent":
                continue
            values = {m[0]: wave(index, m[0], at) for m in METRICS}
            series = [{"metric": m[0], "labels": m[4], "values": [values[m[0]]]} for m in METRICS]
            self.push(
                f"host:{host['id']}", "samples", {"host_id": host["id"], "times": [at], "series": series}
            )
            key = ("cpu.percent", "memory.used_percent", "disk.used_percent", "load.1m")
            short = [{"metric": k, "labels": {}, "values": [values[k]]} for k in key]
            self.push(
                "fleet", "samples", {"host_id": host["id"], "status": "live", "times": [at], "series": short}
            )


ROUTES: dict[str, Callable[[FakeApi, Call], tuple[int, Any]]] = {
    "GET /hosts": FakeApi._hosts,
    "GET /hosts/{id}": FakeApi._host_by_id,
    "PATCH /hosts/{id}": FakeApi._host_by_id,
    "GET /config": FakeApi._config,
    "PATCH /config": FakeApi._config,
    "GET /metrics": fake_metrics.catalogue,
    "GET /metrics/series": fake_metrics.series,
    "GET /metrics/range": fake_metrics.metric_range,
    **fake_anomalies.ROUTES,
    "POST /predictions": fake_forecasts.forecast,
    "GET /predictions/accuracy": fake_forecasts.accuracy,
    "GET /predictions/capacity": fake_forecasts.outlooks,
    "GET /predictions/{id}": fake_forecasts.forecast,
    "GET /incidents": fake_incidents.incidents,
    "GET /incidents/{id}": fake_incidents.one_incident,
    "POST /incidents/{id}/{verb}": fake_incidents.change_incident,
    "GET /notifications": FakeApi._list_notifications,
    "POST /notifications/read": FakeApi._mark_read,
    "POST /notifications/{id}/read": FakeApi._mark_read,
    "GET /preferences": FakeApi._get_preferences,
    "PUT /preferences": FakeApi._put_preferences,
    "POST /enrolment-tokens": FakeApi._enrolment_token,
    "POST /ws-tickets": FakeApi._ticket,
    "GET /events": FakeApi._events,
    "GET /auth/me": FakeApi._me,
    "POST /auth/logout": FakeApi._no_content,
    "GET /health": FakeApi._health,
    "GET /auth/{list}": FakeApi._listed,
    "GET /scans": fake_admin.list_scans,
    "GET /scans/{id}": fake_admin.one_scan,
    "GET /scans/{id}/findings": fake_admin.list_findings,
    "GET /scans/{id}/report": fake_admin.one_scan,
    "GET /rules/{id}": fake_admin.one_rule,
    "POST /rules/preview": fake_admin.preview,
    "GET /{list}": FakeApi._listed,
    "POST /.*": FakeApi._noted,
    "PUT /.*": FakeApi._noted,
    "PATCH /.*": FakeApi._noted,
    "DELETE /.*": FakeApi._noted,
}
