"""The incidents of the double: three of them, and what people do to one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.unit.dashboard.fake_shapes import CHANGERS, HOUR, Call, problem

if TYPE_CHECKING:
    from tests.unit.dashboard.fake_api import FakeApi


def made(api: FakeApi, index: int) -> dict[str, Any]:
    opened = api.started - [12 * 60_000, 11 * 60_000, 5 * HOUR][index]
    host = api.hosts[[2, len(api.hosts) - 1, 3][index]]
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


def incidents(api: FakeApi, call: Call) -> tuple[int, Any]:
    states = [v for k, v in call.params if k == "state"]
    host_id = dict(call.params).get("host_id")
    found = [
        i
        for i in api.incidents
        if (not states or i["state"] in states) and (host_id is None or i["host_id"] == host_id)
    ]
    return 200, {"items": found, "next_cursor": None}


def one_incident(api: FakeApi, call: Call) -> tuple[int, Any]:
    found = next((i for i in api.incidents if i["id"] == call.names["id"]), None)
    return (200, found) if found else problem(404, "There is no such incident.")


def change_incident(api: FakeApi, call: Call) -> tuple[int, Any]:
    if call.user["role"] not in CHANGERS:
        return problem(403, "Your role may not change incidents.")
    status, incident = one_incident(api, call)
    if status != 200:
        return status, incident
    verb, at, email = call.names["verb"], api.now(), call.user["email"]
    if verb == "acknowledge":
        incident.update(state="acknowledged", acknowledged_at=at, acknowledged_by=email)
    elif verb == "resolve":
        incident.update(state="resolved", resolved_at=at)
    text = call.body.get("text") or call.body.get("note") or f"{verb}d"
    incident["timeline"].append({"at": at, "kind": verb.rstrip("s"), "actor": email, "text": text})
    api.push("incidents", "incident.updated", {"incident_id": incident["id"], "title": incident["title"]})
    return 200, incident
