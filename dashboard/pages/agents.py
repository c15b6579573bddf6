"""Agents: which machines report, with which credentials, and how to add one."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard import components, context
from dashboard.components import Action, Row
from dashboard.pages.first_run import enrolment
from dashboard.pages.managing import confirm, name_of, show_secret


def page() -> None:
    """Show agents, their credentials and open enrolment tokens."""
    st.header("Agents", anchor=False)
    st.markdown("Every machine that reports, and the credential it reports with.")
    with st.expander("Add a host", icon=":material/add_circle:"):
        enrolment("agents")
    retired = st.toggle("Show retired hosts", key="retired", bind="query-params")
    with context.failures_shown("load the agents"):
        agents = context.api().items("/agents", retired=str(retired).lower())
        _warn_of_clones(agents)
        _act(agents, _table(agents))
        tokens = context.api().items("/enrolment-tokens")
        if tokens:
            st.subheader("Open enrolment tokens", anchor=False)
            _revoke_token(tokens, _token_table(tokens))
        context.updated()


def _warn_of_clones(agents: list[dict[str, Any]]) -> None:
    cloned = [one for one in agents if one.get("clone_suspected_at") and not one.get("retired_at")]
    if cloned:
        names = ", ".join(f"**{name_of(one, 'name', 'host_id')}**" for one in cloned[:5])
        more = f" and {len(cloned) - 5} more" if len(cloned) > 5 else ""
        st.warning(
            f"Two machines report as {names}{more}, mostly because a disk image or a container with an agent in it was "
            "copied. Enrol the copy as a host of its own (*Add a host*), then *Re-enrol* the original: its new credential "
            "ends the shared one.",
            icon=":material/content_copy:",
        )


def _state(agent: dict[str, Any]) -> tuple[str, str, str]:
    if agent.get("retired_at"):
        return "unknown", "–", "Retired"
    if agent.get("clone_suspected_at"):
        return "critical", "▲", "Used twice"
    if not agent.get("credential_id"):
        return "warning", "◆", "Revoked"
    due_at = agent.get("credential_due_at")
    if due_at is not None and due_at < context.now():
        return "warning", "◆", "Too old"
    return "ok", "✓", "Good"


def _table(agents: list[dict[str, Any]]) -> tuple[str, str] | None:
    rows = []
    for agent in agents:
        actions = [
            Action("re-enrol", "Re-enrol"),
            Action("revoke", "Revoke", danger=True),
            Action("retire", "Retire", danger=True),
        ]
        rows.append(
            Row(
                agent["host_id"],
                [
                    agent["name"],
                    agent["agent_version"],
                    _state(agent),
                    agent["last_seen_at"],
                    agent["credential_issued_at"],
                ],
                [] if agent.get("retired_at") else actions,
                dim=bool(agent.get("retired_at")),
            )
        )
    columns = {"Host": "text", "Agent": "text", "Credential": "mark", "Last seen": "time", "Issued": "time"}
    return components.table(columns, rows, label="Agents", empty="No agent has enrolled yet.", key="agents")


def _act(agents: list[dict[str, Any]], pressed: tuple[str, str] | None) -> None:
    agent = next((one for one in agents if pressed is not None and one["host_id"] == pressed[0]), None)
    if agent is None or pressed is None:
        return
    name, path = name_of(agent, "name"), f"/agents/{agent['host_id']}"
    match pressed[1]:
        case "re-enrol":
            with context.failures_shown("make a token", retry=False):
                made = context.api().send("POST", f"{path}/re-enrol", {})
                show_secret(
                    f"Paste this on **{name}** within an hour. It keeps its history.", made["install"]
                )
        case "revoke":
            confirm(
                f"**{name}** will not be let in any more, within a minute. It can be enrolled again.",
                "revoke the credential",
                lambda: context.api().send("POST", f"{path}/revoke", {}),
            )
        case "retire":
            confirm(
                f"**{name}** will no longer be watched. Its history stays.",
                "retire the host",
                lambda: context.api().send("POST", f"{path}/retire", {}),
            )


def _token_table(tokens: list[dict[str, Any]]) -> tuple[str, str] | None:
    rows = [
        Row(
            one["id"],
            [
                one["name"] or "unnamed",
                f"{one['uses']} of {one['max_uses'] or 'any number'}",
                one["expires_at"],
            ],
            [Action("revoke", "Revoke", danger=True)],
        )
        for one in tokens
    ]
    columns = {"Token": "text", "Used": "text", "Expires": "time"}
    return components.table(columns, rows, label="Enrolment tokens", empty="None.", key="enrolment-tokens")


def _revoke_token(tokens: list[dict[str, Any]], pressed: tuple[str, str] | None) -> None:
    found = next((one for one in tokens if pressed is not None and one["id"] == pressed[0]), None)
    if found is not None:
        confirm(
            f"The token **{name_of(found, 'name', 'id')}** will stop working.",
            "revoke the token",
            lambda: context.api().send("DELETE", f"/enrolment-tokens/{found['id']}"),
        )
