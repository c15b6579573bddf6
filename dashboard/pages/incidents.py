"""Incidents: the list, and one of them with everything known about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from dashboard import components, context
from dashboard.answers import ApiError
from dashboard.charts import incident_spans, metric_panel
from dashboard.pages.fleet import badness, go
from dashboard.ranges import MINUTE
from dashboard.wire import Incident
from dashboard.words import (
    SEVERITIES,
    SEVERITY_ICON,
    SEVERITY_WORD,
    ago,
    amount,
    clock_time,
    plain,
    series_name,
)

STATES = {"open": "Open", "acknowledged": "Acknowledged", "resolved": "Resolved"}
BADGE = {"critical": "red", "high": "red", "warning": "orange", "info": "blue"}
BEFORE = 15 * MINUTE
AFTER = 10 * MINUTE
POINTS = 400


def page() -> None:
    """Show one incident when the address names one, else the list."""
    context.live_fragment("incidents")
    incident_id = st.query_params.get("id")
    if incident_id:
        _one(incident_id)
    else:
        _list()


@st.fragment(key="incidents")
def _list() -> None:
    st.header("Incidents", anchor=False)
    with st.container(horizontal=True):
        states = st.pills(
            "State",
            list(STATES),
            format_func=STATES.__getitem__,
            selection_mode="multi",
            default=["open", "acknowledged"],
            key="state",
            bind="query-params",
        )
        severities = st.pills(
            "Severity",
            list(SEVERITIES),
            format_func=lambda name: f"{SEVERITY_ICON[name]} {SEVERITY_WORD[name]}",
            selection_mode="multi",
            key="severity",
            bind="query-params",
        )
    host_id = st.query_params.get("host")
    with context.failures_shown("load the incidents"):
        found = context.api().incidents(
            state=states or (), severity=severities or (), host_id=host_id, limit=100
        )
        items = found["items"]
        if host_id:
            st.caption(f"Only those of {plain(items[0].get('host_name', host_id) if items else host_id)}.")
            if st.button("Show all hosts", key="all-hosts", icon=":material/filter_alt_off:"):
                st.query_params.pop("host", None)
                st.rerun()
        opened = components.strip(
            sorted(items, key=_order), clear=_nothing(states, severities), key="incident-list"
        )
        if opened:
            go("incidents", {"id": opened})
        if found.get("next_cursor"):
            st.caption("Only the newest hundred are listed.")
        context.updated()


def _order(incident: Incident) -> tuple[Any, ...]:
    over = incident.get("state") == "resolved"
    return (True, -incident.get("opened_at", 0)) if over else (False, *badness(incident))


def _nothing(states: Any, severities: Any) -> str:
    if severities or (states and "open" not in states):
        return "No incident matches this choice."
    return "No open incidents. When a rule or a detector finds trouble, it appears here at once."


@st.fragment(key="incidents")
def _one(incident_id: str) -> None:
    from dashboard.pages.registry import named

    incident: Incident | None = None
    with context.failures_shown("load the incident"):
        incident = context.api().incident(incident_id)
    st.page_link(named("incidents"), label="All incidents", icon=":material/arrow_back:")
    if incident is None:
        return
    zone = context.timezone()
    severity = incident.get("severity", "info")
    state = incident.get("state", "open")
    st.header(plain(incident.get("title", incident_id)), anchor=False)
    with st.container(horizontal=True, vertical_alignment="center"):
        word = f"{SEVERITY_ICON.get(severity, '?')} {SEVERITY_WORD.get(severity, severity)}"
        st.badge(word, color=BADGE.get(severity, "gray"))  # type: ignore[arg-type]  # the table holds Streamlit's names
        st.badge(STATES.get(state, state), color="green" if state == "resolved" else "gray")
        end = incident.get("resolved_at") or context.now()
        opened_at = incident.get("opened_at", end)
        st.caption(
            f"{'Lasted' if state == 'resolved' else 'For'} {ago((end - opened_at) / 1000)}, "
            f"since {clock_time(opened_at, zone, seconds=True)}",
            width="content",
        )
    _actions(incident)
    left, right = st.columns([3, 2])
    with left:
        _signals(incident)
        _chart(incident, zone)
        _evidence(incident)
    with right:
        _fixes(incident)
        _timeline(incident, zone)
        _deliveries(incident, zone)
    context.updated()


def _actions(incident: Incident) -> None:
    from dashboard.pages.registry import named

    state, incident_id = incident.get("state"), incident["id"]
    with st.container(horizontal=True, vertical_alignment="center"):
        if context.may("incidents:write") and state != "resolved":
            if state == "open" and st.button(
                "Acknowledge", type="primary", icon=":material/pan_tool:", shortcut="a"
            ):
                _do("acknowledge it", lambda: context.api().acknowledge(incident_id))
            if st.button("Resolve", icon=":material/check_circle:"):
                _resolve(incident_id)
            if st.button("Comment", icon=":material/chat:"):
                _comment(incident_id)
        if incident.get("host_id"):  # one opened by hand may be about no host
            opened, over = incident.get("opened_at", context.now()), incident.get("resolved_at")
            st.page_link(
                named("host"),
                label=f"Charts of {plain(incident.get('host_name', 'the host'))}",
                icon=":material/monitoring:",
                query_params={
                    "id": incident.get("host_id", ""),
                    "from": str(opened - BEFORE),
                    "to": str(min((over or context.now()) + AFTER, context.now())),
                },
            )
    if not context.may("incidents:write"):
        st.caption("You may look but not acknowledge or resolve: that takes the operator role.")


@st.dialog("Resolve this incident")
def _resolve(incident_id: str) -> None:
    st.markdown("It resolves by itself when the trouble ends. Resolve it by hand when you know better.")
    note = st.text_input("What was it?", max_chars=500, placeholder="Optional, kept in the timeline")
    if st.button("Resolve", type="primary"):
        _do("resolve it", lambda: context.api().resolve(incident_id, note))


@st.dialog("Comment")
def _comment(incident_id: str) -> None:
    text = st.text_area("Comment", max_chars=2000, label_visibility="collapsed")
    if st.button("Add", type="primary", disabled=False) and text.strip():
        _do("add the comment", lambda: context.api().comment(incident_id, text.strip()))


def _do(what: str, action: Callable[[], object]) -> None:
    try:
        action()
    except ApiError as error:
        context.show_failure(what, error)
        return
    st.rerun()


def _signals(incident: Incident) -> None:
    st.subheader("What is wrong", anchor=False)
    for signal in incident.get("signals") or []:
        severity = str(signal.get("severity", "info"))
        what = plain(
            series_name(str(signal.get("metric") or signal.get("source", "")), signal.get("labels") or {})
        )
        value = amount(signal.get("value"), str(signal.get("unit") or ""))
        over = " · over" if signal.get("state") == "resolved" else ""
        with st.container(border=True):
            st.markdown(
                f"{SEVERITY_ICON.get(severity, '?')} **{what}** {value}{over}  \n{plain(signal.get('reason', ''))}"
            )


def _chart(incident: Incident, zone: str | None) -> None:
    """Draw the metric the incident is about, from a quarter of an hour before it opened."""
    about = next((s for s in incident.get("signals") or [] if s.get("metric")), None)
    host_id = incident.get("host_id")
    if about is None or not host_id or not context.may("metrics:read"):
        return
    start = incident.get("opened_at", context.now()) - BEFORE
    end = min((incident.get("resolved_at") or context.now()) + AFTER, context.now())
    try:
        answer = context.api().range([host_id], [about["metric"]], start, end, points=POINTS)
    except ApiError as error:
        st.caption(f"Its curve is not shown: {plain(error.message)}")
        return
    answer["series"] = [one for one in answer["series"] if one["labels"] == (about.get("labels") or {})]
    panel = metric_panel(
        answer,
        {"name": about["metric"], "unit": about.get("unit") or "", "low": 0.0},
        {host_id: incident.get("host_name", host_id)},
    )
    components.charts(
        context.current(),
        [{**panel, "spans": incident_spans([incident])}],
        key="incident-chart",
        start=start,
        end=end,
        timezone=zone,
        step_ms=int(answer["step_s"] * 1000),
        columns=1,
    )


def _evidence(incident: Incident) -> None:
    processes = (incident.get("evidence") or {}).get("top_processes") or []
    if not processes:
        return
    st.subheader("Busiest processes at the time", anchor=False)
    rows = ["| Process | pid | CPU | Memory |", "|---|--:|--:|--:|"]
    rows.extend(
        f"| {plain(p.get('name', '?'), 80)} | {plain(p.get('pid', ''))} | {amount(p.get('cpu_percent'), '%')} "
        f"| {amount(p.get('rss_bytes'), 'B')} |"
        for p in processes[:10]
    )
    st.markdown("\n".join(rows))


def _fixes(incident: Incident) -> None:
    fixes = incident.get("suggested_fixes") or []
    if fixes:
        st.subheader("What usually helps", anchor=False)
        st.markdown("\n".join(f"{number}. {plain(fix, 500)}" for number, fix in enumerate(fixes, 1)))


def _timeline(incident: Incident, zone: str | None) -> None:
    st.subheader("Timeline", anchor=False)
    for event in incident.get("timeline") or []:
        actor = event.get("actor")
        who = f" · {plain(actor)}" if actor and actor != "system" else ""
        kind = str(event.get("kind", "")).replace("_", " ").capitalize()
        text = plain(event.get("text") or "", 2000)
        st.markdown(
            f"**{plain(kind)}**{who} :gray[{clock_time(event.get('at'), zone, seconds=True)}]  \n{text}"
        )


def _deliveries(incident: Incident, zone: str | None) -> None:
    deliveries = incident.get("deliveries") or []
    if not deliveries:
        return
    st.subheader("Who was told", anchor=False)
    for row in deliveries:
        status = str(row.get("status", ""))
        icon = {"sent": "✓", "delivered": "✓", "failed": "▲"}.get(status, "◌")
        st.markdown(
            f"{icon} {plain(row.get('channel', ''))} to {plain(row.get('recipient', ''))}: {plain(status)} "
            f":gray[{clock_time(row.get('at'), zone, seconds=True)}]"
        )
