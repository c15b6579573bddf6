"""What the administrator's pages list in the double of the API: API tokens and security scans."""

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
            "name": "pipeline",
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


SCAN = "scan_0198c0ffee42d1a9b3c401"
_BEFORE = "scan_0198c0ffee42d1a9b3c400"
_KNOWN: list[tuple[str, str, str, int, str, str]] = [
    ("secret-provider", "critical", "deploy/settings.py", 12, 'aws_access_key_id = "AKIA…"', "new"),
    (
        "sql-format",
        "high",
        "shop/orders.py",
        88,
        "cursor.execute(f'SELECT * FROM orders WHERE id = {number}')",
        "open",
    ),
    (
        "crypto-tls-unverified",
        "medium",
        "shop/payment.py",
        7,
        "httpx.Client(verify=False)",
        "new",
    ),
    ("xss-inner-html", "medium", "web/cart.js", 31, "el.innerHTML = `<b>${name}</b>`;", "open"),
    ("crypto-weak-hash", "low", "tests/test_cart.py", 5, "hashlib.md5(text)", "open"),
]
_WHY = {
    "secret-provider": "A live credential is written into the source.",
    "sql-format": "Text from outside becomes part of an SQL statement.",
    "crypto-tls-unverified": "The other end of the connection can be anybody.",
    "xss-inner-html": "Text from outside becomes markup of the page.",
    "crypto-weak-hash": "Collisions of this hash can be made.",
}


def scans(now: int) -> list[dict[str, Any]]:
    """Return the scans: two of a shop, one of a clean tree."""
    counts = {"critical": 1, "high": 1, "medium": 2, "low": 1, "info": 0}
    shared = {"files": 241, "seconds": 8.4, "suppressed": 2, "skipped": 11, "left_out": 0}
    by = {"kind": "token", "id": "00000000000000a2"}
    shop = {**shared, "target": "shop", "published_by": by}
    return [
        {
            **shop,
            "id": SCAN,
            "received_at": _at(now - 3_600_000),
            "counts": counts,
            "trend": {"previous_id": _BEFORE, "new": 2, "fixed": 1, "open": 3},
        },
        {
            **shared,
            "id": "scan_0198c0ffee42d1a9b3c402",
            "target": "farwatch",
            "published_by": {"kind": "system", "id": "system"},
            "received_at": _at(now - 2 * DAY),
            "counts": dict.fromkeys(counts, 0),
            "trend": None,
        },
        {
            **shop,
            "id": _BEFORE,
            "received_at": _at(now - DAY),
            "counts": {**counts, "critical": 0, "high": 2},
            "trend": None,
        },
    ]


def findings() -> list[dict[str, Any]]:
    """Return what the newest scan of the shop found, and what it no longer found."""
    found = [_finding(number, *row) for number, row in enumerate(_KNOWN)]
    gone = _finding(9, "sql-format", "high", "shop/basket.py", 40, "cursor.execute(query + name)", "fixed")
    return [*found, gone]


def _finding(
    number: int, rule: str, severity: str, file: str, line: int, snippet: str, change: str
) -> dict[str, Any]:
    return {
        "change": change,
        "rule": rule,
        "kind": "other",
        "severity": severity,
        "file": file,
        "line": line,
        "column": 1,
        "snippet": snippet,
        "why": _WHY[rule],
        "fix": "Pass values as parameters, and keep credentials out of the source.",
        "cwe": 89,
        "sources": ["bandit", "farwatch"],
        "fingerprint": f"{number:020x}",
    }
