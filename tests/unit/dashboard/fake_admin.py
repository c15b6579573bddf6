"""What the administrator's pages list in the double of the API: people, rules, channels, API tokens, security scans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.unit.dashboard.fake_shapes import HOUR, NAMES, PEOPLE, Call, problem, rfc3339

if TYPE_CHECKING:
    from tests.unit.dashboard.fake_api import FakeApi

DAY = 86_400_000


def api_tokens(now: int) -> list[dict[str, Any]]:
    """Return one token of each kind: in use, ending soon, expired and revoked."""
    shared = {
        "owner_id": "user_admin",
        "created_at": rfc3339(now - 80 * DAY),
        "last_used_at": None,
        "revoked_at": None,
    }
    return [
        {
            **shared,
            "id": "00000000000000a1",
            "name": "grafana",
            "scopes": ["hosts:read", "metrics:read"],
            "expires_at": rfc3339(now + 60 * DAY),
            "last_used_at": rfc3339(now - 40_000),
        },
        {
            **shared,
            "id": "00000000000000a2",
            "name": "pipeline",
            "owner_id": "user_operator",
            "scopes": ["incidents:read"],
            "expires_at": rfc3339(now + 3 * DAY),
        },
        {
            **shared,
            "id": "00000000000000a3",
            "name": "old script",
            "scopes": ["hosts:read"],
            "expires_at": rfc3339(now - DAY),
        },
        {
            **shared,
            "id": "00000000000000a4",
            "name": "leaked",
            "scopes": ["rules:write"],
            "expires_at": rfc3339(now + 60 * DAY),
            "revoked_at": rfc3339(now - 2 * DAY),
        },
    ]


SCAN = "scan_0198c0ffee42d1a9b3c401"
_BEFORE = "scan_0198c0ffee42d1a9b3c400"
_KNOWN: list[tuple[str, str, str, int, str, str]] = [
    ("secret-provider", "critical", "deploy/settings.py", 12, 'aws_access_key_id = "AKIA…"', "new"),
    (
        "sql-format",
        "high",
        "shop/orders.py",
        88,
        "cursor.execute(f'SELECT * FROM orders WHERE id = {number}')",
        "open",
    ),
    (
        "crypto-tls-unverified",
        "medium",
        "shop/payment.py",
        7,
        "httpx.Client(verify=False)",
        "new",
    ),
    ("xss-inner-html", "medium", "web/cart.js", 31, "el.innerHTML = `<b>${name}</b>`;", "open"),
    ("crypto-weak-hash", "low", "tests/test_cart.py", 5, "hashlib.md5(text)", "open"),
]
_WHY = {
    "secret-provider": "A live credential is written into the source.",
    "sql-format": "Text from outside becomes part of an SQL statement.",
    "crypto-tls-unverified": "The other end of the connection can be anybody.",
    "xss-inner-html": "Text from outside becomes markup of the page.",
    "crypto-weak-hash": "Collisions of this hash can be made.",
}


def scans(now: int) -> list[dict[str, Any]]:
    """Return the scans: two of a shop, one of a clean tree."""
    counts = {"critical": 1, "high": 1, "medium": 2, "low": 1, "info": 0}
    shared = {"files": 241, "seconds": 8.4, "suppressed": 2, "skipped": 11, "left_out": 0}
    by = {"kind": "token", "id": "00000000000000a2"}
    shop = {**shared, "target": "shop", "published_by": by}
    return [
        {
            **shop,
            "id": SCAN,
            "received_at": rfc3339(now - 3_600_000),
            "counts": counts,
            "trend": {"previous_id": _BEFORE, "new": 2, "fixed": 1, "open": 3},
        },
        {
            **shared,
            "id": "scan_0198c0ffee42d1a9b3c402",
            "target": "farwatch",
            "published_by": {"kind": "system", "id": "system"},
            "received_at": rfc3339(now - 2 * DAY),
            "counts": dict.fromkeys(counts, 0),
            "trend": None,
        },
        {
            **shop,
            "id": _BEFORE,
            "received_at": rfc3339(now - DAY),
            "counts": {**counts, "critical": 0, "high": 2},
            "trend": None,
        },
    ]


def findings() -> list[dict[str, Any]]:
    """Return what the newest scan of the shop found, and what it no longer found."""
    found = [_finding(number, *row) for number, row in enumerate(_KNOWN)]
    gone = _finding(9, "sql-format", "high", "shop/basket.py", 40, "cursor.execute(query + name)", "fixed")
    return [*found, gone]


def _finding(
    number: int, rule: str, severity: str, file: str, line: int, snippet: str, change: str
) -> dict[str, Any]:
    return {
        "change": change,
        "rule": rule,
        "kind": "other",
        "severity": severity,
        "file": file,
        "line": line,
        "column": 1,
        "snippet": snippet,
        "why": _WHY[rule],
        "fix": "Pass values as parameters, and keep credentials out of the source.",
        "cwe": 89,
        "sources": ["bandit", "farwatch"],
        "fingerprint": f"{number:020x}",
    }


def lists(now: int) -> dict[str, list[dict[str, Any]]]:
    """Return what the pages that manage things list, one or two of each."""
    at = rfc3339(now - HOUR)
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
                "expires_at": rfc3339(now + HOUR),
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


def list_scans(api: FakeApi, call: Call) -> tuple[int, Any]:
    asked = dict(call.params)
    found = [one for one in api.lists["scans"] if asked.get("target") in {None, one["target"]}]
    if asked.get("newest") == "true":
        found = [one for i, one in enumerate(found) if one["target"] not in {o["target"] for o in found[:i]}]
    return 200, {"items": found, "next_cursor": None}


def one_scan(api: FakeApi, call: Call) -> tuple[int, Any]:
    scan = next((one for one in api.lists["scans"] if one["id"] == call.names["id"]), None)
    if scan is None:
        return problem(404, "there is no such scan")
    return 200, {**scan, "rules": {"sql-format": 1, "secret-provider": 1}}


def list_findings(api: FakeApi, call: Call) -> tuple[int, Any]:
    asked = {name: [value for key, value in call.params if key == name] for name, _ in call.params}
    change = asked.get("change")
    found = [
        one
        for one in api.findings
        if (one["change"] in change if change else one["change"] != "fixed")
        and one["severity"] in asked.get("severity", one["severity"])
        and one["rule"] in asked.get("rule", one["rule"])
    ]
    return 200, {"items": found, "next_cursor": None}


def one_rule(api: FakeApi, call: Call) -> tuple[int, Any]:
    return 200, next(rule for rule in api.lists["rules"] if rule["id"] == call.names["id"])


def preview(api: FakeApi, call: Call) -> tuple[int, Any]:
    """Answer with two firings of the rule's metric, unless the test said what is to be answered."""
    api.changes.append((call.route, call.body))
    end = call.body["to"]
    like = {"value": 96.4, "flaps": 0}
    firings = [
        {**like, "began_at": end - 5 * HOUR, "fired_at": end - 4 * HOUR, "resolved_at": end - 3 * HOUR},
        {**like, "began_at": end - HOUR, "fired_at": end - HOUR // 2, "resolved_at": None},
    ]
    group = {"metric": call.body["rule"]["conditions"][0]["metric"], "labels": {}, "firings": firings}
    return 200, api.tried or {"applies": False, "step_s": 0, "samples": 17_280, "groups": [group]}
