"""The dashboard's server: ``streamlit run dashboard/app.py`` (settings: :mod:`dashboard.settings`).

An ASGI application: Streamlit runs ``entry/main.py`` for the pages, and :mod:`dashboard.routes` adds the live stream, the
session cookie and the components' files to the same origin. With an identity provider (:mod:`dashboard.single_sign_on`)
Streamlit serves the way to it and back as well.
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
from starlette.middleware import Middleware  # noqa: E402

from dashboard import single_sign_on  # noqa: E402
from dashboard.routes import routes, warm_up  # noqa: E402
from dashboard.session import STORE  # noqa: E402


@asynccontextmanager
async def lifespan(_: st.App) -> AsyncIterator[dict[str, Any]]:
    """Prepare the large script at start; end all sessions and their feeds at stop."""
    warm_up()
    yield {}
    STORE.close()


provider = single_sign_on.load()
app = st.App(
    "entry/main.py",
    routes=routes(),
    lifespan=lifespan,
    secrets=provider.streamlit_secrets() if provider is not None else None,
    middleware=[Middleware(single_sign_on.FailuresLeadBack)] if provider is not None else None,
)
