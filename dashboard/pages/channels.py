"""Channels and deliveries: the ways out, whether they work, and what they carried."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard import components, context
from dashboard.components import Action, Row
from dashboard.pages.managing import attempt, confirm, name_of
from dashboard.words import SEVERITIES, SEVERITY_WORD, plain

KINDS = {"email": "E-mail server", "slack": "Slack webhook", "pagerduty": "PagerDuty service"}
HEALTH = {
    "ok": ("ok", "✓", "Works"),
    "failing": ("critical", "▲", "Failing"),
    "untried": ("unknown", "?", "Untried"),
}
STATUS = {
    "pending": ("info", "◌", "Waiting"),
    "sending": ("info", "◌", "Sending"),
    "delivered": ("ok", "✓", "Delivered"),
    "failed": ("critical", "▲", "Failed"),
    "dead": ("critical", "▲", "Given up"),
    "suppressed": ("unknown", "–", "Not wanted"),
}
AGAIN = frozenset({"failed", "dead", "suppressed"})


def page() -> None:
    """Show the channels, then the newest deliveries."""
    st.header("Channels", anchor=False)
    st.markdown(
        "The installation's own ways out for alerts. What reaches a person, that person chooses in the sidebar."
    )
    may = context.may("channels:write")
    if may and st.button("New channel", type="primary", icon=":material/add:"):
        _new()
    with context.failures_shown("load the channels"):
        channels = context.api().items("/channels")
        _act(channels, _table(channels, may=may))
    if context.may("deliveries:read"):
        _deliveries()
    context.updated()


def _table(channels: list[dict[str, Any]], *, may: bool) -> tuple[str, str] | None:
    rows = []
    for one in channels:
        switch = Action("off", "Switch off") if one["enabled"] else Action("on", "Switch on")
        actions = [Action("test", "Test"), switch, Action("delete", "Delete", danger=True)]
        rows.append(
            Row(
                one["id"],
                [
                    one["name"],
                    KINDS.get(one["kind"], one["kind"]),
                    f"from {SEVERITY_WORD.get(one.get('min_severity', ''), 'Info')} on",
                    HEALTH.get(one.get("health", ""), HEALTH["untried"]),
                    one.get("health_error") or "",
                ],
                actions if may else [],
                dim=not one["enabled"],
            )
        )
    columns = {"Channel": "text", "Kind": "text", "Carries": "text", "Health": "mark", "Last fault": "text"}
    empty = "No channel yet: alerts are shown in this dashboard only. Add a mail server, Slack or PagerDuty."
    return components.table(columns, rows, label="Channels", empty=empty, key="channels")


def _act(channels: list[dict[str, Any]], pressed: tuple[str, str] | None) -> None:
    one = next((c for c in channels if pressed is not None and c["id"] == pressed[0]), None)
    if one is None or pressed is None:
        return
    path = f"/channels/{one['id']}"
    match pressed[1]:
        case "test":
            with context.failures_shown("test the channel", retry=False), st.spinner("Sending a test …"):
                tried = context.api().send("POST", f"{path}/test", {})
                if tried.get("delivered"):
                    st.success("The far side took the test message.", icon=":material/check_circle:")
                else:
                    st.error(f"Not delivered: {plain(tried.get('error', ''))}", icon=":material/error:")
        case "on" | "off":
            if attempt(
                "switch it", lambda: context.api().send("PATCH", path, {"enabled": pressed[1] == "on"})
            ):
                st.rerun()
        case "delete":
            confirm(
                f"Delete **{name_of(one, 'name')}**? What it still owed is recorded as failed.",
                "delete the channel",
                lambda: context.api().send("DELETE", path),
            )


@st.dialog("New channel")
def _new() -> None:
    kind = st.segmented_control(
        "Kind", list(KINDS), default="email", format_func=KINDS.__getitem__, required=True
    )
    with st.form("channel", border=False):
        name = st.text_input("Name", KINDS[str(kind)], max_chars=200)
        lowest = st.selectbox(
            "Carries alerts from", list(reversed(SEVERITIES)), format_func=SEVERITY_WORD.__getitem__
        )
        settings = _settings(str(kind))
        pressed = st.form_submit_button("Add", type="primary")
    if not pressed:
        return
    body = {
        "kind": kind,
        "name": name.strip() or KINDS[str(kind)],
        "min_severity": lowest,
        str(kind): settings,
    }
    if attempt("add the channel", lambda: context.api().send("POST", "/channels", body)):
        st.rerun()


def _settings(kind: str) -> dict[str, Any]:
    if kind == "slack":
        return {"webhook_url": st.text_input("Incoming webhook", type="password")}
    if kind == "pagerduty":
        return {"routing_key": st.text_input("Integration key (Events API v2)", type="password")}
    left, right = st.columns([3, 1])
    host = left.text_input("Server", placeholder="smtp.example.org")
    port = right.number_input("Port", 1, 65_535, 587)
    security = st.selectbox("Security", ["starttls", "tls", "none"])
    username = st.text_input("User name", autocomplete="off")
    password = st.text_input("Password", type="password", autocomplete="off")
    sender = st.text_input("Sender", placeholder="Farwatch <farwatch@example.org>")
    lists = st.text_input("Mailing lists told of everything", placeholder="Optional, separated by commas")
    return {
        "host": host.strip(),
        "port": int(port),
        "security": security,
        "username": username,
        "password": password,
        "sender": sender.strip(),
        "recipients": [address.strip() for address in lists.split(",") if address.strip()],
    }


def _deliveries() -> None:
    st.subheader("Deliveries", anchor=False)
    only = st.toggle("Only what failed", key="failed", bind="query-params")
    with context.failures_shown("load the deliveries"):
        found = context.api().items("/deliveries", most=100, status=["failed", "dead"] if only else None)
        may = context.may("deliveries:redrive")
        rows = [
            Row(
                one["id"],
                [
                    one["recipient"],
                    one["channel"],
                    str(one["event_kind"]).removeprefix("incident."),
                    STATUS.get(one["status"], ("unknown", "?", one["status"])),
                    one["at"],
                    one.get("error") or "",
                ],
                [Action("again", "Send again")] if may and one["status"] in AGAIN else [],
            )
            for one in found
        ]
        columns = {
            "To": "text",
            "Channel": "text",
            "What": "text",
            "State": "mark",
            "When": "time",
            "Fault": "text",
        }
        empty = "Nothing has failed." if only else "Nothing has been sent yet."
        pressed = components.table(columns, rows, label="Deliveries", empty=empty, key="deliveries")
        if pressed is not None and attempt(
            "send it again", lambda: context.api().send("POST", f"/deliveries/{pressed[0]}/redrive", {})
        ):
            st.rerun()
