"""The WebSocket API as a Chalice app: connect with a ticket, subscribe and ping, disconnect."""

from __future__ import annotations

import time
from functools import cache
from typing import Any

from chalice.app import Chalice, WebsocketEvent

from farwatch.adapters.websocket import ChalicePoster
from farwatch.bootstrap import container
from farwatch.errors import Unauthenticated, Unavailable
from farwatch.observability import logger
from farwatch.services.live import Live

app = Chalice(app_name="farwatch-live", configure_logs=False)
app.experimental_feature_flags.update(["WEBSOCKETS"])


@cache
def live() -> Live:
    """Return this container's use cases, made at the first event."""
    made = container()
    return Live(
        made.adapters.tickets,
        made.adapters.connections,
        made.adapters.pushed,
        ChalicePoster(app.websocket_api, made.settings.websocket_endpoint),
    )


@app.on_ws_connect()
def connect(event: WebsocketEvent) -> dict[str, Any]:
    """Let a client in for its ticket, or refuse it with 401, or with 503 when tickets cannot be looked up."""
    query = event.to_dict().get("queryStringParameters") or {}
    try:
        viewer = live().connect(event.connection_id, str(query.get("ticket", "")))
    except Unauthenticated as error:
        logger.info("connection refused", extra={"reason": error.code})
        return {"statusCode": 401}
    except Unavailable as error:
        logger.error("connection refused", extra={"reason": error.message})
        return {"statusCode": 503}
    logger.info("connected", extra={"connection_id": event.connection_id, "user_id": viewer.user_id})
    return {"statusCode": 200}


@app.on_ws_message()
def message(event: WebsocketEvent) -> dict[str, Any]:
    """Answer one message of a client over its connection."""
    live().message(event.connection_id, event.body, time.time_ns() // 1_000_000)
    return {"statusCode": 200}


@app.on_ws_disconnect()
def disconnect(event: WebsocketEvent) -> dict[str, Any]:
    """Forget the connection."""
    live().disconnect(event.connection_id)
    return {"statusCode": 200}
