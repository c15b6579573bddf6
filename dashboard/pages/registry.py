"""Which pages there are, what they are called and who sees them."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from dashboard.pages import (
    agents,
    anomalies,
    audit,
    channels,
    explorer,
    fleet,
    forecasts,
    health,
    host,
    incidents,
    notifications,
    people,
    profile,
    rules,
    scans,
    tokens,
)

SECTIONS = {
    "Watch": ("fleet", "host", "explorer", "anomalies", "forecasts", "incidents", "notifications"),
    "Manage": ("rules", "channels", "agents", "people", "tokens", "scans", "audit", "health", "profile"),
}
NEEDED = {
    "explorer": "metrics:read",
    "anomalies": "anomalies:read",
    "forecasts": "forecasts:read",
    "incidents": "incidents:read",
    "notifications": "notifications:own",
    "rules": "rules:read",
    "channels": "channels:read",
    "agents": "agents:manage",
    "people": "users:manage",
    "tokens": "tokens:own",
    "scans": "scan:read",
    "audit": "audit:read",
    "health": "health:read",
}


def _all() -> dict[str, st.Page]:
    # Made anew for each run: Streamlit marks the chosen page on the object, so sessions must not share them.
    return {
        "fleet": st.Page(fleet.page, title="Fleet", icon=":material/dns:", url_path="fleet", default=True),
        "host": _page(host.page, "Host", "computer", "host", hidden=True),
        "explorer": _page(explorer.page, "Metrics", "monitoring", "metrics"),
        "anomalies": _page(anomalies.page, "Anomalies", "troubleshoot", "anomalies"),
        "forecasts": _page(forecasts.page, "Forecasts", "online_prediction", "forecasts"),
        "incidents": _page(incidents.page, "Incidents", "warning", "incidents"),
        "notifications": _page(notifications.page, "Notifications", "notifications", "notifications"),
        "rules": _page(rules.page, "Rules", "rule", "rules"),
        "channels": _page(channels.page, "Channels", "campaign", "channels"),
        "agents": _page(agents.page, "Agents", "memory", "agents"),
        "people": _page(people.page, "People", "group", "people"),
        "tokens": _page(tokens.page, "API tokens", "key", "tokens"),
        "scans": _page(scans.page, "Security scans", "policy", "scans"),
        "audit": _page(audit.page, "Audit log", "history_edu", "audit"),
        "health": _page(health.page, "Health", "favorite", "health"),
        "profile": _page(profile.page, "Your account", "person", "account", hidden=True),
    }


def _page(run: Callable[[], None], title: str, icon: str, path: str, *, hidden: bool = False) -> st.Page:
    return st.Page(
        run,
        title=title,
        icon=f":material/{icon}:",
        url_path=path,
        visibility="hidden" if hidden else "visible",
    )


def pages(permissions: frozenset[str] | None) -> dict[str, list[st.Page]]:
    """Return the navigation, by section, for somebody with these permissions; all pages for None (not signed in).

    A page that takes more than these is not in the menu; who follows a link to it reads that. The API refuses its data to
    whoever may not have it in any case.
    """
    made = _all()

    def allowed(name: str) -> bool:
        return permissions is None or NEEDED.get(name) is None or NEEDED[name] in permissions

    return {
        section: [made[name] if allowed(name) else _refused(made[name]) for name in names]
        for section, names in SECTIONS.items()
    }


def _refused(page: st.Page) -> st.Page:
    """Return what stands at a page's address for somebody who may not see it."""

    def say() -> None:
        st.header(page.title, anchor=False)
        st.info(
            "Your role does not include this page. An administrator can give you another role.",
            icon=":material/lock:",
        )
        st.page_link(named("fleet"), label="Fleet", icon=":material/arrow_back:")

    return st.Page(say, title=page.title, icon=page.icon, url_path=page.url_path, visibility="hidden")


def named(name: str) -> st.Page:
    """Return one page, for links and for ``st.switch_page``."""
    return _all()[name]
