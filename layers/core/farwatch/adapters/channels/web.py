"""Posting JSON to a vendor: no redirects, a short time-out, and every answer sorted into passing and permanent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any

import urllib3

from farwatch.domain.headlines import one_line
from farwatch.domain.webhooks import address_fault
from farwatch.errors import Misconfigured, Rejected, Unavailable

TIMEOUT_S = 10.0
_READ_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Answer:
    """A 2xx answer, cut to what a log line could want."""

    status: int
    text: str


def post_json(dependency: str, url: str, body: Mapping[str, Any]) -> Answer:
    """Post ``body`` and return the answer. The address itself is a secret and appears in no error.

    Raises Unavailable for 429 (with the far side's Retry-After), 408, 5xx and network faults, and Rejected for
    everything else that is not 2xx, redirects included.
    """
    fault = address_fault(url)
    if fault:
        raise Misconfigured(f"the address of a {dependency} channel {fault}", code="bad_webhook_address")
    data = json.dumps(body, ensure_ascii=False).encode()
    try:
        response = _pool().request(
            "POST",
            url,
            body=data,
            headers={"Content-Type": "application/json; charset=utf-8", "User-Agent": "farwatch"},
            redirect=False,
            retries=False,
            timeout=urllib3.Timeout(connect=5.0, read=TIMEOUT_S),
            preload_content=False,
        )
    except urllib3.exceptions.HTTPError as error:
        raise Unavailable(dependency, f"cannot be reached ({type(error).__name__})") from None
    text = _words_of(response)
    said = f"HTTP {response.status} {one_line(text, 200)}".strip()
    if 200 <= response.status < 300:
        return Answer(response.status, text)
    if response.status in {408, 429} or response.status >= 500:
        raise Unavailable(dependency, said, retry_after_s=retry_after(response.headers.get("Retry-After")))
    raise Rejected(dependency, said)


def _words_of(response: urllib3.BaseHTTPResponse) -> str:
    """Return the beginning of an answer, or nothing when it is cut off: its status has said what became of the message,
    and one that was taken must not be sent again.
    """
    try:
        text = response.read(_READ_BYTES).decode(errors="replace")
        response.release_conn()
    except urllib3.exceptions.HTTPError:
        return ""
    return text


def retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Return the seconds a Retry-After header asks for, given in seconds or as a date (RFC 9110 §10.2.3)."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return max(0.0, (at - (now or datetime.now(UTC))).total_seconds()) if at.tzinfo else None


@cache
def _pool() -> urllib3.PoolManager:
    return urllib3.PoolManager(num_pools=8, maxsize=4)
