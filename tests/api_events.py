"""API Gateway events (HTTP API, payload 2.0) for tests, with the authoriser's verdict already in them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from farwatch.domain.rbac import Role


def http_event(
    method: str,
    path: str,
    *,
    body: Any = None,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    verdict: Mapping[str, str] | None = None,
    address: str = "192.0.2.7",
) -> dict[str, Any]:
    """Return the event of one request; ``body`` is sent as JSON unless it is a string already."""
    sent = {"content-type": "application/json"} if body is not None else {}
    sent.update({name.lower(): value for name, value in (headers or {}).items()})
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": urlencode(query or {}),
        "queryStringParameters": dict(query) if query else None,
        "headers": sent,
        "body": body if isinstance(body, str) or body is None else json.dumps(body),
        "isBase64Encoded": False,
        "requestContext": {
            "requestId": "request-1",
            "stage": "$default",
            "authorizer": {"lambda": dict(verdict or {})},
            "http": {"method": method, "path": path, "sourceIp": address, "userAgent": "tests"},
        },
    }


def as_user(role: Role | str, user_id: str = "user_1", session_id: str = "session_1") -> dict[str, str]:
    """Return the authoriser's verdict for a signed-in person."""
    return {"kind": "user", "id": user_id, "role": str(role), "session_id": session_id}


def as_agent(host_id: str, credential_id: str = "0" * 16) -> dict[str, str]:
    """Return the authoriser's verdict for an agent of ``host_id``."""
    return {"kind": "agent", "id": credential_id, "host_id": host_id}


def as_token(*scopes: str, owner_id: str = "user_1", role: Role | str = Role.ADMIN) -> dict[str, str]:
    """Return the authoriser's verdict for an API token with ``scopes``."""
    return {
        "kind": "token",
        "id": "1" * 16,
        "role": str(role),
        "owner_id": owner_id,
        "scopes": ",".join(scopes),
    }


def answer(response: Mapping[str, Any]) -> Any:
    """Return the JSON body of an API response (None when it is empty)."""
    return json.loads(response["body"]) if response.get("body") else None
