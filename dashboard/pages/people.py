"""People: who may sign in, as what, and who is invited."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard import components, context
from dashboard.components import Action, Row
from dashboard.pages.managing import attempt, confirm, name_of, show_secret

ROLES = {
    "admin": "Administrator: everything, people and agents included",
    "operator": "Operator: handles incidents, rules and intervals",
    "viewer": "Viewer: sees everything, changes nothing",
    "guest": "Guest: sees which hosts are there",
}
_INVITED = "farwatch.invited"


def page() -> None:
    """Show people and invitations."""
    st.header("People", anchor=False)
    st.markdown("Everybody who can sign in. A change of role or a disabled account takes effect at once.")
    with st.container(horizontal=True):
        if st.button("Invite somebody", type="primary", icon=":material/person_add:"):
            st.session_state.pop(_INVITED, None)
            _invite()
    with context.failures_shown("load the people"):
        people = context.api().items("/users")
        _act(people, _people_table(people))
        invitations = context.api().items("/invitations")
        if invitations:
            st.subheader("Open invitations", anchor=False)
            _revoke(invitations, _invitation_table(invitations))
        context.updated()


def _people_table(people: list[dict[str, Any]]) -> tuple[str, str] | None:
    me = context.current().user["id"]
    rows = []
    for person in people:
        state = ("unknown", "–", "Disabled") if person["disabled"] else ("ok", "✓", "Can sign in")
        switch = (
            Action("enable", "Enable") if person["disabled"] else Action("disable", "Disable", danger=True)
        )
        actions = [
            Action("role", "Role"),
            Action("reset", "Reset link"),
            Action("sign-out", "Sign out"),
            switch,
        ]
        rows.append(
            Row(
                person["id"],
                [person["name"], person["email"], person["role"], state, person.get("last_login_at")],
                [] if person["id"] == me else actions,
                dim=person["disabled"],
            )
        )
    columns = {"Name": "text", "E-mail": "text", "Role": "text", "State": "mark", "Last signed in": "time"}
    return components.table(columns, rows, label="People", empty="Nobody yet.", key="people")


def _act(people: list[dict[str, Any]], pressed: tuple[str, str] | None) -> None:
    if pressed is None:
        return
    person = next((one for one in people if one["id"] == pressed[0]), None)
    if person is None:
        return
    who, path = name_of(person, "name", "email"), f"/users/{person['id']}"
    match pressed[1]:
        case "role":
            _role(person)
        case "reset":
            with context.failures_shown("make a reset link", retry=False):
                link = context.api().send("POST", f"{path}/password-reset", {})["link"]
                show_secret(
                    f"With this link **{who}** can choose a new password, once and within an hour.", link
                )
        case "sign-out":
            confirm(
                f"Sign **{who}** out everywhere?",
                "sign them out",
                lambda: context.api().send("POST", f"{path}/sign-out", {}),
            )
        case "disable":
            confirm(
                f"**{who}** will be signed out and cannot sign in again until enabled.",
                "disable the account",
                lambda: context.api().send("PATCH", path, {"disabled": True}),
            )
        case "enable":
            if attempt("enable the account", lambda: context.api().send("PATCH", path, {"disabled": False})):
                st.rerun()


@st.dialog("Role")
def _role(person: dict[str, Any]) -> None:
    st.markdown(f"What may **{name_of(person, 'name', 'email')}** do?")
    names = list(ROLES)
    chosen = st.radio(
        "Role",
        names,
        names.index(person["role"]),
        format_func=ROLES.__getitem__,
        label_visibility="collapsed",
    )
    if st.button("Save", type="primary"):
        body = {"role": chosen}
        if attempt("change the role", lambda: context.api().send("PATCH", f"/users/{person['id']}", body)):
            st.rerun()


@st.dialog("Invite somebody", on_dismiss="rerun")
def _invite() -> None:
    made = st.session_state.get(_INVITED)
    if made is not None:
        sent = "It was mailed as well." if made["mailed"] else "Mail is not set up, so hand it over yourself."
        st.markdown(f"This link lets **{name_of(made, 'name', 'email')}** in. It is shown once. {sent}")
        st.code(made["link"], language=None, wrap_lines=True)
        if st.button("I have it", type="primary"):
            del st.session_state[_INVITED]
            st.rerun()
        return
    with st.form("invite", border=False):
        email = st.text_input("E-mail")
        name = st.text_input("Name", max_chars=200)
        role = st.radio("Role", list(ROLES), 2, format_func=ROLES.__getitem__)
        pressed = st.form_submit_button("Invite", type="primary")
    if not pressed:
        return
    if not email.strip() or not name.strip():
        st.warning("An e-mail address and a name are needed.")
        return
    body = {"email": email.strip(), "name": name.strip(), "role": role}
    made_now: list[dict[str, Any]] = []
    if attempt("invite", lambda: made_now.append(context.api().send("POST", "/invitations", body))):
        st.session_state[_INVITED] = made_now[0]
        st.rerun(scope="fragment")


def _invitation_table(invitations: list[dict[str, Any]]) -> tuple[str, str] | None:
    rows = [
        Row(
            one["id"],
            [one["name"], one["email"], one["role"], one["expires_at"]],
            [Action("revoke", "Revoke", danger=True)],
        )
        for one in invitations
    ]
    columns = {"Name": "text", "E-mail": "text", "Role": "text", "Expires": "time"}
    return components.table(columns, rows, label="Open invitations", empty="None.", key="invitations")


def _revoke(invitations: list[dict[str, Any]], pressed: tuple[str, str] | None) -> None:
    found = next((one for one in invitations if pressed is not None and one["id"] == pressed[0]), None)
    if found is not None:
        confirm(
            f"The link sent to **{name_of(found, 'email')}** will stop working.",
            "revoke the invitation",
            lambda: context.api().send("DELETE", f"/invitations/{found['id']}"),
        )
