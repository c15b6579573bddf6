"""The audit log: who did what, on what, when and from where."""

from __future__ import annotations

import json
from typing import Any

import streamlit as st

from dashboard import components, context, ranges
from dashboard.components import Action, Row
from dashboard.components.range_picker import range_picker
from dashboard.pages.managing import names_by_id
from dashboard.words import clock_time, plain

STEP = 200
OUTCOMES = {
    "done": ("ok", "✓", "Done"),
    "denied": ("critical", "▲", "Denied"),
    "failed": ("warning", "◆", "Failed"),
    "noticed": ("warning", "◆", "Noticed"),
    "ignored": ("unknown", "–", "Ignored"),
}
_SHOWN = "farwatch.audit-shown"


def page() -> None:
    """Show the log, newest first, by person, action, thing, address and time."""
    st.header("Audit log", anchor=False)
    st.markdown(
        "Append-only, and each entry is chained to the one before it: `./farwatch audit verify` proves it whole."
    )
    _body()


@st.fragment(key="audit")
def _body() -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        asked = {
            name: (
                st.text_input(label, key=key, bind="query-params", placeholder=example, width=205) or ""
            ).strip()
            for name, label, key, example in (
                ("action", "Action", "action", "such as auth.login"),
                ("actor_id", "Who", "actor", "a name or an id"),
                ("target", "What", "target", "a name or an id"),
                ("address", "From", "address", "such as 192.0.2.7"),
            )
        }
        denied = st.toggle("Only denials", key="denied", bind="query-params")
    chosen = range_picker("audit", presets=("1h", "24h", "7d", "30d"), default="24h")
    query = (*asked.values(), denied, chosen.preset or (chosen.start, chosen.end))
    most = _how_many(query)
    with context.failures_shown("load the audit log"):
        names = names_by_id()
        for name in ("actor_id", "target"):
            asked[name] = _id_of(asked[name], names)
        rows = context.api().items(
            "/audit",
            most=most,
            limit=STEP,
            **{name: text or None for name, text in asked.items()},
            outcome="denied" if denied else None,
            since=chosen.start,
            until=None if chosen.preset else chosen.end,
        )
        pressed = _table(rows, names)
        if pressed is not None:
            found = next((row for row in rows if str(row["seq"]) == pressed[0]), None)
            if found is not None:
                _entry(found, names)
        if len(rows) == most:
            st.caption(f"The newest {most} entries of {chosen.span // ranges.HOUR} h.")
            if st.button("Show older ones", icon=":material/expand_more:", key="audit-more"):
                st.session_state[_SHOWN] = (query, most + STEP)
                st.rerun(scope="fragment")
        context.updated()


def _how_many(query: object) -> int:
    """Return how many entries to list: more each time older ones are asked for, and few again for another question."""
    asked_for, most = st.session_state.get(_SHOWN, (None, STEP))
    return most if asked_for == query else STEP


def _id_of(text: str, names: dict[str, str]) -> str:
    """Return the id of what is called so, or the text as it is."""
    return next((one for one, name in names.items() if name.lower() == text.lower()), text)


def _who(row: dict[str, Any], names: dict[str, str]) -> str:
    return names.get(row["actor_id"]) or row["actor_id"] or row["actor_kind"]


def _table(rows: list[dict[str, Any]], names: dict[str, str]) -> tuple[str, str] | None:
    made = [
        Row(
            str(row["seq"]),
            [
                row["action"],
                _who(row, names),
                names.get(row["target"], row["target"]),
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
    empty = "No entry fits in this time: take a filter away, or choose a longer time."
    return components.table(columns, made, label="Audit log", empty=empty, key="audit-rows")


def _named(exact: str, name: str | None) -> str:
    """Return what stands in the log, after its name where it has one."""
    return f"**{plain(name)}** ({plain(exact)})" if name else plain(exact)


@st.dialog("Entry", width="medium")
def _entry(row: dict[str, Any], names: dict[str, str]) -> None:
    kind = f"{row['actor_kind']} {row['actor_id']}".strip()
    st.markdown(
        f"**{plain(row['action'])}** by {_named(kind, names.get(row['actor_id']))}, entry {row['seq']}"
    )
    where = f" from {plain(row['address'])}" if row["address"] else ""
    on = f" on {_named(row['target'], names.get(row['target']))}" if row["target"] else ""
    zone = context.timezone()
    when = f"{clock_time(row['at'], zone, seconds=True)} ({plain(zone or 'UTC')})"
    st.markdown(f"{when}{where}{on}: {plain(row['outcome'])}")
    for heading, name in (("Before", "before"), ("After", "after"), ("Details", "detail")):
        if row.get(name):
            st.caption(heading)
            st.code(json.dumps(row[name], indent=2, ensure_ascii=False), language="json")
    st.caption(
        f"Request {plain(row['request_id'])} · {plain(row['user_agent'])} · hash {plain(row['hash'][:16])}…"
    )
