"""The door of the HTTP API: API Gateway event in, response out."""

from __future__ import annotations

from functools import cache
from typing import Any

from farwatch.bootstrap import container
from farwatch.http.app import Api, create_api
from functions.api.routes import ROUTERS


@cache
def api() -> Api:
    """Return the assembled API, built at the first request of this container."""
    made = container()
    return create_api(
        made.settings,
        ROUTERS,
        limits=made.rate_limits,
        replies=made.adapters.replies,
        access_log=made.adapters.audit,
    )


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Serve one request."""
    return api().handle(event, context)
