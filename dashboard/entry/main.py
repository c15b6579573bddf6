"""The pages' script: Streamlit runs it for every tab and every interaction that is not inside a fragment.

It has a folder of its own because Streamlit takes a ``pages`` folder beside its script for scripts to run by
themselves, until the script says otherwise.
"""

from __future__ import annotations

import streamlit as st

from dashboard import context, sidebar
from dashboard.pages import letters, sign_in
from dashboard.pages.registry import pages
from dashboard.routes import ASSETS

session = context.find_session()
unread = sidebar.unread_count() if session is not None else 0
st.set_page_config(
    page_title=f"({unread}) Farwatch" if unread else "Farwatch",
    page_icon=str(ASSETS / "mark.svg"),
    layout="wide",
    menu_items={"Get help": None, "Report a bug": None, "About": "Farwatch watches machines."},
)
st.logo(str(ASSETS / "logo.svg"), icon_image=str(ASSETS / "mark.svg"), size="large")
context.clear_fragments()
if session is None or letters.asked():
    # The pages stay registered so that the address of a deep link survives signing in.
    st.navigation(pages(None), position="hidden")
    sign_in.page()
else:
    chosen = st.navigation(pages(session.permissions), expanded=True)
    sidebar.show(session)
    chosen.run()
