"""The Lambda authoriser (HTTP API, payload 2.0, simple response).

It says who is asking and leaves refusing to the function behind it, which can answer with a proper status and a problem
body (the gateway can do neither), count the attempt against the rate limits and write it to the audit log.
"""

from __future__ import annotations

import time
from typing import Any

from farwatch.bootstrap import container
from farwatch.observability import logger


def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Return the verdict for the ``Authorization`` header of one request."""
    logger.set_correlation_id((event.get("requestContext") or {}).get("requestId"))
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    address = str(((event.get("requestContext") or {}).get("http") or {}).get("sourceIp") or "")
    verdict = container().access.verdict(headers.get("authorization"), time.time_ns() // 1_000_000, address)
    logger.info("authorised", kind=verdict["kind"], reason=verdict.get("reason"), id=verdict.get("id"))
    return {"isAuthorized": True, "context": verdict}
