"""The audit log: who did what, when and from where."""

from __future__ import annotations

import json
from typing import Any

import streamlit as st

from dashboard import components, context, ranges
from dashboard.components import Action, Row
from dashboard.components.range_picker import range_picker
from dashboard.words import plain

MOST = 200
OUTCOMES = {
    "done": ("ok", "✓", "Done"),
    "denied": ("critical", "▲", "Denied"),
    "failed": ("warning", "◆", "Failed"),
}


def page() -> None:
    """Show the log, newest first, by person, action and time."""
    st.header("Audit log", anchor=False)
    st.markdown(
        "Append-only, and each entry is chained to the one before it: `farwatch audit verify` proves it whole."
    )
    _body()


@st.fragment(key="audit")
def _body() -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        action = st.text_input(
            "Action", key="action", bind="query-params", placeholder="such as auth.login", width=260
        )
        actor = st.text_input("Who (id)", key="actor", bind="query-params", width=260)
        denied = st.toggle("Only denials", key="denied", bind="query-params")
    chosen = range_picker("audit", presets=("1h", "24h", "7d", "30d"), default="24h")
    with context.failures_shown("load the audit log"):
        rows = context.api().items(
            "/audit",
            most=MOST,
            limit=100,
            action=(action or "").strip() or None,
            actor_id=(actor or "").strip() or None,
            outcome="denied" if denied else None,
            since=chosen.start,
            until=None if chosen.preset else chosen.end,
        )
        pressed = _table(rows)
        if pressed is not None:
            found = next((row for row in rows if str(row["seq"]) == pressed[0]), None)
            if found is not None:
                _entry(found)
        if len(rows) == MOST:
            st.caption(
                f"Only the newest {MOST} entries of {chosen.span // ranges.HOUR} h are listed: narrow it down."
            )
        context.updated()


def _table(rows: list[dict[str, Any]]) -> tuple[str, str] | None:
    made = [
        Row(
            str(row["seq"]),
            [
                row["action"],
                row["actor_id"] or row["actor_kind"],
                row["target"],
                OUTCOMES.get(row["outcome"], ("unknown", "?", row["outcome"])),
                row["address"],
                row["at"],
            ],
            [Action("show", "Details")],
        )
        for row in rows
    ]
    columns = {
        "Action": "code",
        "Who": "text",
        "What": "text",
        "Outcome": "mark",
        "From": "text",
        "When": "time",
    }
    return components.table(
        columns, made, label="Audit log", empty="Nothing in this range.", key="audit-rows"
    )


@st.dialog("Entry", width="medium")
def _entry(row: dict[str, Any]) -> None:
    st.markdown(
        f"**{plain(row['action'])}** by {plain(row['actor_id'] or row['actor_kind'])}, entry {row['seq']}"
    )
    for heading, name in (("Before", "before"), ("After", "after"), ("Details", "detail")):
        if row.get(name):
            st.caption(heading)
            st.code(json.dumps(row[name], indent=2, ensure_ascii=False), language="json")
    st.caption(
        f"Request {plain(row['request_id'])} · {plain(row['user_agent'])} · hash {plain(row['hash'][:16])}…"
    )
