"""Which pages there are, what they are called and who sees them."""

from __future__ import annotations

from functools import cache

import streamlit as st

from dashboard.pages import explorer, fleet, host, incidents, notifications

FLEET = "fleet"


@cache
def _all() -> dict[str, st.Page]:
    return {
        FLEET: st.Page(fleet.page, title="Fleet", icon=":material/dns:", url_path="fleet", default=True),
        "host": st.Page(
            host.page, title="Host", icon=":material/computer:", url_path="host", visibility="hidden"
        ),
        "explorer": st.Page(explorer.page, title="Metrics", icon=":material/monitoring:", url_path="metrics"),
        "incidents": st.Page(
            incidents.page, title="Incidents", icon=":material/warning:", url_path="incidents"
        ),
        "notifications": st.Page(
            notifications.page,
            title="Notifications",
            icon=":material/notifications:",
            url_path="notifications",
        ),
    }


def pages() -> dict[str, list[st.Page]]:
    """Return the navigation, by section."""
    made = _all()
    return {"": [made["fleet"], made["host"], made["explorer"], made["incidents"], made["notifications"]]}


def named(name: str) -> st.Page:
    """Return one page, for links and for ``st.switch_page``."""
    return _all()[name]
