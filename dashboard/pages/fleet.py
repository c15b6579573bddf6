"""The fleet: what is wrong first, then every host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from dashboard import components, context
from dashboard.client import ApiError
from dashboard.pages import first_run
from dashboard.ranges import HOUR
from dashboard.wire import Host, Incident
from dashboard.words import SEVERITIES, ago, plain

STATUSES = {"live": "✓ Live", "late": "◆ Late", "silent": "▲ Silent", "never_seen": "? Never seen"}
MOST_SPARKS = 60


def page() -> None:
    """Show the problems strip and the table of hosts."""
    context.live_fragment("fleet")
    _body()


@st.fragment(key="fleet")
def _body() -> None:
    after = components.replay_points(context.current(), ["fleet"])
    hosts: list[Host] | None = None
    incidents: list[Incident] = []
    with context.failures_shown("load the fleet"):
        hosts = [host for host in context.api().hosts() if host.get("status") != "retired"]
        if hosts:
            incidents = open_incidents()
    if hosts is None:
        return
    if not hosts:
        first_run.show()
        return
    _title(hosts, incidents)
    opened = components.strip(incidents[:6], clear=_all_clear(hosts), key="problems")
    if opened:
        go("incidents", {"id": opened})
    if len(incidents) > 6:
        st.caption(f"and {len(incidents) - 6} more on the incidents page")
    shown = _filtered(hosts)
    if not shown:
        st.info("No host matches the filter. Clear it to see all of them.", icon=":material/filter_alt_off:")
    else:
        chosen = components.fleet(context.current(), shown, _sparks(shown), after)
        if chosen:
            go("host", {"id": chosen})
    context.updated()


def go(name: str, query: Mapping[str, str]) -> None:
    """Leave for another page with its address parameters."""
    from dashboard.pages.registry import named

    st.switch_page(named(name), query_params=dict(query))


def open_incidents(host_id: str | None = None) -> list[Incident]:
    """Return incidents that are not over, worst and newest first."""
    found = context.api().incidents(state=["open", "acknowledged"], host_id=host_id, limit=100)["items"]
    return sorted(found, key=badness)


def badness(incident: Incident) -> tuple[bool, int, int]:
    """Sort key: not acknowledged before acknowledged, severe before mild, new before old."""
    severity = incident.get("severity", "info")
    rank = SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)
    return incident.get("state") == "acknowledged", rank, -incident.get("opened_at", 0)


def _title(hosts: Sequence[Host], incidents: Sequence[Incident]) -> None:
    live = sum(host.get("status") == "live" for host in hosts)
    troubled = len({incident.get("host_id") for incident in incidents})
    st.header("Fleet", anchor=False)
    words = f"{live} of {len(hosts)} hosts are reporting"
    st.markdown(
        f"{words}; {troubled} {'has' if troubled == 1 else 'have'} open incidents."
        if troubled
        else f"{words}."
    )


def _all_clear(hosts: Sequence[Host]) -> str:
    newest = max((host.get("last_seen_at") or 0 for host in hosts), default=0)
    age = f", newest sample {ago((context.now() - newest) / 1000)} ago" if newest else ""
    return f"All clear. {len(hosts)} hosts{age}."


def _filtered(hosts: Sequence[Host]) -> list[Host]:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        text = st.text_input(
            "Find hosts",
            key="q",
            bind="query-params",
            placeholder="Name or label, such as env:prod",
            icon=":material/search:",
            label_visibility="collapsed",
            width=320,
        )
        status = st.pills(
            "Status",
            list(STATUSES),
            format_func=STATUSES.__getitem__,
            key="status",
            bind="query-params",
            selection_mode="multi",
            label_visibility="collapsed",
        )
    words = (text or "").lower().split()
    return [
        host
        for host in hosts
        if (not status or host.get("status") in status) and all(word in _haystack(host) for word in words)
    ]


def _haystack(host: Host) -> str:
    labels = " ".join(f"{name}:{value}" for name, value in (host.get("labels") or {}).items())
    return f"{host.get('name', '')} {host.get('os', '')} {labels}".lower()


def _sparks(hosts: Sequence[Host]) -> dict[str, list[float | None]]:
    """Return an hour of CPU per host, in at most 60 points; nothing at all if the history cannot be read."""
    ids = tuple(host["id"] for host in hosts[:MOST_SPARKS])

    def load() -> dict[str, list[float | None]]:
        end = context.now()
        answer = context.api().range(ids, ["cpu.percent"], end - HOUR, end, points=60)
        return {series["host_id"]: series["values"][-60:] for series in answer["series"]}

    try:
        return context.remembered(f"sparks:{hash(ids)}", 60, load)
    except ApiError as error:
        st.caption(f"The last hour's curves are missing: {plain(error.message)}")
        return {}
