"""Which pages there are, what they are called and who sees them."""

from __future__ import annotations

import streamlit as st

from dashboard.pages import explorer, fleet, host, incidents, notifications

FLEET = "fleet"
SECTIONS = {"": ("fleet", "host", "explorer", "incidents", "notifications")}


def _all() -> dict[str, st.Page]:
    # Made anew for each run: Streamlit marks the chosen page on the object, so sessions must not share them.
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


NEEDED = {
    "explorer": "metrics:read",
    "incidents": "incidents:read",
    "notifications": "notifications:own",
}


def pages(permissions: frozenset[str] | None) -> dict[str, list[st.Page]]:
    """Return the navigation, by section, for somebody with these permissions; all pages for None (not signed in).

    A page left out here is only not offered: the API refuses its data to whoever may not have it.
    """
    made = _all()

    def offered(name: str) -> bool:
        return permissions is None or NEEDED.get(name) is None or NEEDED[name] in permissions

    return {section: [made[name] for name in names if offered(name)] for section, names in SECTIONS.items()}


def named(name: str) -> st.Page:
    """Return one page, for links and for ``st.switch_page``."""
    return _all()[name]
