"""Rate limits at the door: refusing, and telling callers what they have left."""

from __future__ import annotations

from collections.abc import Iterable

from farwatch.errors import RateLimited
from farwatch.ports.http import Allowance


def check_allowances(allowances: Iterable[Allowance]) -> None:
    """Raise RateLimited when any of the limits that were counted is used up."""
    refused = [allowance for allowance in allowances if allowance.refused]
    if refused:
        wait = max(allowance.retry_after_s for allowance in refused)
        raise RateLimited(f"over the limit: {refused[0].policy}", retry_after_s=wait)


def rate_limit_headers(allowances: Iterable[Allowance]) -> dict[str, str]:
    """Return ``RateLimit-Policy`` and ``RateLimit`` (draft-ietf-httpapi-ratelimit-headers) for what was counted."""
    found = list(allowances)
    if not found:
        return {}
    return {
        "RateLimit-Policy": ", ".join(f'"{a.policy}";q={a.quota};w={a.window_s}' for a in found),
        "RateLimit": ", ".join(f'"{a.policy}";r={a.remaining};t={a.reset_s}' for a in found),
    }
