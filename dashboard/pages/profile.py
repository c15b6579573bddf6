"""The person's own account: password, and where they are signed in."""

from __future__ import annotations

import streamlit as st

from dashboard import components, context
from dashboard.browsers import browser_name
from dashboard.components import Row
from dashboard.pages.letters import SHORTEST_PASSWORD
from dashboard.pages.managing import attempt
from dashboard.words import plain


def page() -> None:
    """Show the account, its sessions and the change of password."""
    user = context.current().user
    st.header("Your account", anchor=False)
    st.markdown(f"{plain(user['name'])} · {plain(user['email'])} · {plain(user['role'])}")
    left, right = st.columns(2)
    with left:
        st.subheader("Change your password", anchor=False)
        if user.get("has_password", True):
            _password()
        else:
            st.markdown("You sign in through your identity provider, which keeps your password.")
    with right:
        st.subheader("Where you are signed in", anchor=False)
        _sessions()


def _password() -> None:
    with st.form("password"):
        old = st.text_input("Present password", type="password", autocomplete="current-password")
        new = st.text_input("New password", type="password", autocomplete="new-password")
        again = st.text_input("New password again", type="password", autocomplete="new-password")
        pressed = st.form_submit_button("Change it", type="primary")
    if not pressed:
        return
    if len(new) < SHORTEST_PASSWORD:
        st.warning(f"Use {SHORTEST_PASSWORD} characters or more.")
    elif new != again:
        st.warning("The two new ones do not match.")
    else:
        body = {"current_password": old, "new_password": new}
        if attempt("change the password", lambda: context.api().send("PUT", "/auth/password", body)):
            st.success("Changed. Everywhere else you were signed in, you are signed out.")


def _sessions() -> None:
    with context.failures_shown("load your sessions"):
        found = context.api().items("/auth/sessions")
        rows = [
            Row(
                str(number),
                [
                    browser_name(one["user_agent"]),
                    one["address"],
                    "this one" if one["current"] else "",
                    one["refreshed_at"],
                ],
            )
            for number, one in enumerate(found)
        ]
        columns = {"Browser": "text", "From": "text", "Which": "text", "Last used": "time"}
        components.table(columns, rows, label="Sessions", empty="None.", key="sessions")
    if st.button("Sign out everywhere", icon=":material/logout:") and attempt(
        "sign you out everywhere", lambda: context.api().send("POST", "/auth/logout-everywhere", {})
    ):
        context.leave()
