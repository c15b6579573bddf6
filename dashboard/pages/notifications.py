"""The notification centre."""

from __future__ import annotations

import streamlit as st

from dashboard import context
from dashboard.sidebar import notification_line


def page() -> None:
    """Show everything that was meant for this person, newest first."""
    st.header("Notifications", anchor=False)
    st.markdown("What was sent to you, whichever channel it took. Unread ones are in bold.")
    context.live_fragment("notifications")
    _body()


@st.fragment(key="notifications")
def _body() -> None:
    with context.failures_shown("load the notifications"):
        only_unread = st.toggle("Only unread", key="unread", bind="query-params")
        found = context.api().notifications(unread=True if only_unread else None, limit=100)
        items = found["items"]
        if only_unread:
            items = [item for item in items if not item.get("read_at")]
        if not items:
            st.info(
                "Nothing unread."
                if only_unread
                else "Nothing yet. When an incident concerns you, it is listed here.",
                icon=":material/notifications_off:",
            )
            return
        if any(not item.get("read_at") for item in items) and st.button(
            "Mark all read", icon=":material/done_all:"
        ):
            context.api().mark_read()
            _changed()
        for item in items:
            with st.container(border=True, horizontal=True, vertical_alignment="center"):
                with st.container():
                    notification_line(item)
                if not item.get("read_at") and st.button(
                    "Mark read", key=f"read-{item['id']}", type="tertiary"
                ):
                    context.api().mark_read(item["id"])
                    _changed()
        context.updated()


def _changed() -> None:
    context.forget("notifications")
    st.rerun()
