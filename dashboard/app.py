"""The dashboard's server: ``streamlit run dashboard/app.py`` (settings: :mod:`dashboard.settings`).

An ASGI application: Streamlit runs ``entry/main.py`` for the pages, and :mod:`dashboard.routes` adds the live stream, the
session cookie and the components' files to the same origin.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

ROOT = str(Path(__file__).resolve().parent.parent)
if ROOT not in sys.path:  # `streamlit run` puts only this file's own folder on the path
    sys.path.insert(0, ROOT)

import streamlit as st  # noqa: E402 - after the path is right

from dashboard.routes import routes, warm_up  # noqa: E402
from dashboard.session import STORE  # noqa: E402


@asynccontextmanager
async def lifespan(_: st.App) -> AsyncIterator[dict[str, Any]]:
    """Prepare the large script at start; end all sessions and their feeds at stop."""
    warm_up()
    yield {}
    STORE.close()


app = st.App("entry/main.py", routes=routes(), lifespan=lifespan)
