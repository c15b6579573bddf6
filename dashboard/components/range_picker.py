"""The time range picker. The address is the truth; the widgets show and change it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import streamlit as st

from dashboard import context, ranges
from dashboard.words import clock_time, zone


def range_picker(
    name: str, *, presets: Sequence[str] = tuple(ranges.PRESETS), default: str = ranges.DEFAULT
) -> ranges.Range:
    """Show the picker and return the range of the address. ``name`` keeps several pages' widgets apart."""
    chosen = ranges.from_query(st.query_params.to_dict(), context.now(), default)
    key = f"range-{name}"
    st.session_state[key] = chosen.preset

    def pick() -> None:
        picked = st.session_state.get(key)
        if picked is not None:
            write(ranges.preset(picked, context.now()))

    with st.container(horizontal=True, vertical_alignment="center"):
        st.segmented_control(
            "Time range",
            list(presets),
            key=key,
            on_change=pick,
            label_visibility="collapsed",
            width="content",
        )
        with st.popover("Custom", icon=":material/calendar_month:"):
            _custom(name, chosen)
        if chosen.preset is None:
            shown = context.timezone()
            st.caption(
                f"{clock_time(chosen.start, shown)} to {clock_time(chosen.end, shown)}", width="content"
            )
            if st.button("Back to live", icon=":material/play_arrow:", key=f"live-{name}"):
                write(ranges.preset(default, context.now()))
                st.rerun(scope="fragment")
    return chosen


def _custom(name: str, chosen: ranges.Range) -> None:
    here = zone(context.timezone())
    with st.form(f"custom-{name}", border=False):
        start = st.datetime_input(
            "From", datetime.fromtimestamp(chosen.start / 1000, UTC).astimezone(here).replace(tzinfo=None)
        )
        end = st.datetime_input(
            "To", datetime.fromtimestamp(chosen.end / 1000, UTC).astimezone(here).replace(tzinfo=None)
        )
        if st.form_submit_button("Show", type="primary"):
            if not isinstance(start, datetime) or not isinstance(end, datetime) or end <= start:
                st.warning("The end must lie after the start.")
                return
            first, last = (int(moment.replace(tzinfo=here).timestamp() * 1000) for moment in (start, end))
            write(ranges.Range(first, last, None))
            st.rerun(scope="fragment")


def write(chosen: ranges.Range) -> None:
    """Put a range into the address."""
    for stale in ("range", "from", "to"):
        st.query_params.pop(stale, None)
    st.query_params.update(ranges.to_query(chosen))


def zoomed(span: dict[str, int] | None) -> None:
    """Put a zoom on a chart into the address; a double click (None) goes back to the moving range."""
    if span is None:
        write(ranges.preset(ranges.DEFAULT, context.now()))
        return
    start, end = int(span["from"]), int(span["to"])
    if end - start < ranges.SHORTEST:
        middle = (start + end) // 2
        start, end = middle - ranges.SHORTEST // 2, middle + ranges.SHORTEST // 2
    write(ranges.Range(start, end, None))
