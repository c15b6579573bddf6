"""The whole way in one process: signal, incident, SNS with the template's filters, SQS, notify, and the far sides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from farwatch.bootstrap import container
from farwatch.domain.rbac import Role
from farwatch.domain.severity import Severity
from farwatch.domain.signals import SignalState
from farwatch.errors import Unavailable
from farwatch.http.clock import now_ms
from tests.functions.notify.backend import Backend, make_channels, subscriptions
from tests.functions.notify.far_sides import Mailbox, Vendor
from tests.gateway import Answered, Gateway
from tests.unit.notify.makers import CONTEXT, a_signal


def fire(backend: Backend, **changes: Any) -> None:
    now = now_ms()
    backend.send(a_signal(**{"started_at": now - 120_000, "at": now, **changes}))
    backend.pump()


def end(backend: Backend, **changes: Any) -> None:
    now = now_ms()
    backend.send(a_signal(**{"state": SignalState.RESOLVED, "started_at": now, "at": now, **changes}))
    backend.pump()


def incident(api: Gateway, admin: str) -> Answered:
    [found] = api("GET", "/api/v1/incidents", token=admin).body["items"]
    return api("GET", f"/api/v1/incidents/{found['id']}", token=admin)


def test_one_incident_is_one_message_per_channel_and_one_end(
    backend: Backend, api: Gateway, admin: str, mailbox: Mailbox, slack: Vendor, pagerduty: Vendor
) -> None:
    make_channels(api, admin, mailbox, slack, pagerduty)
    fire(backend)
    fire(backend)
    end(backend)
    first, last = mailbox.messages
    assert mailbox.recipients == ["ada@example.com"] * 2
    assert str(first["Subject"]).startswith(
        "[HIGH] CPU 97 % on web-3 for 2 min: stress (pid 4242) uses 93 % (inc_"
    )
    assert str(last["Subject"]).startswith("[RESOLVED] ")
    assert first["References"] == last["References"]
    assert first["Message-ID"] != last["Message-ID"]
    assert [body["attachments"][0]["color"] for body in slack.bodies] == ["#B84E00", "#1A7340"]
    assert [body["event_action"] for body in pagerduty.bodies] == ["trigger", "resolve"]
    assert pagerduty.bodies[0]["dedup_key"] == pagerduty.bodies[1]["dedup_key"]
    assert pagerduty.bodies[0]["payload"]["severity"] == "error"

    shown = incident(api, admin).body
    assert (shown["state"], shown["severity"]) == ("resolved", "high")
    assert shown["evidence"]["top_processes"][0]["name"] == "stress"
    assert [line["kind"] for line in shown["timeline"]] == ["opened", "signal", "resolved"]
    assert {(d["channel"], d["event_kind"], d["status"], d["recipient"]) for d in shown["deliveries"]} == {
        (channel, kind, "delivered", recipient)
        for channel, recipient in (
            ("email", "ada@example.com"),
            ("slack", "#ops"),
            ("pagerduty", "On call"),
            ("in_app", "Ada"),
        )
        for kind in ("incident.opened", "incident.resolved")
    }
    page = api("GET", "/api/v1/notifications", token=admin).body
    assert page["unread"] == 2
    assert [item["kind"] for item in page["items"]] == ["incident.resolved", "incident.opened"]
    kinds = [body["body"]["kind"] for body in backend.bodies("live")]
    assert sorted(kinds) == ["incident.opened", "incident.resolved"]
    topics = {body["body"]["topic"] for body in backend.bodies("pushes")}
    assert topics == {"user:user_ada"}
    channels = api("GET", "/api/v1/channels", token=admin).body
    assert {item["health"] for item in channels["items"]} == {"ok"}
    assert channels["email_ready"] is True


def test_information_reaches_only_the_app_and_live_views(
    backend: Backend, api: Gateway, admin: str, mailbox: Mailbox, slack: Vendor, pagerduty: Vendor
) -> None:
    make_channels(api, admin, mailbox, slack, pagerduty)
    fire(backend, severity=Severity.INFO)
    assert (mailbox.messages, slack.bodies, pagerduty.bodies) == ([], [], [])
    assert api("GET", "/api/v1/notifications", token=admin).body["unread"] == 1
    assert len(backend.bodies("live")) == 1


def test_acknowledging_through_the_api_reaches_pagerduty(
    backend: Backend, api: Gateway, admin: str, mailbox: Mailbox, slack: Vendor, pagerduty: Vendor
) -> None:
    make_channels(api, admin, mailbox, slack, pagerduty)
    fire(backend)
    seen = incident(api, admin)
    path = f"/api/v1/incidents/{seen.body['id']}"
    stale = api("POST", f"{path}/acknowledge", {}, token=admin, headers={"If-Match": '"99"'})
    assert (stale.status, stale.body["code"]) == (412, "version_conflict")
    answer = api(
        "POST",
        f"{path}/acknowledge",
        {"note": "Mine."},
        token=admin,
        headers={"If-Match": seen.headers["ETag"]},
    )
    assert answer.status == 200, answer.raw
    assert answer.body["acknowledged_by"] == "Ada"
    assert api("POST", f"{path}/acknowledge", {}, token=admin).status == 409
    backend.pump()
    assert [body["event_action"] for body in pagerduty.bodies] == ["trigger", "acknowledge"]
    assert "Acknowledged by Ada" in slack.bodies[1]["attachments"][0]["blocks"][0]["text"]["text"]
    assert len(mailbox.messages) == 1


def test_a_fault_that_passes_brings_the_message_back_at_the_time_the_far_side_asked_for(
    backend: Backend, api: Gateway, admin: str, mailbox: Mailbox, slack: Vendor, pagerduty: Vendor
) -> None:
    make_channels(api, admin, mailbox, slack, pagerduty)
    slack.answers = [(429, {"Retry-After": "30"}, "slow down")]
    fire(backend)
    assert slack.bodies == []
    assert backend.waiting("notify-slack") == (0, 1), "invisible until its time has come"
    [delivery] = api("GET", "/api/v1/deliveries", query={"channel": "slack"}, token=admin).body["items"]
    assert (delivery["status"], delivery["error"]) == ("pending", "slack: HTTP 429 slow down")
    assert delivery["next_attempt_at"] - now_ms() > 25_000
    assert len(mailbox.messages) == len(pagerduty.bodies) == 1


def test_a_revoked_webhook_is_shown_and_can_be_mended_and_redriven(
    backend: Backend, api: Gateway, admin: str, mailbox: Mailbox, slack: Vendor, pagerduty: Vendor
) -> None:
    channels = make_channels(api, admin, mailbox, slack, pagerduty)
    slack.answers = [(404, {}, "no_service")]
    fire(backend)
    shown = api("GET", f"/api/v1/channels/{channels['slack']}", token=admin)
    assert (shown.body["health"], shown.body["health_error"]) == ("failing", "slack: HTTP 404 no_service")
    assert shown.body["slack"] == {"webhook_url": f"{slack.url.removeprefix('http://')}/…cret"}
    mended = api(
        "PATCH",
        f"/api/v1/channels/{channels['slack']}",
        {"slack": {"webhook_url": f"{slack.url}/new/secretsecret"}},
        token=admin,
        headers={"If-Match": shown.headers["ETag"]},
    )
    assert mended.body["health"] == "untried", mended.raw
    tried = api("POST", f"/api/v1/channels/{channels['slack']}/test", {}, token=admin)
    assert tried.body == {"delivered": True, "error": ""}
    [failed] = api("GET", "/api/v1/deliveries", query={"status": "failed"}, token=admin).body["items"]
    assert api("POST", f"/api/v1/deliveries/{failed['id']}/redrive", {}, token=admin).status == 200
    backend.pump()
    assert len(slack.bodies) == 3
    history = api("GET", f"/api/v1/deliveries/{failed['id']}", token=admin).body["history"]
    assert [attempt["outcome"] for attempt in history] == ["failed", "delivered"]


def test_a_person_opens_assigns_discusses_and_ends_an_incident(
    backend: Backend, api: Gateway, admin: str
) -> None:
    opened = api("POST", "/api/v1/incidents", {"title": "Shop is slow", "severity": "high"}, token=admin)
    assert opened.status == 201, opened.raw
    path = opened.headers["Location"]
    assert api("POST", f"{path}/assign", {"assignee": "user_ada"}, token=admin).body["assignee"] == "user_ada"
    assert api("POST", f"{path}/assign", {"assignee": "user_no"}, token=admin).status == 422
    assert (
        api("POST", f"{path}/severity", {"severity": "critical"}, token=admin).body["severity"] == "critical"
    )
    assert api("POST", f"{path}/comments", {"text": "Cache <b>cold</b>"}, token=admin).status == 200
    ended = api("POST", f"{path}/resolve", {"note": "Warm again."}, token=admin)
    assert (ended.body["state"], ended.body["resolution"]) == ("resolved", "Warm again.")
    assert api("POST", f"{path}/resolve", {}, token=admin).status == 409
    assert [line["actor"] for line in ended.body["timeline"]] == ["Ada"] * 5
    backend.pump()
    kinds = [item["kind"] for item in api("GET", "/api/v1/notifications", token=admin).body["items"]]
    assert sorted(kinds) == [
        "incident.assigned",
        "incident.escalated",
        "incident.opened",
        "incident.resolved",
    ]
    marked = api("GET", "/api/v1/notifications", token=admin).body["items"][0]["id"]
    assert api("POST", f"/api/v1/notifications/{marked}/read", {}, token=admin).status == 204
    assert api("POST", f"/api/v1/notifications/{marked}/read", {}, token=admin).status == 204
    assert api("POST", "/api/v1/notifications/ntf_" + "0" * 22 + "/read", {}, token=admin).status == 404
    assert api("POST", "/api/v1/notifications/read", {}, token=admin).body == {"marked": 3}
    assert api("POST", "/api/v1/incidents/inc_nowhere/resolve", {}, token=admin).status == 404


def test_lists_are_filtered_and_paged(backend: Backend, api: Gateway, admin: str) -> None:
    for number in range(5):
        fire(
            backend,
            host_id=f"host_{number}",
            host_name=f"web-{number}",
            severity=Severity.WARNING if number else Severity.HIGH,
        )
    end(backend, host_id="host_1", host_name="web-1")
    seen: list[str] = []
    query = {"limit": "2"}
    while True:
        page = api("GET", "/api/v1/incidents", query=query, token=admin)
        assert page.status == 200, page.raw
        seen += [item["host_name"] for item in page.body["items"]]
        if page.body["next_cursor"] is None:
            break
        query["cursor"] = page.body["next_cursor"]
    assert seen == [f"web-{number}" for number in (4, 3, 2, 1, 0)]

    def hosts(**query: str) -> list[str]:
        return [
            item["host_name"]
            for item in api("GET", "/api/v1/incidents", query=query, token=admin).body["items"]
        ]

    assert hosts(state="resolved") == ["web-1"]
    assert hosts(severity="high") == ["web-0"]
    assert hosts(host_id="host_3") == ["web-3"]
    assert hosts(text="WEB-2") == ["web-2"]
    assert hosts(until="1000") == []
    assert api("GET", "/api/v1/incidents", query={"cursor": "x.y"}, token=admin).status == 400
    assert api("GET", "/api/v1/incidents", query={"state": "odd"}, token=admin).status == 422


def test_who_may_only_look_may_not_act_and_does_not_see_who_was_told(backend: Backend, api: Gateway) -> None:
    fire(backend)
    viewer, guest = api.as_role(Role.VIEWER), api.as_role(Role.GUEST)
    seen = incident(api, viewer)
    assert seen.body["deliveries"] == []
    path = f"/api/v1/incidents/{seen.body['id']}"
    assert api("POST", f"{path}/acknowledge", {}, token=viewer).status == 403
    assert api("GET", path, token=guest).status == 403
    assert api("GET", "/api/v1/channels", token=viewer).status == 403
    assert api("GET", "/api/v1/events", query={"topic": "incidents"}, token=viewer).body == {"items": []}
    assert api("GET", "/api/v1/events", query={"topic": "incidents"}, token=guest).status == 403


def test_the_sweep_notices_a_silent_host_and_its_return(backend: Backend, api: Gateway, admin: str) -> None:
    from functions.sweep.handler import handler as sweep

    host_id, _ = api.enrolled("web-9")
    made = container()
    made.adapters.hosts.record_stored(host_id, "spool", 1, now_ms() - 600_000, "0.1.0")
    assert set(sweep({}, CONTEXT).values()) == {"ok"}
    backend.pump()
    assert api("GET", "/api/v1/incidents", token=admin).body["items"] == [], (
        "the sweep has only just begun to listen"
    )
    with made.adapters.database.transaction() as connection:
        connection.execute("UPDATE sweep_clock SET since = since - 120000")
    sweep({}, CONTEXT)
    sweep({}, CONTEXT)
    backend.pump()
    found = incident(api, admin).body
    assert (found["title"], found["severity"]) == ("web-9 is silent", "critical")
    assert "every 5 s" in found["reason"]
    made.adapters.hosts.record_stored(host_id, "spool", 2, now_ms(), "0.1.0")
    sweep({}, CONTEXT)
    backend.pump()
    assert incident(api, admin).body["state"] == "resolved"


def test_while_the_cache_is_down_the_health_page_still_tells_what_else_is(
    backend: Backend, api: Gateway, admin: str, slack: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = {"kind": "slack", "name": "#ops", "slack": {"webhook_url": f"{slack.url}/services/T0/B0/x"}}
    assert api("POST", "/api/v1/channels", hook, token=admin).status == 201
    slack.answers = [(404, {}, "no_service")]
    fire(backend)

    def down() -> None:
        raise Unavailable("redis", "down for the test")

    monkeypatch.setattr(backend.container.adapters, "redis_ping", down)
    parts = api("GET", "/api/v1/health", token=admin).body["parts"]
    assert {"redis", "slack #ops"} <= {part["name"] for part in parts if part["status"] == "down"}


def test_every_channel_queue_takes_the_events_that_name_it() -> None:
    assert subscriptions() == {
        "notify-email": {"channels": ["email"]},
        "notify-slack": {"channels": ["slack"]},
        "notify-pagerduty": {"channels": ["pagerduty"]},
        "notify-inapp": {"channels": ["inapp"]},
        "live": {"channels": ["live"]},
    }


def test_a_message_that_cannot_be_read_fails_alone(backend: Backend) -> None:
    from functions.incidents.handler import handler

    good = replace(a_signal(), at=now_ms())
    from farwatch.wire.messages import encode_signal

    def record(number: int, body: str, group: str) -> dict[str, Any]:
        return {
            "messageId": str(number),
            "receiptHandle": "r",
            "body": body,
            "attributes": {"MessageGroupId": group, "ApproximateReceiveCount": "1"},
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:x:1:farwatch-signals.fifo",
        }

    answer = handler(
        {
            "Records": [
                record(1, "nonsense", "a"),
                record(2, encode_signal(good), "a"),
                record(3, encode_signal(good), "b"),
            ]
        },
        CONTEXT,
    )
    assert [item["itemIdentifier"] for item in answer["batchItemFailures"]] == ["1", "2"]
