"""First run: from no host to the first batch in three steps."""

from __future__ import annotations

import streamlit as st

from dashboard import context
from dashboard.answers import ApiError

USES: dict[str, int | None] = {"one machine": 1, "10 machines": 10, "100 machines": 100, "any number": None}
LIVES = {"an hour": 3600, "a day": 86_400, "a week": 7 * 86_400}


def show() -> None:
    """Show how to add the first host, and wait for its first batch."""
    st.header("Add your first host", anchor=False)
    st.markdown("Farwatch needs a small agent on each machine it is to watch. It takes about a minute.")
    if not context.may("agents:manage"):
        st.info("Only an administrator can add hosts. Ask one to sign in here.", icon=":material/lock:")
        return
    enrolment("first")


def enrolment(key: str) -> None:
    """Show the steps that add a host; ``key`` tells several places that show them apart."""
    kept = f"farwatch.enrolment.{key}"
    with st.container(border=True):
        st.subheader("1 · Make an enrolment token", anchor=False)
        st.markdown("The token lets an agent introduce itself. It is shown once, and ends by itself.")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            uses = st.selectbox("It enrols", list(USES), key=f"uses-{key}", width=190)
            life = st.selectbox("It works for", list(LIVES), key=f"life-{key}", width=190)
        if st.button("Make a token", type="primary", icon=":material/key:", key=f"make-{key}"):
            with context.failures_shown("make a token", retry=False):
                answer = context.api().create_enrolment_token(
                    "dashboard", max_uses=USES[uses], expires_in_s=LIVES[life]
                )
                st.session_state[kept] = (answer, context.now())
    made = st.session_state.get(kept)
    if made is None:
        return
    answer, since = made
    with st.container(border=True):
        st.subheader("2 · Paste one line on the host", anchor=False)
        st.code(answer["install"], language="shell", wrap_lines=True)
        st.caption(
            "It needs Python 3.11 or newer and makes a service where systemd runs: for the whole machine as root, else for "
            "the user who pastes it. Pasted again, it upgrades. No curl there? Python alone will do:"
        )
        st.code(answer["install_without_curl"], language="shell", wrap_lines=True)
    with st.container(border=True):
        st.subheader("3 · Wait for the first batch", anchor=False)
        _waiting(since)


@st.fragment(run_every="2s")
def _waiting(since: int) -> None:
    try:
        hosts = context.api().hosts()
    except ApiError as error:
        context.show_failure("look for the host", error)
        return
    # Hosts that were there before report all the time; the server's clock may differ a little from ours.
    new = [host for host in hosts if host.get("enrolled_at", 0) > since - 60_000]
    arrived = [host for host in new if (host.get("last_seen_at") or 0) > since]
    if arrived:
        said = "A host has sent its" if len(arrived) == 1 else f"{len(arrived)} hosts have sent their"
        st.toast(f"{said} first batch.", icon=":material/check_circle:")
        st.rerun()
    else:
        st.status("Waiting for the first batch …", state="running")
        st.caption(
            "Nothing yet after a minute? Run `farwatch-agent check` on the host: it says what is in the way."
        )
