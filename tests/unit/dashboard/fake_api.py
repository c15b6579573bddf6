"""A double of the back end for the dashboard's tests: the same routes and shapes, eight made-up hosts, no database.

``FakeApi.handle`` answers requests in process (for ``httpx.MockTransport``); ``serve`` puts it on a port with a real
WebSocket that pushes a batch per host every ``interval_s`` seconds, for browser tests and for working on the pages.
Run it by hand: ``python -m tests.unit.dashboard.fake_api 18901`` and sign in as admin@example.org / farwatch-demo.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from tests.unit.dashboard import fake_anomalies
from tests.unit.dashboard.fake_admin import api_tokens, findings, scans

NAMES = ["web-1", "web-2", "web-3", "db-primary", "db-replica", "cache-1", "build-7", "edge-fra"]
PASSWORD = "farwatch-demo"
PEOPLE = {
    f"{role}@example.org": {
        "id": f"user_{role}",
        "email": f"{role}@example.org",
        "name": role.title(),
        "role": role,
    }
    for role in ("admin", "operator", "viewer", "guest")
}
METRICS: list[tuple[str, str, str, list[float | None], dict[str, str]]] = [
    ("cpu.percent", "%", "CPU in use, all cores", [0, 100], {}),
    ("cpu.iowait_percent", "%", "CPU waiting for disks", [0, 100], {}),
    ("load.1m", "", "Runnable processes, one minute", [0, None], {}),
    ("memory.used_percent", "%", "Memory in use", [0, 100], {}),
    ("memory.available_bytes", "B", "Memory left", [0, None], {}),
    ("swap.used_percent", "%", "Swap in use", [0, 100], {}),
    ("disk.used_percent", "%", "File system in use", [0, 100], {"mount": "/"}),
    ("disk.used_percent", "%", "File system in use", [0, 100], {"mount": "/var"}),
    ("disk.read_bytes_per_second", "B/s", "Read from disk", [0, None], {"device": "sda"}),
    ("disk.write_bytes_per_second", "B/s", "Written to disk", [0, None], {"device": "sda"}),
    ("net.bytes_received_per_second", "B/s", "Received", [0, None], {"interface": "eth0"}),
    ("net.bytes_sent_per_second", "B/s", "Sent", [0, None], {"interface": "eth0"}),
]
HOUR = 3_600_000
CHANGERS = {"admin", "operator"}
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


def _wave(host: int, metric: str, at: int) -> float:
    """Return a value with a daily rhythm, a little noise and a busy web-3, the same for the same arguments."""
    day = math.sin(2 * math.pi * (at / (24 * HOUR) + host * 0.07))
    noise = math.sin(at / 7919 + host * 3) * 0.5 + math.sin(at / 1597 + host) * 0.5
    busy = 45.0 if host == 2 and (at // 1000) % 1800 > 1500 else 0.0
    known = {
        "cpu.percent": min(100.0, max(1.0, 24 + 14 * day + 5 * noise + busy + 4 * (host % 3))),
        "cpu.iowait_percent": abs(2 + 2 * noise),
        "load.1m": max(0.02, 0.8 + 0.5 * day + 0.2 * noise + busy / 12),
        "memory.used_percent": 48 + 6 * host * 0.9 + 3 * day + noise,
        "memory.available_bytes": (8.0 + day) * 2**30,
        "swap.used_percent": 1.0,
        "disk.used_percent": min(97.0, 38 + 8.0 * host + ((at % (24 * HOUR)) / (24 * HOUR)) * 1.5),
    }
    return known.get(
        metric, abs(2e6 * (1.2 + day) * (1 + 0.4 * noise) * (1 + host / 4) * (1 + len(metric) % 3))
    )


@dataclass
class Call:
    """One authorised request: its query, JSON body, caller and the names in its path."""

    params: list[tuple[str, str]]
    body: Any
    user: dict[str, Any]
    names: dict[str, str]
    route: str = ""


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
        self.incidents = [self._incident(0)] if hosts > 2 else []
        if hosts > 4:
            self.incidents.append(self._incident(1))
            self.incidents.append(self._incident(2))
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
        self.changes: list[tuple[str, Any]] = []
        self.lists = {
            **_lists(self.started),
            "tokens": api_tokens(self.started),
            "scans": scans(self.started),
        }
        self.findings = findings()
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

    def _incident(self, index: int) -> dict[str, Any]:
        opened = self.started - [12 * 60_000, 11 * 60_000, 5 * HOUR][index]
        host = self.hosts[[2, len(self.hosts) - 1, 3][index]]
        title = [
            f"CPU 97 % on {host['name']} for 2 min: stress (pid 4242) uses 93 %",
            f"{host['name']} has been silent for 11 min",
            f"Disk /var 91 % on {host['name']}, full in about 31 h",
        ][index]
        return {
            "id": f"inc_{index:03d}",
            "state": ["open", "open", "resolved"][index],
            "severity": ["critical", "high", "warning"][index],
            "title": title,
            "host_id": host["id"],
            "host_name": host["name"],
            "opened_at": opened,
            "updated_at": opened + 60_000,
            "acknowledged_at": None,
            "acknowledged_by": None,
            "resolved_at": opened + HOUR if index == 2 else None,
            "version": 1,
            "signals": [
                {
                    "source": "rule_cpu_high",
                    "metric": "cpu.percent",
                    "labels": {},
                    "severity": "critical",
                    "state": "firing",
                    "value": 97.2,
                    "unit": "%",
                    "started_at": opened,
                    "reason": "CPU has been above 90 % for 2 minutes.",
                }
            ],
            "timeline": [
                {"at": opened, "kind": "opened", "actor": "system", "text": title},
                {
                    "at": opened + 2000,
                    "kind": "delivered",
                    "actor": "system",
                    "text": "E-mail to admin@example.org",
                },
            ],
            "evidence": {
                "top_processes": [
                    {"pid": 4242, "name": "stress", "cpu_percent": 93.0, "rss_bytes": 12_000_000},
                    {
                        "pid": 812,
                        "name": "[link](http://evil) <b>nginx</b>",
                        "cpu_percent": 3.1,
                        "rss_bytes": 54_000_000,
                    },
                ]
            },
            "deliveries": [
                {"channel": "email", "recipient": "admin@example.org", "status": "sent", "at": opened + 2000}
            ],
            "suggested_fixes": [
                "Look at the busiest processes below and ask their owner.",
                "Lower its priority: renice +10 -p 4242.",
            ],
        }

    def _with_latest(self, host: dict[str, Any]) -> dict[str, Any]:
        index = int(host["id"].rsplit("_", 1)[1])
        at = self.now()
        names = ("cpu.percent", "memory.used_percent", "disk.used_percent", "load.1m")
        latest = {name: round(_wave(index, name, at), 2) for name in names}
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
            status, content = _problem(412, "somebody changed it first: read it again and repeat the change")
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
            return (200, self._issue(email)) if email else _problem(401, "That refresh token is not valid.")
        email = self.tokens.get(authorization.removeprefix("Bearer "))
        if email is None:
            return _problem(401, "Sign in first.")
        return self._answer(route, params, body, PEOPLE[email])

    def _letter(self, route: str, body: Any) -> tuple[int, Any]:
        if body.get("token", "good") != "good":
            return _problem(401, "The link is not valid.")
        self.changes.append((route, body))
        return (200, self._issue("viewer@example.org")) if "invitations" in route else (204, None)

    def _log_in(self, body: Any) -> tuple[int, Any]:
        if body.get("email") in PEOPLE and body.get("password") == PASSWORD:
            return 200, self._issue(body["email"])
        return _problem(401, "The e-mail address or the password is wrong.")

    def _identity(self, id_token: str) -> tuple[int, Any]:
        """Admit the person whose e-mail address the token is, as if a provider had signed it."""
        if id_token in self.spent:
            status, body = _problem(401, "this identity token was used before")
            return status, {**body, "code": "sso_spent"}
        self.spent.add(id_token)
        if id_token in PEOPLE:
            return 200, self._issue(id_token)
        return _problem(401, "this person has no role here")

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
        return _problem(404, f"There is no {route}.")

    def _hosts(self, call: Call) -> tuple[int, Any]:
        return 200, {"items": [self._with_latest(h) for h in self.hosts], "next_cursor": None}

    def _host_by_id(self, call: Call) -> tuple[int, Any]:
        host = next((h for h in self.hosts if h["id"] == call.names["id"]), None)
        if host is None:
            return _problem(404, "There is no such host.")
        if call.body:
            if call.user["role"] not in CHANGERS:
                return _problem(403, "Your role may not change hosts.")
            host.update(call.body, interval_overridden=call.body.get("interval_s") is not None)
            host["interval_s"] = host["interval_s"] or self.default_interval_s
        return 200, self._with_latest(host)

    def _config(self, call: Call) -> tuple[int, Any]:
        if call.body:
            if call.user["role"] not in CHANGERS:
                return _problem(403, "Your role may not change the configuration.")
            self.default_interval_s = call.body["default_interval_s"]
            for host in self.hosts:
                host["interval_s"] = self.default_interval_s
        return 200, {"default_interval_s": self.default_interval_s}

    def _catalogue(self, call: Call) -> tuple[int, Any]:
        seen = {
            m[0]: {
                "name": m[0],
                "unit": m[1],
                "description": m[2],
                "bad": "high",
                "low": m[3][0],
                "high": m[3][1],
            }
            for m in METRICS
        }
        return 200, {"items": list(seen.values())}

    def _series(self, call: Call) -> tuple[int, Any]:
        return 200, {"items": [{"metric": m[0], "labels": m[4]} for m in METRICS]}

    def _incidents(self, call: Call) -> tuple[int, Any]:
        states = [v for k, v in call.params if k == "state"]
        host_id = dict(call.params).get("host_id")
        found = [
            i
            for i in self.incidents
            if (not states or i["state"] in states) and (host_id is None or i["host_id"] == host_id)
        ]
        return 200, {"items": found, "next_cursor": None}

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
            return _problem(
                422, "The input does not fit.", [{"loc": "email", "msg": "not an e-mail address"}]
            )
        extra = set(call.body) - {"email", "channels", "min_severity", "timezone"}
        if extra:
            return _problem(
                422, "The input does not fit.", [{"loc": f"body.{extra.pop()}", "msg": "unknown field"}]
            )
        self.preferences[call.user["id"]] = call.body
        return 200, call.body

    def _forecast(self, call: Call) -> tuple[int, Any]:
        if call.body is not None:
            self.asked_forecast = {**call.body, "made_at": self.now()}
            self.changes.append((call.route, call.body))
        asked = self.asked_forecast
        slow = asked["model"] in {"prophet", "arima"} and not self.forecasts_ready
        step, host = 600_000, int(asked["host_id"].rsplit("_", 1)[1])
        times = [asked["made_at"] + step * i for i in range(1, asked["horizon_s"] // 600 + 1)]
        middle = [_wave(host, asked["metric"], t) for t in times]
        spread = [2 + 8 * i / len(times) for i in range(len(times))]
        quantiles = [
            [max(0.0, min(100.0, m + s * f)) for f in (-1.5, -1.0, 0.0, 1.0, 1.5)]
            for m, s in zip(middle, spread, strict=True)
        ]
        return 202 if slow else 200, {
            **asked,
            "id": "fc_1",
            "unit": "%",
            "state": "pending" if slow else "ready",
            "error": "",
            "levels": [0.025, 0.1, 0.5, 0.9, 0.975],
            "times": [] if slow else times,
            "quantiles": [] if slow else quantiles,
            "score": None,
        }

    def _accuracy(self, call: Call) -> tuple[int, Any]:
        judged = {"relative_pinball": 0.5, "cover80": 0.812, "cover95": 0.94}
        return 200, {
            "items": [
                {"model": "default", "forecasts": 12, "relative_mae": 0.71, **judged},
                {"model": "moving_average", "forecasts": 3, "relative_mae": 1.31, **judged},
            ]
        }

    def _outlooks(self, call: Call) -> tuple[int, Any]:
        soon = {
            "metric": "disk.used_percent",
            "labels": {"mount": "/var"},
            "unit": "%",
            "at": self.now(),
            "threshold": 95.0,
        }
        full = {
            **soon,
            "host_id": "host_003",
            "current": 91.2,
            "per_day": 3.1,
            "median_s": 111_600.0,
            "low_s": 93_600.0,
            "high_s": 158_400.0,
            "alert": "warning",
            "words": "disk /var on db-primary is full in 31 h, between 26 and 44 h, at the last day's rate",
        }
        unsure = {**full, "median_s": 14_400.0, "low_s": 900.0, "high_s": 90_000.0, "alert": None}
        later = {**full, "median_s": 950_400.0, "low_s": 864_000.0, "high_s": 1_036_800.0, "alert": None}
        never = {
            **soon,
            "host_id": "host_000",
            "current": 39.0,
            "per_day": 0.0,
            "median_s": None,
            "low_s": None,
            "high_s": None,
            "alert": None,
            "words": "disk /var is not filling",
        }
        return 200, {"items": [full, unsure, later, never] if len(self.hosts) > 3 else []}

    def _listed(self, call: Call) -> tuple[int, Any]:
        """Answer with a page: the cursor is how many came before."""
        asked, items = dict(call.params), self.lists[call.names["list"]]
        start = int(asked.get("cursor", 0))
        end = start + int(asked.get("limit", len(items) + 1))
        return 200, {"items": items[start:end], "next_cursor": str(end) if end < len(items) else None}

    def _scans(self, call: Call) -> tuple[int, Any]:
        asked = dict(call.params)
        found = [one for one in self.lists["scans"] if asked.get("target") in {None, one["target"]}]
        if asked.get("newest") == "true":
            found = [
                one for i, one in enumerate(found) if one["target"] not in {o["target"] for o in found[:i]}
            ]
        return 200, {"items": found, "next_cursor": None}

    def _scan(self, call: Call) -> tuple[int, Any]:
        scan = next((one for one in self.lists["scans"] if one["id"] == call.names["id"]), None)
        if scan is None:
            return _problem(404, "there is no such scan")
        return 200, {**scan, "rules": {"sql-format": 1, "secret-provider": 1}}

    def _findings(self, call: Call) -> tuple[int, Any]:
        asked = {name: [value for key, value in call.params if key == name] for name, _ in call.params}
        change = asked.get("change")
        found = [
            one
            for one in self.findings
            if (one["change"] in change if change else one["change"] != "fixed")
            and one["severity"] in asked.get("severity", one["severity"])
            and one["rule"] in asked.get("rule", one["rule"])
        ]
        return 200, {"items": found, "next_cursor": None}

    def _one_rule(self, call: Call) -> tuple[int, Any]:
        return 200, next(rule for rule in self.lists["rules"] if rule["id"] == call.names["id"])

    def _preview(self, call: Call) -> tuple[int, Any]:
        """Answer with two firings of the rule's metric, unless the test said what is to be answered."""
        self.changes.append((call.route, call.body))
        end = call.body["to"]
        like = {"value": 96.4, "flaps": 0}
        firings = [
            {**like, "began_at": end - 5 * HOUR, "fired_at": end - 4 * HOUR, "resolved_at": end - 3 * HOUR},
            {**like, "began_at": end - HOUR, "fired_at": end - HOUR // 2, "resolved_at": None},
        ]
        group = {"metric": call.body["rule"]["conditions"][0]["metric"], "labels": {}, "firings": firings}
        return 200, self.tried or {"applies": False, "step_s": 0, "samples": 17_280, "groups": [group]}

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
            "expires_at": _rfc3339(self.now() + HOUR),
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

    def _range(self, call: Call) -> tuple[int, Any]:
        params, given = call.params, dict(call.params)
        start, end, points = (
            int(given["from"]),
            min(int(given["to"]), self.now()),
            int(given.get("points", 600)),
        )
        raw = int(self.interval_s * 1000)
        span = end - start
        tier, step = (
            ("raw", raw) if span <= 2 * HOUR else ("1m", 60_000) if span <= 48 * HOUR else ("1h", HOUR)
        )
        step = max(step, math.ceil(span / points / step) * step)
        times = list(range(start - start % step + step, end, step))
        if tier == "1m":  # an hour without the agent: gaps must look like gaps
            times = [t for t in times if not 2 * HOUR < self.started - t < 2.6 * HOUR]
        series = []
        wanted_hosts = [v for k, v in params if k == "host_id"]
        wanted = [v for k, v in params if k == "metric"]
        for host_id in wanted_hosts:
            index = int(host_id.rsplit("_", 1)[1])
            silent_since = (
                self.hosts[index]["last_seen_at"] if self.hosts[index]["status"] == "silent" else None
            )
            for name, unit, _, _, labels in METRICS:
                if name in wanted:
                    kept = [t for t in times if silent_since is None or t <= silent_since]
                    series.append(
                        {
                            "host_id": host_id,
                            "metric": name,
                            "labels": labels,
                            "unit": unit,
                            "times": kept,
                            "values": [round(_wave(index, name, t), 3) for t in kept],
                        }
                    )
        return 200, {"tier": tier, "step_s": step / 1000, "series": series}

    def _one_incident(self, call: Call) -> tuple[int, Any]:
        found = next((i for i in self.incidents if i["id"] == call.names["id"]), None)
        return (200, found) if found else _problem(404, "There is no such incident.")

    def _change_incident(self, call: Call) -> tuple[int, Any]:
        if call.user["role"] not in CHANGERS:
            return _problem(403, "Your role may not change incidents.")
        status, incident = self._one_incident(call)
        if status != 200:
            return status, incident
        verb, at, email = call.names["verb"], self.now(), call.user["email"]
        if verb == "acknowledge":
            incident.update(state="acknowledged", acknowledged_at=at, acknowledged_by=email)
        elif verb == "resolve":
            incident.update(state="resolved", resolved_at=at)
        text = call.body.get("text") or call.body.get("note") or f"{verb}d"
        incident["timeline"].append({"at": at, "kind": verb.rstrip("s"), "actor": email, "text": text})
        self.push(
            "incidents", "incident.updated", {"incident_id": incident["id"], "title": incident["title"]}
        )
        return 200, incident

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
            values = {m[0]: _wave(index, m[0], at) for m in METRICS}
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
    "GET /metrics": FakeApi._catalogue,
    "GET /metrics/series": FakeApi._series,
    "GET /metrics/range": FakeApi._range,
    **fake_anomalies.ROUTES,
    "POST /predictions": FakeApi._forecast,
    "GET /predictions/accuracy": FakeApi._accuracy,
    "GET /predictions/capacity": FakeApi._outlooks,
    "GET /predictions/{id}": FakeApi._forecast,
    "GET /incidents": FakeApi._incidents,
    "GET /incidents/{id}": FakeApi._one_incident,
    "POST /incidents/{id}/{verb}": FakeApi._change_incident,
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
    "GET /scans": FakeApi._scans,
    "GET /scans/{id}": FakeApi._scan,
    "GET /scans/{id}/findings": FakeApi._findings,
    "GET /scans/{id}/report": FakeApi._scan,
    "GET /rules/{id}": FakeApi._one_rule,
    "POST /rules/preview": FakeApi._preview,
    "GET /{list}": FakeApi._listed,
    "POST /.*": FakeApi._noted,
    "PUT /.*": FakeApi._noted,
    "PATCH /.*": FakeApi._noted,
    "DELETE /.*": FakeApi._noted,
}


def _lists(now: int) -> dict[str, list[dict[str, Any]]]:
    """Return what the pages that manage things list, one or two of each."""
    at = _rfc3339(now - HOUR)
    person = {"created_at": at, "last_login_at": at, "disabled": False, "has_password": True, "version": 1}
    condition = {
        "metric": "cpu.percent",
        "comparison": "above",
        "enter": 90.0,
        "leave": 85.0,
        "measure": "value",
    }
    agent = {"agent_version": "0.1.0", "enrolled_at": at, "last_seen_at": at, "retired_at": None}
    delivery = {
        "incident_id": "inc_000",
        "event_kind": "incident.opened",
        "channel": "email",
        "at": now,
        "error": "",
    }
    return {
        "users": [{**PEOPLE[email], **person} for email in PEOPLE],
        "invitations": [
            {
                "id": "inv_1",
                "email": "new@example.org",
                "name": "New",
                "role": "viewer",
                "invited_by": "user_admin",
                "created_at": at,
                "expires_at": _rfc3339(now + HOUR),
            }
        ],
        "agents": [
            {
                **agent,
                "host_id": f"host_{i:03d}",
                "name": name,
                "clone_suspected_at": None,
                "credential_id": "ab",
                "credential_issued_at": at,
                "credential_last_used_at": at,
            }
            for i, name in enumerate(NAMES)
        ],
        "enrolment-tokens": [],
        "rules": [
            {
                "id": "rule_cpu",
                "name": "CPU is busy",
                "conditions": [{**condition, "window_s": 0.0}],
                "severity": "warning",
                "for_s": 300.0,
                "keep_firing_for_s": 60.0,
                "host_labels": {},
                "series_labels": {},
                "summary": "",
                "enabled": True,
                "stock": True,
            },
            {
                "id": "rule_disk",
                "name": "Disk is filling",
                "conditions": [{**condition, "metric": "disk.used_percent", "window_s": 0.0}],
                "severity": "critical",
                "for_s": 0.0,
                "keep_firing_for_s": 60.0,
                "host_labels": {},
                "series_labels": {},
                "summary": "",
                "enabled": False,
                "stock": False,
            },
        ],
        "channels": [
            {
                "id": "chan_1",
                "kind": "slack",
                "name": "Team",
                "enabled": True,
                "min_severity": "warning",
                "health": "failing",
                "health_at": now,
                "health_error": "channel_not_found",
                "created_at": now,
                "version": 1,
            }
        ],
        "deliveries": [
            {**delivery, "id": "dlv_1", "recipient": "Admin", "status": "delivered"},
            {**delivery, "id": "dlv_2", "recipient": "Team", "status": "dead", "error": "channel_not_found"},
        ],
        "audit": [
            {
                "seq": 7,
                "at": at,
                "actor_kind": "user",
                "actor_id": "user_admin",
                "action": "auth.login",
                "target": "user_admin",
                "outcome": "done",
                "address": "127.0.0.1",
                "user_agent": "x",
                "request_id": "r",
                "before": None,
                "after": {"a": 1},
                "detail": None,
                "hash": "0" * 64,
            }
        ],
        "sessions": [
            {
                "current": True,
                "created_at": at,
                "refreshed_at": at,
                "expires_at": at,
                "address": "127.0.0.1",
                "user_agent": "farwatch-dashboard",
            }
        ],
    }


def _rfc3339(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _problem(
    status: int, detail: str, errors: list[dict[str, str]] | None = None
) -> tuple[int, dict[str, Any]]:
    return status, {
        "type": "about:blank",
        "title": "Refused",
        "status": status,
        "detail": detail,
        "instance": "req-0000",
        "code": "test",
        "errors": errors or [],
    }


class _Server:
    """The ASGI side of the double."""

    def __init__(self, api: FakeApi) -> None:
        self.api = api
        self.sockets: set[tuple[WebSocket, asyncio.AbstractEventLoop]] = set()

    async def http(self, request: Request) -> Response:
        raw = await request.body()
        while request.url.path in self.api.held:
            self.api.waiting.add(request.url.path)
            await asyncio.sleep(0.02)
        status, content, headers = self.api.respond(
            request.method,
            request.url.path,
            list(request.query_params.multi_items()),
            json.loads(raw) if raw else None,
            request.headers,
        )
        return JSONResponse(content, status, headers) if status != 204 else Response(status_code=204)

    async def ws(self, socket: WebSocket) -> None:
        if (
            self.api.refuse_sockets
            or self.api.tickets.pop(socket.query_params.get("ticket", ""), None) is None
        ):
            await socket.close(4401)
            return
        await socket.accept()
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        topics: set[str] = set()

        def listen(message: dict[str, Any]) -> None:
            loop.call_soon_threadsafe(queue.put_nowait, message)

        async def send() -> None:
            while True:
                message = await queue.get()
                if message["topic"] in topics:
                    await socket.send_json(message)

        entry = (socket, loop)
        self.sockets.add(entry)
        self.api.listeners.append(listen)
        sender = asyncio.create_task(send())
        try:
            while True:
                frame = await socket.receive_json()
                if frame.get("action") == "subscribe":
                    topics.update(frame["topics"])
                    await self._replay(socket, frame)
        except (WebSocketDisconnect, RuntimeError):
            return
        finally:
            self.api.listeners.remove(listen)
            self.sockets.discard(entry)
            sender.cancel()

    async def _replay(self, socket: WebSocket, frame: dict[str, Any]) -> None:
        if "after" in frame:
            for topic in frame["topics"]:
                for message in self.api.pushed.get(topic, []):
                    if message["seq"] > frame["after"]:
                        await socket.send_json(message)

    def cut(self) -> None:
        """Close every socket."""
        for socket, loop in list(self.sockets):
            asyncio.run_coroutine_threadsafe(socket.close(1012), loop)


@contextmanager
def serve(api: FakeApi, port: int = 0, *, batch_every_s: float | None = 1.0) -> Iterator[str]:
    """Serve ``api`` over HTTP and WebSocket on loopback; give its base URL; stop at the end of the block."""
    parts = _Server(api)
    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    app = Starlette(
        routes=[Route("/api/v1/{rest:path}", parts.http, methods=methods), WebSocketRoute("/live", parts.ws)]
    )
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", ws="websockets-sansio")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise RuntimeError("the double of the API did not start")
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    api.ws_url = f"ws://127.0.0.1:{port}/live"
    api.cut = parts.cut
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(batch_every_s):
            api.push_batches()

    if batch_every_s:
        threading.Thread(target=beat, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        stop.set()
        server.should_exit = True
        thread.join(timeout=5)


if __name__ == "__main__":
    fleet = FakeApi(hosts=int(sys.argv[2]) if len(sys.argv) > 2 else len(NAMES))
    with serve(fleet, int(sys.argv[1])) as url:
        print(url, flush=True)
        threading.Event().wait()
