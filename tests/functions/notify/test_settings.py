"""What people set of channels and of themselves: kept secret, refused by name where it cannot work."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functions.notify.backend import KEY, Backend, make_channels
from tests.functions.notify.far_sides import Mailbox, Vendor
from tests.gateway import Gateway


def test_no_secret_comes_out_of_the_api_or_lies_open_in_the_database(
    backend: Backend, api: Gateway, admin: str, mailbox: Mailbox, slack: Vendor, pagerduty: Vendor
) -> None:
    channels = make_channels(api, admin, mailbox, slack, pagerduty)
    preferences = {
        "email": "pager@example.com",
        "channels": {"slack": False},
        "min_severity": "high",
        "timezone": "Europe/Berlin",
        "slack_webhook_url": "https://hooks.slack.com/services/T1/B1/personalsecret",
    }
    saved = api("PUT", "/api/v1/preferences", preferences, token=admin)
    assert saved.status == 200, saved.raw
    assert saved.body["slack_webhook_url"] == "hooks.slack.com/…cret"
    again = api("PUT", "/api/v1/preferences", {"email": "pager@example.com"}, token=admin)
    assert again.body["slack_webhook_url"] == "hooks.slack.com/…cret", "left out: stays"
    gone = api("PUT", "/api/v1/preferences", {"slack_webhook_url": None}, token=admin)
    assert gone.body["slack_webhook_url"] is None
    raw = api("GET", "/api/v1/channels", token=admin).raw
    assert KEY not in raw
    assert "secretsecret" not in raw
    with backend.container.adapters.database.transaction() as connection:
        rows = connection.execute("SELECT secret FROM channels").fetchall()
        audit = connection.execute("SELECT * FROM audit_log").fetchall()
    assert not [
        row for row in rows if b"secret" in bytes(row["secret"]) or KEY.encode() in bytes(row["secret"])
    ]
    assert KEY not in str(audit)
    assert "personalsecret" not in str(audit)
    assert api("DELETE", f"/api/v1/channels/{channels['slack']}", token=admin).status == 204


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        (
            {"kind": "slack", "name": "x", "slack": {"webhook_url": "http://example.com/x"}},
            "body.slack.webhook_url",
        ),
        (
            {"kind": "slack", "name": "x", "slack": {"webhook_url": "https://169.254.169.254/x"}},
            "body.slack.webhook_url",
        ),
        (
            {"kind": "slack", "name": "x", "slack": {"webhook_url": "https://a:b@example.com/x"}},
            "body.slack.webhook_url",
        ),
        (
            {"kind": "slack", "name": "x", "slack": {"webhook_url": "file:///etc/passwd"}},
            "body.slack.webhook_url",
        ),
        (
            {"kind": "pagerduty", "name": "x", "pagerduty": {"routing_key": "short"}},
            "body.pagerduty.routing_key",
        ),
        ({"kind": "slack", "name": "x"}, "body.slack"),
        (
            {
                "kind": "email",
                "name": "x",
                "email": {"host": "mail.example.com", "sender": "f@example.com", "security": "none"},
            },
            "body.email.security",
        ),
        (
            {"kind": "email", "name": "x", "email": {"host": "mail.example.com", "sender": "nobody"}},
            "body.email.sender",
        ),
        (
            {
                "kind": "email",
                "name": "x",
                "email": {"host": "m", "sender": "f@example.com", "recipients": ["a@b.c", "x y"]},
            },
            "body.email.recipients[1]",
        ),
        (
            {
                "kind": "email",
                "name": "x",
                "email": {"host": "m", "sender": "f@example.com", "username": "u"},
            },
            "body.email.password",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(
    api: Gateway, admin: str, body: dict[str, Any], loc: str
) -> None:
    answer = api("POST", "/api/v1/channels", body, token=admin)
    assert answer.status == 422, answer.raw
    assert loc in [error["loc"] for error in answer.body["errors"]]


def test_a_mailbox_that_is_refused_when_trying_a_mail_server_says_nothing_against_the_server(
    api: Gateway, admin: str, mailbox: Mailbox, slack: Vendor, pagerduty: Vendor
) -> None:
    path = f"/api/v1/channels/{make_channels(api, admin, mailbox, slack, pagerduty)['email']}"
    assert api("POST", f"{path}/test", {}, token=admin).body["delivered"] is True
    mailbox.refuse_recipient = "550 5.1.1 no such user"
    tried = api("POST", f"{path}/test", {"address": "nobody@example.com"}, token=admin)
    assert tried.body == {"delivered": False, "error": "email: 550 5.1.1 no such user"}
    assert api("GET", path, token=admin).body["health"] == "ok"


@pytest.mark.parametrize(
    ("change", "loc"),
    [
        ({"email": "not an address"}, "body.email"),
        ({"email": "a@b.example\r\nBcc: x@y.example"}, "body.email"),
        ({"email": "a(b@example.com"}, "body.email"),
        ({"email": "ädä@example.com"}, "body.email"),
        ({"timezone": "Mars/Olympus"}, "body.timezone"),
        ({"timezone": "../../etc/passwd"}, "body.timezone"),
        ({"slack_webhook_url": "https://internal.example/hook"}, "body.slack_webhook_url"),
        ({"pagerduty_routing_key": "x"}, "body.pagerduty_routing_key"),
        ({"min_severity": "mild"}, "body.min_severity"),
    ],
)
def test_preferences_that_cannot_work_are_refused_by_name(
    api: Gateway, admin: str, change: dict[str, Any], loc: str
) -> None:
    answer = api("PUT", "/api/v1/preferences", change, token=admin)
    assert answer.status == 422, answer.raw
    assert loc in [error["loc"] for error in answer.body["errors"]]
