"""Builds what a function needs, once per container, at first use and never at import.

A handler asks ``container()`` for its use case; tests build a ``Container`` of their own from other settings.
"""

from __future__ import annotations

from functools import cache

from farwatch.bootstrap.container import Container
from farwatch.observability import start_error_tracking
from farwatch.settings import Settings

__all__ = ["Container", "container"]


@cache
def container() -> Container:
    """Return this process's container, reading settings from the environment the first time."""
    settings = Settings()
    start_error_tracking(settings.sentry_dsn, settings.environment)
    return Container(settings)
