"""The fleet: what is wrong first, then every host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from dashboard import components, context
from dashboard.answers import ApiError
from dashboard.pages import first_run
from dashboard.ranges import HOUR
from dashboard.wire import Host, Incident
from dashboard.words import SEVERITIES, ago, plain

STATUSES = {"live": "✓ Live", "late": "◆ Late", "silent": "▲ Silent", "never_seen": "? Never seen"}
REPORTING = ("live", "late")
MOST_PROBLEMS = 6
MOST_NAMES = 3
MOST_SPARKS = 60
HOSTS_PER_QUERY = 20


def page() -> None:
    """Show the problems strip and the table of hosts."""
    context.live_fragment("fleet")
    _body()


@st.fragment(key="fleet")
def _body() -> None:
    after = components.replay_points(context.current(), ["fleet"])
    hosts: list[Host] | None = None
    with context.failures_shown("load the fleet"):
        hosts = [host for host in context.api().hosts() if host.get("status") != "retired"]
    if hosts is None:
        return
    if not hosts:
        first_run.show()
        return
    st.header("Fleet", anchor=False)
    if context.may("incidents:read"):
        with context.failures_shown("load the incidents"):
            incidents = open_incidents()
            st.markdown(_summary(hosts, incidents))
            _problems(hosts, incidents)
    shown = _filtered(hosts)
    if not shown:
        st.info("No host matches the filter. Clear it to see all of them.", icon=":material/filter_alt_off:")
    else:
        chosen = components.fleet(context.current(), shown, _sparks(shown), after)
        if chosen:
            go("host", {"id": chosen})
    context.updated()


def _problems(hosts: Sequence[Host], incidents: Sequence[Incident]) -> None:
    unheard = [host for host in hosts if host.get("status") not in REPORTING and not host.get("may_be_off")]
    opened = components.strip(
        incidents[:MOST_PROBLEMS],
        clear=_unheard(unheard) if unheard else _all_clear(hosts),
        doubt=bool(unheard),
        key="problems",
    )
    if opened:
        go("incidents", {"id": opened})
    if len(incidents) > MOST_PROBLEMS:
        st.caption(f"and {len(incidents) - MOST_PROBLEMS} more on the incidents page")


def go(name: str, query: Mapping[str, str]) -> None:
    """Leave for another page with its address parameters."""
    from dashboard.pages.registry import named

    st.switch_page(named(name), query_params=dict(query))


def open_incidents(host_id: str | None = None) -> list[Incident]:
    """Return incidents that are not over, worst and newest first; none for people who may not see incidents."""
    if not context.may("incidents:read"):
        return []
    found = context.api().incidents(state=["open", "acknowledged"], host_id=host_id, limit=100)["items"]
    return sorted(found, key=badness)


def badness(incident: Incident) -> tuple[bool, int, int]:
    """Sort key: not acknowledged before acknowledged, severe before mild, new before old."""
    severity = incident.get("severity", "info")
    rank = SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)
    return incident.get("state") == "acknowledged", rank, -incident.get("opened_at", 0)


def _summary(hosts: Sequence[Host], incidents: Sequence[Incident]) -> str:
    heard = sum(host.get("status") in REPORTING for host in hosts)
    troubled = len({incident.get("host_id") for incident in incidents})
    words = (
        f"{heard} of {len(hosts)} hosts {'is' if heard == 1 else 'are'} reporting"
        if len(hosts) > 1
        else "One host, reporting"
        if heard
        else "One host, not reporting"
    )
    if not troubled:
        return f"{words}."
    return f"{words}; {troubled} {'has' if troubled == 1 else 'have'} open incidents."


def _unheard(hosts: Sequence[Host]) -> str:
    """Return the words for hosts that say nothing while no incident is open: that is not "all clear"."""
    names = [host.get("name", host["id"]) for host in hosts]
    listed = ", ".join(names[:MOST_NAMES])
    if len(names) > MOST_NAMES:
        listed += f" and {len(names) - MOST_NAMES} more"
    return f"No incident is open, but {listed} {'is' if len(names) == 1 else 'are'} not reporting."


def _all_clear(hosts: Sequence[Host]) -> str:
    newest = max((host.get("last_seen_at") or 0 for host in hosts), default=0)
    age = f", newest sample {ago((context.now() - newest) / 1000)} ago" if newest else ""
    return f"All clear on {len(hosts)} hosts{age}." if len(hosts) > 1 else f"All clear{age}."


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
    if not context.may("metrics:read"):
        return {}
    ids = tuple(host["id"] for host in hosts[:MOST_SPARKS])

    def load() -> dict[str, list[float | None]]:
        end = context.now()
        found: dict[str, list[float | None]] = {}
        for first in range(0, len(ids), HOSTS_PER_QUERY):
            answer = context.api().range(
                ids[first : first + HOSTS_PER_QUERY], ["cpu.percent"], end - HOUR, end, points=60
            )
            found.update({series["host_id"]: series["values"][-60:] for series in answer["series"]})
        return found

    try:
        return context.remembered(f"sparks:{hash(ids)}", 60, load)
    except ApiError as error:
        st.caption(f"The last hour's curves are missing: {plain(error.message)}")
        return {}
