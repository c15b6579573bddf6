"""Health: every part of the back end, and this dashboard's own connection to it."""

from __future__ import annotations

import streamlit as st

from dashboard import components, context
from dashboard.components import Row
from dashboard.words import ago

STATUS = {"ok": ("ok", "✓", "Works"), "down": ("critical", "▲", "Down"), "off": ("unknown", "–", "Off")}
PARTS = {
    "postgres": "Database (PostgreSQL)",
    "redis": "Cache (Redis)",
    "sweep": "Sweep, once a minute",
    "batches": "Samples on their way",
    "e-mail": "E-mail",
    "deliveries": "Deliveries of alerts",
    "dead letters": "Dead letters",
}


def page() -> None:
    """Show the parts and how long each took to answer."""
    st.header("Health", anchor=False)
    st.markdown(
        "Farwatch's own parts. When one is down, nothing that has reached the agents' spools is lost."
    )
    context.live_fragment("health")
    _body()


@st.fragment(key="health", run_every="15s")
def _body() -> None:
    with context.failures_shown("ask for the health"):
        found, _ = context.api().read("/health")
        rows = [
            Row(
                part["name"],
                [
                    PARTS.get(part["name"], part["name"]),
                    STATUS.get(part["status"], ("unknown", "?", part["status"])),
                    f"{part['milliseconds']:.1f} ms" if part.get("milliseconds") is not None else "",
                    part.get("detail") or "",
                ],
            )
            for part in found["parts"]
        ]
        feed = context.current().feed.status()
        live = (
            ("ok", "✓", "Connected")
            if feed.state == "connected"
            else ("warning", "◆", feed.state.value.title())
        )
        newest = f"newest message {ago(feed.age_s)} ago" if feed.age_s is not None else "no message yet"
        rows.append(Row("live", ["Live feed of this dashboard", live, "", feed.reason or newest]))
        columns = {"Part": "text", "State": "mark", "Answered in": "text", "Remark": "text"}
        components.table(columns, rows, label="Health of each part", empty="", key="health-parts")
        context.updated()
