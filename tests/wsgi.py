"""The API as a WSGI application, so that HTTP tools can test it in this process, authoriser included."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from tests.api_events import http_event
from tests.gateway import Gateway


class WsgiGateway:
    """Turns WSGI calls into API Gateway events and back."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve one WSGI request."""
        from functions.api.handler import handler

        headers = {
            name[5:].replace("_", "-").lower(): value
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        if environ.get("CONTENT_TYPE"):
            headers["content-type"] = environ["CONTENT_TYPE"]
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")
        event = http_event(
            environ["REQUEST_METHOD"],
            path,
            headers=headers,
            query=_joined(environ.get("QUERY_STRING", "")),
            verdict=self._gateway.verdict_for(headers.get("authorization")),
        )
        event["rawQueryString"] = environ.get("QUERY_STRING", "")
        if body:
            event["body"] = base64.b64encode(body).decode()
            event["isBase64Encoded"] = True
        result = handler(event, None)
        status = HTTPStatus(result["statusCode"])
        start_response(f"{status.value} {status.phrase}", list(result["headers"].items()))
        return [(result.get("body") or "").encode()]


def _joined(query: str) -> dict[str, str]:
    """Return the query as API Gateway passes it on: repeated names joined by commas."""
    found: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        found[name] = f"{found[name]},{value}" if name in found else value
    return found
