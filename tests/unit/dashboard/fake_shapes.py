"""What all parts of the double share: who is on it, what its hosts are called, a call, a problem body."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

NAMES = ["web-1", "web-2", "web-3", "db-primary", "db-replica", "cache-1", "build-7", "edge-fra"]
PASSWORD = "farwatch-demo"
PEOPLE = {
    f"{role}@example.org": {
        "id": f"user_{role}",
        "email": f"{role}@example.org",
        "name": role.title(),
        "role": role,
    }
    for role in ("admin", "operator", "viewer", "guest")
}
HOUR = 3_600_000
CHANGERS = {"admin", "operator"}


@dataclass
class Call:
    """One authorised request: its query, JSON body, caller and the names in its path."""

    params: list[tuple[str, str]]
    body: Any
    user: dict[str, Any]
    names: dict[str, str]
    route: str = ""


def rfc3339(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def problem(
    status: int, detail: str, errors: list[dict[str, str]] | None = None
) -> tuple[int, dict[str, Any]]:
    return status, {
        "type": "about:blank",
        "title": "Refused",
        "status": status,
        "detail": detail,
        "instance": "req-0000",
        "code": "test",
        "errors": errors or [],
    }
