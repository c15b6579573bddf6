"""The sidebar: socket indicator, notifications, check interval, what reaches me, and who I am."""

from __future__ import annotations

import re

import streamlit as st

from dashboard import components, context
from dashboard.answers import ApiError, Problem
from dashboard.session import Session
from dashboard.wire import Notification, NotificationPage
from dashboard.words import SEVERITY_ICON, ago, interval, plain

INTERVALS = (5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
EMAIL = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@.]{2,}")
MOST_TOASTS = 3
CHANNELS = {"email": "E-mail", "slack": "Slack", "pagerduty": "PagerDuty", "in_app": "In this dashboard"}
TOPICS = {"incidents": "incidents:read", "notifications": "notifications:own", "fleet": "hosts:read"}
_SEEN = "farwatch.seen_notifications"


def unread_count() -> int:
    """Return how many notifications are unread, 0 when that cannot be found out."""
    if not context.may("notifications:own"):
        return 0
    try:
        return int(_page().get("unread", 0))
    except ApiError:
        return 0


def _page() -> NotificationPage:
    return context.remembered("notifications", 10, lambda: context.api().notifications(limit=20))


def show(session: Session) -> None:
    """Draw the sidebar."""
    with st.sidebar:
        _pulse(session)
        if context.may("notifications:own"):
            context.live_fragment("bell")
            _bell()
        with st.expander("Check interval", icon=":material/timer:"):
            _interval()
        with st.expander("What reaches me", icon=":material/outgoing_mail:"):
            _preferences()
        _who(session)


@st.fragment(key="pulse")
def _pulse(session: Session) -> None:
    """Draw the indicator. As a fragment, so that news waits for a page that is still loading instead of cutting it off."""
    topics = [topic for topic, permission in TOPICS.items() if context.may(permission)]
    components.pulse(session, topics, code=context.cookie_code(), on_news=_news)


def _news(topics: list[str]) -> None:
    """Something happened on these topics: run again what shows them."""
    context.forget("notifications")
    if "poll" in topics:
        wanted = context.on_page()
    elif "notifications" in topics or "incidents" in topics:
        wanted = context.on_page("bell", "fleet", "host-head", "incidents", "notifications", "forecast")
    else:
        wanted = context.on_page("bell")
    if wanted:
        st.rerun(scope=wanted)


@st.fragment(key="bell")
def _bell() -> None:
    try:
        found = _page()
    except ApiError as error:
        st.caption(f"Notifications: {plain(error.message)}")
        return
    items, unread = found["items"], int(found.get("unread", 0))
    _toast_new(items)
    label = f"{unread} unread" if unread else "Notifications"
    with st.popover(
        label,
        icon=":material/notifications_active:" if unread else ":material/notifications:",
        width="stretch",
    ):
        if not items:
            st.markdown("Nothing yet. When an incident concerns you, it shows up here and as a toast.")
        for item in items[:6]:
            notification_line(item)
        if unread and st.button("Mark all read", key="bell-read-all", icon=":material/done_all:"):
            context.api().mark_read()
            context.forget("notifications")
            st.rerun()


def notification_line(item: Notification) -> None:
    """Draw one notification with a link to its incident."""
    from dashboard.pages.registry import named

    icon = SEVERITY_ICON.get(item.get("severity", ""), "●")
    age = ago((context.now() - item.get("created_at", context.now())) / 1000)
    title = plain(item.get("title", ""))
    st.markdown(f"{icon} {title if item.get('read_at') else f'**{title}**'}  \n:gray[{age} ago]")
    incident = item.get("incident_id")
    if incident:
        st.page_link(
            named("incidents"),
            label="Open the incident",
            icon=":material/arrow_forward:",
            query_params={"id": incident},
        )


def _toast_new(items: list[Notification]) -> None:
    """Toast what came since the last look; what was there when the page opened is not news."""
    seen: set[str] | None = st.session_state.get(_SEEN)
    if seen is not None:
        new = [item for item in items if item["id"] not in seen and not item.get("read_at")]
        for item in new[:MOST_TOASTS]:
            icon = SEVERITY_ICON.get(item.get("severity", ""), "●")
            st.toast(f"{icon} {plain(item.get('title', ''))}", duration="long")
        if len(new) > MOST_TOASTS:
            st.toast(f"and {len(new) - MOST_TOASTS} more notifications", duration="long")
    st.session_state[_SEEN] = {item["id"] for item in items}


def _interval() -> None:
    try:
        every = int(
            context.remembered("config", 30, lambda: context.api().config()).get("default_interval_s", 5)
        )
    except ApiError as error:
        st.caption(plain(error.message))
        return
    if not context.may("config:write"):
        st.markdown(f"Every host is sampled every **{interval(every)}**.")
        st.caption("Operators and administrators can change it.")
        return
    options = sorted({*INTERVALS, every})
    st.session_state.setdefault("interval", every)
    st.select_slider(
        "Sample every host each", options, key="interval", format_func=interval, on_change=_save_interval
    )
    st.caption(
        "From 5 s to 1 h. Agents hear of it with their next batch; hosts with an interval of their own keep it."
    )


def _save_interval() -> None:
    chosen = st.session_state["interval"]
    try:
        context.api().change_config({"default_interval_s": float(chosen)})
    except ApiError as error:
        st.session_state.pop("interval", None)
        st.toast(f"Not changed: {plain(error.message)}", icon=":material/error:", duration="long")
        return
    context.forget("config")
    st.toast(f"Agents will sample every {interval(chosen)}.", icon=":material/check:")


def _preferences() -> None:
    try:
        kept = context.preferences()
    except ApiError as error:
        st.caption(plain(error.message))
        return
    toggles = kept.get("channels") or {}
    with st.form("preferences", border=False):
        email = st.text_input(
            "E-mail address", kept.get("email", ""), autocomplete="email", key="pref-address"
        )
        chosen = {
            name: st.toggle(word, bool(toggles.get(name)), key=f"pref-{name}")
            for name, word in CHANNELS.items()
        }
        pressed = st.form_submit_button("Save", width="stretch")
    if not pressed:
        return
    if not EMAIL.fullmatch(email.strip()):
        st.error(
            "That is not an e-mail address. It should look like name@example.org.", icon=":material/edit:"
        )
        return
    try:
        changed = {"email": email.strip(), "channels": chosen}
        zone = context.timezone() or kept.get("timezone")
        severity = kept.get("min_severity", "info")
        context.api().save_preferences({**changed, "min_severity": severity, "timezone": zone})
    except Problem as error:
        st.error(plain(error.about("email") or error.message), icon=":material/error:")
    except ApiError as error:
        context.show_failure("save", error)
    else:
        context.forget("preferences")
        st.success("Saved.", icon=":material/check:")


def _who(session: Session) -> None:
    from dashboard.pages.registry import named

    user = session.user
    with st.container(horizontal=True, vertical_alignment="center"):
        name = plain(user.get("name") or user["email"], 40)
        st.page_link(named("profile"), label=f"{name} · {plain(user['role'])}", icon=":material/person:")
        if st.button("Sign out", key="sign-out", icon=":material/logout:", type="tertiary"):
            context.leave()
