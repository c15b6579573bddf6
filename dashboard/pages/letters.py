"""Where links from letters lead: accepting an invitation, choosing a new password, asking for a reset link."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from dashboard import context
from dashboard.answers import ApiError, Problem

SHORTEST_PASSWORD = 12


def asked() -> bool:
    """Return whether the address asks for one of these forms."""
    return "invitation" in st.query_params or "reset" in st.query_params


def page() -> bool:
    """Show the form the address asks for (``?invitation=`` or ``?reset=``); False when it asks for neither."""
    invitation, reset = st.query_params.get("invitation"), st.query_params.get("reset")
    if invitation:
        _invitation(invitation)
    elif reset:
        _reset(reset)
    return bool(invitation or reset)


def _invitation(token: str) -> None:
    with _middle():
        st.header("Welcome to Farwatch", anchor=False)
        st.markdown("You were invited. Choose a password, and you are in.")
        with st.form("invitation"):
            name = st.text_input("Your name", max_chars=200, placeholder="As in the invitation")
            password, again = _passwords()
            pressed = st.form_submit_button("Join", type="primary", width="stretch")
        if pressed and _acceptable(password, again):
            _try("accept the invitation", lambda: context.accept_invitation(token, name.strip(), password))


def _reset(token: str) -> None:
    with _middle():
        st.header("Choose a new password", anchor=False)
        st.markdown("Every place where you are signed in will be signed out.")
        with st.form("reset"):
            password, again = _passwords()
            pressed = st.form_submit_button("Set the password", type="primary", width="stretch")
        if pressed and _acceptable(password, again):
            _try(
                "set the password",
                lambda: context.anonymous().reset_password(token, password),
                "Your password is set. Sign in with it.",
            )


def forgotten() -> None:
    """Offer a reset link to people who cannot sign in."""
    with st.expander("Forgot your password?"), st.form("forgotten", border=False):
        email = st.text_input("Your address", key="forgotten-email", autocomplete="username")
        if st.form_submit_button("Send me a link") and email.strip():
            try:
                context.anonymous().ask_for_reset(email.strip())
            except ApiError as error:
                context.show_failure("ask for a link", error)
                return
            st.success("If somebody has this address here, a link is on its way to it.")


def _middle() -> st.delta_generator.DeltaGenerator:
    _, middle, _ = st.columns([1, 1.15, 1])
    return middle


def _passwords() -> tuple[str, str]:
    first = st.text_input("Password", type="password", autocomplete="new-password")
    return first, st.text_input("Again", type="password", autocomplete="new-password")


def _acceptable(password: str, again: str) -> bool:
    if len(password) < SHORTEST_PASSWORD:
        st.warning(
            f"Use {SHORTEST_PASSWORD} characters or more. A few words are easier to remember than symbols."
        )
    elif password != again:
        st.warning("The two do not match.")
    else:
        return True
    return False


def _try(what: str, action: Callable[[], None], notice: str = "") -> None:
    try:
        action()
    except Problem as error:
        if error.status == 401:
            st.error(
                "This link is used up, too old or not whole. Ask for a new one.", icon=":material/link_off:"
            )
        else:
            context.show_failure(what, error)
        return
    except ApiError as error:
        context.show_failure(what, error)
        return
    if notice:
        st.session_state["farwatch.notice"] = notice
    st.query_params.clear()
    st.rerun()
