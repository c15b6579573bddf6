"""Whatever people change, the audit log says how it was before and how it was after, and keeps secrets to itself."""

from __future__ import annotations

from typing import Any

import pytest

from farwatch.domain.rbac import Role
from tests.gateway import Gateway

RULE = {
    "name": "CPU",
    "severity": "warning",
    "conditions": [{"metric": "cpu.percent", "comparison": "above", "enter": 90, "leave": 80}],
}
SLACK = {
    "kind": "slack",
    "name": "team",
    "slack": {"webhook_url": "https://hooks.slack.com/services/T0/B0/very-secret"},
}


@pytest.fixture
def admin(gateway: Gateway) -> str:
    return gateway.as_role(Role.ADMIN)


def change(gateway: Gateway, admin: str, method: str, path: str, body: Any = None) -> dict[str, Any]:
    """Do it, and return the one row that says so."""
    answer = gateway(method, path, body, token=admin)
    assert answer.status < 300, answer.raw
    rows = gateway("GET", "/api/v1/audit", token=admin, query={"limit": "1"}).body["items"]
    return {**rows[0], "answer": answer.body}


def test_a_rule_from_its_making_to_its_end(gateway: Gateway, admin: str) -> None:
    made = change(gateway, admin, "POST", "/api/v1/rules", RULE)
    path = f"/api/v1/rules/{made['answer']['id']}"
    assert made["before"] is None
    assert made["after"]["conditions"][0]["enter"] == 90
    replaced = change(gateway, admin, "PUT", path, {**RULE, "severity": "high"})
    assert (replaced["before"], replaced["after"]) == ({"severity": "warning"}, {"severity": "high"})
    deleted = change(gateway, admin, "DELETE", path)
    assert deleted["before"]["name"] == "CPU"
    assert deleted["after"] is None


def test_a_channel_without_its_secrets(gateway: Gateway, admin: str) -> None:
    made = change(gateway, admin, "POST", "/api/v1/channels", SLACK)
    path = f"/api/v1/channels/{made['answer']['id']}"
    renamed = change(gateway, admin, "PATCH", path, {"name": "night shift"})
    assert (renamed["before"]["name"], renamed["after"]["name"]) == ("team", "night shift")
    deleted = change(gateway, admin, "DELETE", path)
    assert deleted["before"]["name"] == "night shift"
    assert "very-secret" not in str([made, renamed, deleted])


def test_a_host_and_the_settings_of_the_fleet(gateway: Gateway, admin: str) -> None:
    host, _ = gateway.enrolled("web-1")
    row = change(
        gateway, admin, "PATCH", f"/api/v1/hosts/{host}", {"interval_s": 60, "labels": {"env": "prod"}}
    )
    assert row["before"] == {"interval_s": None, "labels": {}}
    assert row["after"] == {"interval_s": 60.0, "labels": {"env": "prod"}}
    row = change(gateway, admin, "PATCH", "/api/v1/config", {"default_interval_s": 30})
    assert row["after"] == {"default_interval_s": 30.0}
    assert row["before"]["default_interval_s"] != 30.0


def test_who_watches_what(gateway: Gateway, admin: str) -> None:
    chosen = {"items": [{"metric": "cpu.*", "detector": "zscore"}]}
    row = change(gateway, admin, "PUT", "/api/v1/anomalies/detectors", chosen)
    assert (row["before"], row["after"]) == ({"items": []}, chosen)


def test_what_reaches_a_person(gateway: Gateway, admin: str) -> None:
    toggles = {"email": True, "slack": False, "pagerduty": True, "in_app": True}
    wanted = {"email": "me@example.com", "channels": toggles, "min_severity": "high"}
    row = change(gateway, admin, "PUT", "/api/v1/preferences", wanted)
    assert row["after"]["min_severity"] == "high"
    assert row["before"]["min_severity"] != "high"


def test_an_incident_from_hand_to_hand(gateway: Gateway, admin: str) -> None:
    opened = change(gateway, admin, "POST", "/api/v1/incidents", {"title": "Slow", "severity": "warning"})
    path = f"/api/v1/incidents/{opened['answer']['id']}"
    assert (opened["before"], opened["after"]["title"]) == (None, "Slow")
    taken = change(gateway, admin, "POST", f"{path}/acknowledge", {})
    assert (taken["before"]["state"], taken["after"]["state"]) == ("open", "acknowledged")
    judged = change(gateway, admin, "POST", f"{path}/severity", {"severity": "critical"})
    assert (judged["before"], judged["after"]) == ({"severity": "warning"}, {"severity": "critical"})
    ended = change(gateway, admin, "POST", f"{path}/resolve", {"note": "Restarted."})
    assert ended["before"]["state"] == "acknowledged"
    assert (ended["after"]["state"], ended["after"]["resolution"]) == ("resolved", "Restarted.")


def test_a_change_is_not_told_again_with_the_next_request(gateway: Gateway, admin: str) -> None:
    change(gateway, admin, "POST", "/api/v1/rules", RULE)
    row = change(gateway, admin, "POST", "/api/v1/notifications/read")
    assert (row["before"], row["after"]) == (None, None)
