"""Sign in, with a password or through the identity provider."""

from __future__ import annotations

from urllib.parse import urlsplit

import streamlit as st

from dashboard import components, context
from dashboard.answers import ApiError, Problem
from dashboard.pages import letters
from dashboard.settings import Misconfigured
from dashboard.single_sign_on import FAILURE, Provider
from dashboard.words import plain

WRONG = 401
SPENT = "sso_spent"
TOO_FAST = 429
_REFUSED = "farwatch.refused"


def page() -> None:
    """Show the form; a good answer leads on to the page whose address was asked for."""
    try:
        context.settings()
        provider = context.provider()
    except Misconfigured as error:
        st.error(plain(error), icon=":material/settings:")
        return
    if letters.page():
        return
    _, middle, _ = st.columns([1, 1.15, 1])
    with middle:
        st.space("large")
        st.header("Sign in to Farwatch", anchor=False)
        if provider is not None and _came_back(provider):
            st.rerun()
        notice = st.session_state.pop("farwatch.notice", None)
        if notice:
            st.info(plain(notice), icon=":material/schedule:")
        if provider is not None:
            _offer(provider)
        if not _with_password():
            return
    st.query_params.pop(FAILURE, None)
    st.rerun()


def _with_password() -> bool:
    """Show the form for e-mail and password; return True once it has signed somebody in."""
    with st.form("sign-in", border=True):
        email = st.text_input("E-mail", autocomplete="username", key="sign-in-email")
        password = st.text_input(
            "Password", type="password", autocomplete="current-password", key="sign-in-password"
        )
        pressed = st.form_submit_button("Sign in", type="primary", width="stretch")
    if pressed and _signed_in(email.strip(), password):
        return True
    if not pressed:
        st.caption("The first administrator's password was printed once, when Farwatch was set up.")
    letters.forgotten()
    return False


def _signed_in(email: str, password: str) -> bool:
    """Return True when the password is right; say what is wrong otherwise."""
    if not email or not password:
        st.warning("Enter your e-mail address and your password.", icon=":material/edit:")
        return False
    try:
        with st.spinner("Signing in …", show_time=False):
            context.sign_in(email, password)
    except Problem as error:
        if error.status == WRONG:
            st.error("The e-mail address or the password is wrong.", icon=":material/lock:")
        elif error.status == TOO_FAST and error.retry_after_s:
            st.error(
                f"Too many failed attempts. Wait {error.retry_after_s:.0f} s, then try again; the account is not "
                "locked. If you forgot your password, ask for a link below.",
                icon=":material/hourglass_top:",
            )
        else:
            context.show_failure("sign you in", error)
        return False
    except ApiError as error:
        context.show_failure("sign you in", error)
        return False
    return True


def _offer(provider: Provider) -> None:
    """Offer the way to the identity provider, and say what came of the last one."""
    name = plain(provider.name, 60)
    components.remember_address()
    refused = st.session_state.get(_REFUSED)
    failure = st.query_params.get(FAILURE)
    if refused is not None:
        st.error(
            f"**{name} knows you, but you may not sign in here.** {plain(refused)} An administrator of Farwatch can help: "
            "what you may do here follows from your groups. Or take another account.",
            icon=":material/person_off:",
        )
    elif failure == "unreachable":
        st.error(f"**{name} does not answer.** Try again, or use your password.", icon=":material/cloud_off:")
    elif failure is not None:
        st.error(
            f"**{name} did not sign you in.** You may have said no, or waited too long. Try again.",
            icon=":material/person_off:",
        )
    if refused is not None and st.button("Take another account", width="stretch", key="sso-other"):
        del st.session_state[_REFUSED]
        st.logout()
        st.stop()
    if st.button(f"Sign in with {name}", icon=":material/login:", width="stretch", key="sso"):
        st.login()
        st.stop()
    st.markdown("or with your password", text_alignment="center")


def _came_back(provider: Provider) -> bool:
    """Return True when the browser came back from the provider with an identity that may sign in."""
    token = context.fresh_identity_token()
    if token is None or _REFUSED in st.session_state:
        return False
    try:
        with st.spinner("Signing in …", show_time=False):
            context.sign_in_with_identity(token)
    except Problem as error:
        if error.code == SPENT:
            return False  # it signed in, here or elsewhere, and that session has been ended
        if error.status == WRONG:
            st.session_state[_REFUSED] = _sentence(error.message)
            return False
        context.show_failure(f"sign you in with {_host(provider)}", error)
        return False
    except ApiError as error:
        context.show_failure(f"sign you in with {_host(provider)}", error)
        return False
    return True


def _host(provider: Provider) -> str:
    return plain(urlsplit(provider.issuer).hostname or provider.name)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}".rstrip(".") + "."
