"""What the administrator's pages list in the double of the API: API tokens."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

DAY = 86_400_000


def api_tokens(now: int) -> list[dict[str, Any]]:
    """Return one token of each kind: in use, ending soon, expired and revoked."""
    shared = {
        "owner_id": "user_admin",
        "created_at": _at(now - 80 * DAY),
        "last_used_at": None,
        "revoked_at": None,
    }
    return [
        {
            **shared,
            "id": "00000000000000a1",
            "name": "grafana",
            "scopes": ["hosts:read", "metrics:read"],
            "expires_at": _at(now + 60 * DAY),
            "last_used_at": _at(now - 40_000),
        },
        {
            **shared,
            "id": "00000000000000a2",
            "name": "pipeline [x](http://evil.example)",
            "owner_id": "user_operator",
            "scopes": ["incidents:read"],
            "expires_at": _at(now + 3 * DAY),
        },
        {
            **shared,
            "id": "00000000000000a3",
            "name": "old script",
            "scopes": ["hosts:read"],
            "expires_at": _at(now - DAY),
        },
        {
            **shared,
            "id": "00000000000000a4",
            "name": "leaked",
            "scopes": ["rules:write"],
            "expires_at": _at(now + 60 * DAY),
            "revoked_at": _at(now - 2 * DAY),
        },
    ]


def _at(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
