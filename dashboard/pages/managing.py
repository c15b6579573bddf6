"""What the pages that manage lists share: running an action, and asking before one that is hard to undo."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from dashboard import context
from dashboard.answers import ApiError
from dashboard.words import plain


def attempt(what: str, action: Callable[[], object], done: str = "") -> bool:
    """Do something at the API; show what went wrong, or say ``done`` after the page is drawn again."""
    try:
        action()
    except ApiError as error:
        context.show_failure(what, error)
        return False
    if done:
        st.toast(done, icon=":material/check:")
    return True


@st.dialog("Are you sure?")
def confirm(question: str, what: str, action: Callable[[], object]) -> None:
    """Ask before doing what is hard to undo. ``question`` may hold markdown: names in it must be escaped."""
    st.markdown(question)
    with st.container(horizontal=True):
        if st.button("Yes", type="primary") and attempt(what, action):
            st.rerun()
        if st.button("No"):
            st.rerun()


@st.dialog("Shown once", dismissible=True)
def show_secret(explanation: str, secret: str) -> None:
    """Show a link, token or line that cannot be shown again."""
    st.markdown(explanation)
    st.code(secret, language=None, wrap_lines=True)
    if st.button("I have it", type="primary"):
        st.rerun()


def name_of(row: dict[str, object], *fields: str) -> str:
    """Return the first of the fields that says something, escaped for a question."""
    return plain(next((row[field] for field in fields if row.get(field)), "this"))


def names_by_id() -> dict[str, str]:
    """Return the names of people, hosts and API tokens by id, as far as the person may see them. Raises ApiError."""
    names = {
        host["id"]: host.get("name", host["id"])
        for host in context.remembered("hosts", 15, context.api().hosts)
    }
    return names | people_names() | token_names()


def token_names() -> dict[str, str]:
    """Return what API tokens are called by id, for those who may see everybody's; empty for others. Raises ApiError."""
    if not context.may("tokens:manage"):
        return {}
    tokens = context.remembered("tokens", 300, lambda: context.api().items("/tokens"))
    return {one["id"]: f"token {one['name']}" for one in tokens}


def people_names() -> dict[str, str]:
    """Return the names of people by id, for those who may look at people; empty for others. Raises ApiError."""
    if not context.may("users:manage"):
        return {}
    people = context.remembered("people", 30, lambda: context.api().items("/users"))
    return {person["id"]: person["name"] or person["email"] for person in people}
