"""Sign in."""

from __future__ import annotations

import streamlit as st

from dashboard import context
from dashboard.client import ApiError, Problem
from dashboard.pages import letters
from dashboard.settings import Misconfigured
from dashboard.words import plain

WRONG = 401


def page() -> None:
    """Show the form; a good answer leads on to the page whose address was asked for."""
    try:
        context.settings()
    except Misconfigured as error:
        st.error(plain(error), icon=":material/settings:")
        return
    if letters.page():
        return
    _, middle, _ = st.columns([1, 1.15, 1])
    with middle:
        st.space("large")
        st.header("Sign in to Farwatch", anchor=False)
        notice = st.session_state.pop("farwatch.notice", None)
        if notice:
            st.info(plain(notice), icon=":material/schedule:")
        with st.form("sign-in", border=True):
            email = st.text_input("E-mail", autocomplete="username", key="sign-in-email")
            password = st.text_input(
                "Password", type="password", autocomplete="current-password", key="sign-in-password"
            )
            pressed = st.form_submit_button("Sign in", type="primary", width="stretch")
        if not pressed:
            st.caption("The first administrator's password was printed once, when Farwatch was set up.")
            letters.forgotten()
            return
        if not email.strip() or not password:
            st.warning("Enter your e-mail address and your password.", icon=":material/edit:")
            return
        try:
            with st.spinner("Signing in …", show_time=False):
                context.sign_in(email.strip(), password)
        except Problem as error:
            if error.status == WRONG:
                st.error("The e-mail address or the password is wrong.", icon=":material/lock:")
            else:
                context.show_failure("sign you in", error)
            return
        except ApiError as error:
            context.show_failure("sign you in", error)
            return
    st.rerun()
