"""What every page needs: the session, the viewer's timezone and rights, the clock, and how failures are shown."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import cache
from types import TracebackType
from typing import Any, TypeVar, cast

import httpx
import streamlit as st

from dashboard import session as sessions
from dashboard import single_sign_on
from dashboard.answers import ApiError, Problem, SignedOut, Unreachable
from dashboard.browsers import DASHBOARD
from dashboard.client import Client, open_http
from dashboard.session import COOKIE, IDENTITY_S, STORE, Session
from dashboard.settings import Settings, load
from dashboard.single_sign_on import Provider
from dashboard.wire import Preferences
from dashboard.words import plain

T = TypeVar("T")
_SESSION = "farwatch.session"
_CODE = "farwatch.code"
_FRAGMENTS = "farwatch.fragments"


@cache
def settings() -> Settings:
    """Return the settings, read once."""
    return load()


@cache
def provider() -> Provider | None:
    """Return the identity provider people may sign in with, read once; None when there is none."""
    return single_sign_on.load()


@cache
def http() -> httpx.Client:
    """Return the process's connection pool to the API."""
    return open_http(settings().api_url)


def now() -> int:
    """Return the time in epoch milliseconds."""
    return int(time.time() * 1000)


def find_session() -> Session | None:
    """Return the session of this tab: its own, or the one its browser's cookie names."""
    kept = st.session_state.get(_SESSION)
    if isinstance(kept, Session) and not kept.ended:
        return kept
    found = STORE.by_cookie(st.context.cookies.get(COOKIE))
    if found is not None:
        st.session_state[_SESSION] = found
    else:
        st.session_state.pop(_SESSION, None)
    return found


def current() -> Session:
    """Return the session of a page that is only shown to people who are signed in."""
    return cast(Session, st.session_state[_SESSION])


def api() -> Client:
    """Return the API as the signed-in person sees it."""
    return current().client


def sign_in(email: str, password: str) -> None:
    """Sign in and keep the session in this tab; raises what the client raises."""
    _keep(sessions.start(http(), settings(), Client(http(), headers=_agent()).log_in(email, password)))


def identity() -> Mapping[str, Any]:
    """Return the claims of the identity Streamlit's own sign-in found, empty when there is none."""
    return st.user if provider() is not None and st.user.get("is_logged_in") else {}


def fresh_identity_token() -> str | None:
    """Return the identity token the browser has lately come back with; None for an old one and without one.

    Streamlit's cookie keeps it for long: that it signs in once is the API's to see to.
    """
    claims = identity()
    issued = claims.get("iat")
    if not isinstance(issued, int | float) or time.time() - issued > IDENTITY_S:
        return None
    return claims["tokens"].get("id") or None


def sign_in_with_identity(id_token: str) -> None:
    """Sign in with the identity provider's token; raises what the client raises (401: no role here)."""
    _keep(sessions.start(http(), settings(), Client(http(), headers=_agent()).log_in_with_identity(id_token)))


def accept_invitation(token: str, name: str, password: str) -> None:
    """Become a user with an invitation's token, and be signed in; raises what the client raises."""
    tokens = Client(http(), headers=_agent()).accept_invitation(token, name, password)
    _keep(sessions.start(http(), settings(), tokens))


def _keep(session: Session) -> None:
    st.session_state[_SESSION] = session
    st.session_state[_CODE] = STORE.one_time_code(session)


def anonymous() -> Client:
    """Return the API as it is for somebody who is not signed in."""
    return Client(http())


def cookie_code() -> str | None:
    """Return the one-time code this tab still has to swap for a cookie, or None."""
    return cast("str | None", st.session_state.get(_CODE))


def sign_out() -> None:
    """Sign out here. The session is gone from this process even if the API cannot be told."""
    session = st.session_state.pop(_SESSION, None)
    st.session_state.pop(_CODE, None)
    if isinstance(session, Session):
        try:
            sessions.sign_out(session)
        except SignedOut:
            pass  # it had ended at the back end already, which is what was wanted
        except ApiError as error:
            st.toast(f"Signed out here. The back end could not be told: {plain(error.message)}")


def leave() -> None:
    """Sign out here, and at the identity provider if that is where the person came from; ends this run."""
    came_with_identity = bool(identity())
    sign_out()
    if came_with_identity:
        st.logout()  # sends the browser away, so there is nothing more to draw
        st.stop()
    st.rerun()


def may(permission: str) -> bool:
    """Return whether the person may do something; the API checks again, this only decides what is offered."""
    return permission in current().permissions


def remembered(name: str, ttl_s: float, load_it: Callable[[], T]) -> T:
    """Return ``load_it()``, or what it returned to this session less than ``ttl_s`` seconds ago."""
    kept = current().memory
    entry = kept.get(name)
    if entry is not None and time.monotonic() - entry[0] < ttl_s:
        return cast(T, entry[1])
    value = load_it()
    kept[name] = (time.monotonic(), value)
    return value


def forget(name: str) -> None:
    """Drop a remembered value because it was changed."""
    current().memory.pop(name, None)


def preferences() -> Preferences:
    """Return the person's preferences."""
    return remembered("preferences", 30, lambda: api().preferences())


def timezone() -> str | None:
    """Return the timezone of the person's browser; None when it does not say, which is shown as UTC."""
    return st.context.timezone


def _agent() -> dict[str, str]:
    """Return headers that tell the back end which browser signs in, for the list of the person's sessions."""
    browser = st.context.headers.get("User-Agent") or ""
    return {"User-Agent": f"{DASHBOARD} {browser}".strip()[:200].encode("ascii", "replace").decode()}


def live_fragment(key: str) -> None:
    """Note that the fragment ``key`` is on the page and wants to run again when something happens."""
    st.session_state.setdefault(_FRAGMENTS, set()).add(key)


def clear_fragments() -> None:
    """Forget the fragments of the page before; called at the start of each full run."""
    st.session_state[_FRAGMENTS] = set()


def on_page(*keys: str) -> list[str]:
    """Return those fragments of ``keys`` (all, when none are named) that are on the page."""
    present: set[str] = st.session_state.get(_FRAGMENTS, set())
    return sorted(present.intersection(keys) if keys else present)


class failures_shown:  # noqa: N801 - reads as the statement it is: with failures_shown("load the fleet"):
    """Show an error panel instead of letting an API failure end the page. ``what`` completes "Could not …".

    A session that has ended leads back to the sign-in form, with the address kept.
    """

    def __init__(self, what: str, *, retry: bool = True) -> None:
        self.what = what
        self.retry = retry

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if isinstance(error, SignedOut):
            st.session_state.pop(_SESSION, None)
            st.session_state["farwatch.notice"] = error.message
            st.rerun()
        if not isinstance(error, ApiError):
            return False
        show_failure(self.what, error)
        if self.retry:
            st.button("Try again", key=f"retry-{self.what}", icon=":material/refresh:")
        return True


def show_failure(what: str, error: ApiError) -> None:
    """Show what failed, why, and how to find it in the logs."""
    lines = [f"**Could not {what}.** {plain(error.message)}"]
    if isinstance(error, Problem):
        lines.extend(f"- {plain(e.get('loc', ''))}: {plain(e.get('msg', ''))}" for e in error.errors)
        if error.retry_after_s:
            lines.append(f"Wait {error.retry_after_s:.0f} s before trying again.")
        if error.request_id:
            lines.append(f"Request id: `{_code(error.request_id)}`")
    elif isinstance(error, Unreachable):
        lines.append("What is shown may be old. It is tried again by itself.")
    st.error("\n\n".join(lines), icon=":material/error:")


def _code(text: Any) -> str:
    return str(text).replace("`", "'")[:100]


def updated() -> None:
    """Say when the page was last brought up to date."""
    from dashboard.words import clock_time

    zone = timezone()
    st.caption(f"Updated {clock_time(now(), zone, seconds=True)[11:]} · times in {plain(zone or 'UTC')}")
