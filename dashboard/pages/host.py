"""One host: its state, its charts, its incidents and the facts about it."""

from __future__ import annotations

import streamlit as st

from dashboard import components, context, ranges
from dashboard.answers import ApiError, Problem
from dashboard.charts import HOST_PANELS, host_panels
from dashboard.components.facts import facts
from dashboard.components.range_picker import range_picker, zoomed
from dashboard.pages.fleet import go, open_incidents
from dashboard.wire import Anomaly, Host, Incident
from dashboard.words import ago, amount, clock_time, interval, plain

INTERVALS = (5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
STATUS = {
    "live": ("✓ Live", "green"),
    "late": ("◆ Late", "orange"),
    "silent": ("▲ Silent", "red"),
    "never_seen": ("? Never seen", "gray"),
    "retired": ("– Retired", "gray"),
}
NOT_FOUND = 404
POINTS = 720


def page() -> None:
    """Show the host whose id is in the address."""
    host_id = st.query_params.get("id", "")
    if not host_id:
        _choose()
        return
    st.session_state["farwatch.host"] = host_id
    host: Host | None = None
    with context.failures_shown("load the host"):
        try:
            host = context.api().host(host_id)
        except Problem as error:
            if error.status != NOT_FOUND:
                raise
            st.warning("There is no such host. It may have been removed.", icon=":material/search_off:")
            _choose()
    if host is None:
        return
    for key in ("host-head", "host-charts"):
        context.live_fragment(key)
    _head(host_id)
    if not context.may("metrics:read"):
        st.info("Your role may see that this host is there, not what it measures.", icon=":material/lock:")
        return
    _charts(host_id, host.get("interval_s", 5.0), _why_nothing(host))
    _about(host)


def _choose() -> None:
    from dashboard.pages.registry import named

    st.page_link(named("fleet"), label="Choose a host from the fleet", icon=":material/dns:")


@st.fragment(key="host-head")
def _head(host_id: str) -> None:
    from dashboard.pages.registry import named

    host: Host | None = None
    incidents: list[Incident] = []
    with context.failures_shown("load the host"):
        host = context.api().host(host_id)
        incidents = open_incidents(host_id)
    if host is None:
        return
    st.page_link(named("fleet"), label="Fleet", icon=":material/arrow_back:")
    word, color = STATUS.get(host.get("status", ""), ("? Unknown", "gray"))
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.header(plain(host.get("name", host_id)), anchor=False, width="content")
        st.badge(word, color=color)  # type: ignore[arg-type]  # the table above holds only Streamlit's names
        for name, value in list((host.get("labels") or {}).items())[:6]:
            st.badge(plain(f"{name}: {value}", 60), color="gray")
    seen = host.get("last_seen_at")
    if seen is None:
        st.markdown("The agent is enrolled and has not sent anything yet.")
    elif host.get("status") in {"silent", "late"}:
        heard = clock_time(seen, context.timezone(), seconds=True)
        age = ago((context.now() - seen) / 1000)
        st.markdown(f"Last heard of {age} ago, at {heard}. What is shown below is what it said then.")
    if incidents:
        opened = components.strip(incidents[:5], clear="", key="host-incidents")
        if opened:
            go("incidents", {"id": opened})


@st.fragment(key="host-charts")
def _charts(host_id: str, every: float, nothing: str | None) -> None:
    session = context.current()
    topic = f"host:{host_id}"
    after = components.replay_points(session, [topic])
    chosen = range_picker("host")
    with context.failures_shown("load the charts"):
        metrics = sorted({metric for plan in HOST_PANELS for metric in plan.metrics})
        answer = context.api().range([host_id], metrics, chosen.start, chosen.end, points=POINTS)
        incidents = _incidents(host_id)
        follow = after if chosen.preset is not None and answer["tier"] == "raw" else None
        anomalies = _anomalies(host_id, chosen)
        panels = host_panels(
            answer,
            incidents=_within(incidents, chosen),
            anomalies=anomalies,
            nothing=nothing,
        )
        opened = components.charts(
            session,
            panels,
            key="host-charts-view",
            start=chosen.start,
            end=chosen.end,
            timezone=context.timezone(),
            step_ms=int(answer["step_s"] * 1000),
            follow=follow,
            coarse=bool(answer["step_s"] > every),
            on_range=zoomed,
        )
        if opened:
            go("anomalies", {"id": opened})
        if anomalies:
            _anomaly_link(host_id, chosen, len(anomalies))
        pace = ranges.resolution(answer["tier"], answer["step_s"], "mean")
        live = "moving live" if follow is not None else "standing still"
        st.caption(f"Showing {pace} · {live} · drag across a chart to zoom, double-click to go back to live")
        context.updated()


def _anomaly_link(host_id: str, chosen: ranges.Range, count: int) -> None:
    from dashboard.pages.detectors import host_names
    from dashboard.pages.registry import named

    name = host_names().get(host_id)
    span = {"from": str(chosen.start), "to": str(chosen.end)} if chosen.preset is None else {}
    st.page_link(
        named("anomalies"),
        label="One anomaly in this range" if count == 1 else f"{count} anomalies in this range",
        icon=":material/troubleshoot:",
        query_params={**({"host": name} if name else {}), **(span or {"range": str(chosen.preset)})},
    )


def _why_nothing(host: Host) -> str | None:
    """Return the words for charts that are empty because the host has nothing newer to say."""
    seen = host.get("last_seen_at")
    if host.get("status") != "silent" or seen is None:
        return None
    heard = clock_time(seen, context.timezone())
    return f"Nothing since {heard}. A longer range shows what came before."


def _incidents(host_id: str) -> list[Incident]:
    if not context.may("incidents:read"):
        return []
    try:
        return context.api().incidents(host_id=host_id, limit=50)["items"]
    except ApiError as error:
        st.caption(f"Incidents are not shown: {plain(error.message)}")
        return []


def _within(incidents: list[Incident], chosen: ranges.Range) -> list[Incident]:
    return [
        incident
        for incident in incidents
        if incident.get("opened_at", 0) <= chosen.end
        and (incident.get("resolved_at") or chosen.end) >= chosen.start
    ]


def _anomalies(host_id: str, chosen: ranges.Range) -> list[Anomaly]:
    if not context.may("anomalies:read"):
        return []
    try:
        return context.api().anomalies(host_id=host_id, start=chosen.start, end=chosen.end)["items"]
    except Problem as error:
        if error.status != NOT_FOUND:  # a back end without detection has no anomalies to show
            st.caption(f"Anomalies are not shown: {plain(error.message)}")
        return []
    except ApiError as error:
        st.caption(f"Anomalies are not shown: {plain(error.message)}")
        return []


def _about(host: Host) -> None:
    left, right = st.columns(2)
    said = host.get("facts") or {}
    with left.container(border=True):
        st.subheader("About this host", anchor=False)
        rows = {
            "System": host.get("os") or "–",
            "Kernel": said.get("kernel", "–"),
            "CPUs": said.get("cpus", "–"),
            "Memory": amount(_number(said.get("memory_bytes")), "B"),
            "Agent": host.get("agent_version") or "–",
            "Sampled every": interval(host.get("interval_s", 5.0)),
            "Id": host["id"],
        }
        facts({name: plain(text) for name, text in rows.items()})
    with right.container(border=True):
        st.subheader("Check interval", anchor=False)
        _interval(host)


def _interval(host: Host) -> None:
    every = int(host.get("interval_s", 5))
    own = bool(host.get("interval_overridden"))
    st.markdown(
        f"This host is sampled every **{interval(every)}**, {'set for it alone' if own else 'as the whole fleet is'}. "
        "A change reaches its agent with its next batch, without a restart."
    )
    if not context.may("hosts:write"):
        st.caption("Operators and administrators can change it.")
        return
    options = sorted({*INTERVALS, every})
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.selectbox(
            "Sample this host every", options, index=options.index(every), format_func=interval, width=220
        )
        if st.button("Save", key="save-interval", disabled=chosen == every):
            _save_interval(host["id"], float(chosen))
        if own and st.button("Use the fleet's", key="reset-interval"):
            _save_interval(host["id"], None)


def _save_interval(host_id: str, seconds: float | None) -> None:
    with context.failures_shown("change the interval", retry=False):
        context.api().change_host(host_id, {"interval_s": seconds})
        st.toast("Saved. The agent hears of it with its next batch.", icon=":material/check:")
        st.rerun()


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
