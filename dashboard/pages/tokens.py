"""API tokens: what programs sign in with, with how much right, until when."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard import components, context
from dashboard.components import Action, Row
from dashboard.pages.managing import attempt, confirm, name_of, people_names
from dashboard.words import plain

DAY_S = 86_400
LIVES = {7: "A week", 30: "30 days", 90: "90 days", 365: "A year"}
SOON_MS = 7 * DAY_S * 1000
EMPTY = (
    "No token yet. A program that reads or changes something here (a script, Grafana, a pipeline) needs one: "
    "make it with only the scopes it uses, and hand it over as a secret."
)
_MADE = "farwatch.token-made"


def page() -> None:
    """Show the tokens the person may see, and make or revoke some."""
    manages = context.may("tokens:manage")
    st.header("API tokens", anchor=False)
    st.markdown(
        "A token lets a program call the API in its owner's name. It may do what its scopes say, as long as the owner may."
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("New token", type="primary", icon=":material/key:"):
            st.session_state.pop(_MADE, None)
            _create()
        mine = manages and st.toggle("Only mine", key="mine", bind="query-params")
        ended = st.toggle("Show ended ones", key="ended", bind="query-params")
    with context.failures_shown("load the tokens"):
        found = context.api().items("/tokens", mine=str(bool(mine)).lower())
        tokens = [one for one in found if ended or not _has_ended(one)]
        tokens.sort(key=lambda one: one["created_at"], reverse=True)
        owners = people_names() if manages else {}
        _revoke(tokens, _table(tokens, owners))
        context.updated()


def _has_ended(token: dict[str, Any]) -> bool:
    return token["revoked_at"] is not None or token["expires_at"] <= context.now()


def _state(token: dict[str, Any]) -> tuple[str, str, str]:
    if token["revoked_at"] is not None:
        return "unknown", "–", "Revoked"
    if token["expires_at"] <= context.now():
        return "unknown", "–", "Expired"
    if token["expires_at"] - context.now() < SOON_MS:
        return "warning", "◆", "Ends soon"
    return "ok", "✓", "Works"


def _table(tokens: list[dict[str, Any]], owners: dict[str, str]) -> tuple[str, str] | None:
    me = context.current().user["id"]
    rows = [
        Row(
            token["id"],
            [
                token["name"],
                ", ".join(token["scopes"]),
                *(
                    ["you" if token["owner_id"] == me else owners.get(token["owner_id"], token["owner_id"])]
                    * bool(owners)
                ),
                _state(token),
                token["expires_at"],
                token["last_used_at"],
                token["created_at"],
            ],
            [] if _has_ended(token) else [Action("revoke", "Revoke", danger=True)],
            dim=_has_ended(token),
        )
        for token in tokens
    ]
    columns = {
        "Name": "text",
        "Scopes": "text",
        **({"Owner": "text"} if owners else {}),
        "State": "mark",
        "Expires": "time",
        "Last used": "time",
        "Made": "time",
    }
    return components.table(columns, rows, label="API tokens", empty=EMPTY, key="tokens")


def _revoke(tokens: list[dict[str, Any]], pressed: tuple[str, str] | None) -> None:
    found = next((one for one in tokens if pressed is not None and one["id"] == pressed[0]), None)
    if found is not None:
        confirm(
            f"Programs that use **{name_of(found, 'name')}** will be refused, within a minute. It cannot be undone.",
            "revoke the token",
            lambda: context.api().send("DELETE", f"/tokens/{found['id']}"),
        )


@st.dialog("New API token", width="medium", on_dismiss="rerun")
def _create() -> None:
    made = st.session_state.get(_MADE)
    if made is not None:
        st.markdown(
            f"This is **{name_of(made, 'name')}**. Copy it now: it is shown this once and kept nowhere."
        )
        st.code(made["token"], language=None, wrap_lines=True)
        st.caption("Send it as `Authorization: Bearer …`.")
        if st.button("I have it", type="primary"):
            del st.session_state[_MADE]
            st.rerun()
        return
    with context.failures_shown("ask what you may give", retry=False):
        scopes = context.remembered("scopes", 60, lambda: context.api().read("/auth/me")[0]["token_scopes"])
        _form(scopes)


def _form(scopes: list[str]) -> None:
    with st.form("token", border=False):
        name = st.text_input("Name", max_chars=200, placeholder="The program that will use it")
        chosen = st.pills("What it may do", scopes, selection_mode="multi")
        days = st.segmented_control("For how long", list(LIVES), default=90, format_func=LIVES.__getitem__)
        pressed = st.form_submit_button("Make it", type="primary")
    if not pressed:
        return
    if not name.strip():
        st.warning("Give it a name, so that you know later what to revoke.")
    elif not chosen:
        st.warning("Choose at least one thing it may do.")
    else:
        body = {"name": name.strip(), "scopes": list(chosen), "expires_in_s": (days or 90) * DAY_S}
        made: list[dict[str, Any]] = []
        if attempt(f"make {plain(name)}", lambda: made.append(context.api().send("POST", "/tokens", body))):
            st.session_state[_MADE] = made[0]
            context.forget("tokens")
            st.rerun(scope="fragment")
