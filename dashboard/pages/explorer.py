"""The metrics explorer: any metric of any hosts over any range."""

from __future__ import annotations

from collections import Counter

import streamlit as st

from dashboard import components, context, ranges
from dashboard.charts import metric_panel, to_csv
from dashboard.components.range_picker import range_picker, zoomed
from dashboard.wire import Host, MetricInfo
from dashboard.words import plain

AGGREGATES = {"mean": "Average", "min": "Minimum", "max": "Maximum"}
MOST_METRICS = 6
MOST_HOSTS = 12
POINTS = 1000


def page() -> None:
    """Show the choice and the charts."""
    st.header("Metrics", anchor=False)
    st.markdown("Any metric of any host. The address holds the whole choice: copy it to share what you see.")
    context.live_fragment("explorer")
    _body()


@st.fragment(key="explorer")
def _body() -> None:
    hosts: list[Host] = []
    catalogue: list[MetricInfo] = []
    with context.failures_shown("load hosts and metrics"):
        hosts = context.remembered("hosts", 15, lambda: context.api().hosts())
        catalogue = context.remembered("catalogue", 300, lambda: context.api().metrics())
    if not hosts or not catalogue:
        if not hosts:
            st.info(
                "There is no host yet. Add one on the fleet page and its metrics appear here.",
                icon=":material/dns:",
            )
        return
    names = _names(hosts)
    units = {metric["name"]: metric for metric in catalogue}
    left, right, side = st.columns([2, 2, 1], vertical_alignment="bottom")
    _defaults(names, units)
    chosen_hosts = left.multiselect(
        "Hosts",
        list(names),
        format_func=names.__getitem__,
        key="hosts",
        bind="query-params",
        max_selections=MOST_HOSTS,
    )
    chosen_metrics = right.multiselect(
        "Metrics", list(units), key="metrics", bind="query-params", max_selections=MOST_METRICS
    )
    aggregate = side.selectbox(
        "Aggregation",
        list(AGGREGATES),
        format_func=AGGREGATES.__getitem__,
        key="aggregate",
        bind="query-params",
    )
    chosen = range_picker("explorer", default="1h")
    if not chosen_hosts or not chosen_metrics:
        st.info("Choose at least one host and one metric.", icon=":material/touch_app:")
        return
    for name in chosen_metrics:
        description = units[name].get("description")
        if description:
            st.caption(f"**{plain(name)}**: {plain(description)}")
    session = context.current()
    after = components.replay_points(session, [f"host:{host_id}" for host_id in chosen_hosts])
    with context.failures_shown("load the samples"):
        answer = context.api().range(
            chosen_hosts, chosen_metrics, chosen.start, chosen.end, aggregate=str(aggregate), points=POINTS
        )
        follow = after if chosen.preset is not None and answer["tier"] == "raw" else None
        components.charts(
            session,
            [metric_panel(answer, units[name], names) for name in chosen_metrics],
            key="explorer-view",
            start=chosen.start,
            end=chosen.end,
            timezone=context.timezone(),
            step_ms=int(answer["step_s"] * 1000),
            follow=follow,
            coarse=bool(answer["step_s"] > min(host.get("interval_s", 5.0) for host in hosts)),
            columns=1 if len(chosen_metrics) == 1 else 2,
            on_range=zoomed,
        )
        with st.container(horizontal=True, vertical_alignment="center"):
            st.download_button(
                "Download CSV",
                lambda: to_csv(answer, names),
                file_name="farwatch-samples.csv",
                mime="text/csv",
                icon=":material/download:",
                on_click="ignore",
            )
            st.caption(f"Showing {ranges.resolution(answer['tier'], answer['step_s'], str(aggregate))}")
        context.updated()


def _names(hosts: list[Host]) -> dict[str, str]:
    """Return a name for each host id; hosts of the same name get their id added, since names are in the address."""
    counts = Counter(host.get("name", host["id"]) for host in hosts)
    named = ((host["id"], host.get("name", host["id"])) for host in hosts)
    return {host_id: name if counts[name] == 1 else f"{name} ({host_id})" for host_id, name in named}


def _defaults(names: dict[str, str], units: dict[str, MetricInfo]) -> None:
    """Start with the host looked at last (or the first) and its CPU, where the address asks for nothing."""
    if "hosts" not in st.session_state and "hosts" not in st.query_params:
        last = st.session_state.get("farwatch.host")
        st.session_state["hosts"] = [last if last in names else next(iter(names))]
    if "metrics" not in st.session_state and "metrics" not in st.query_params:
        st.session_state["metrics"] = [name for name in ("cpu.percent",) if name in units]
