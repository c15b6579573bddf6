"""Facts about one thing: a name and a text per line, without a head."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st


def facts(rows: Mapping[str, str]) -> None:
    """Show each name beside its text. Both are markdown: what comes from outside must be escaped."""
    st.table(dict(rows), border="horizontal", hide_header=True)
