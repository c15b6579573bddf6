"""What the API answers when it does not do what it was asked, and moments as the dashboard counts them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

import httpx

from dashboard.wire import FieldProblem


class ApiError(Exception):
    """The API could not be asked or would not answer; ``message`` is a sentence fit to be shown."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Unreachable(ApiError):
    """No answer at all: the network, a proxy or the back end is down."""


class SignedOut(ApiError):
    """The session is over (expired, revoked, signed out elsewhere): sign in again."""


class Problem(ApiError):
    """An RFC 9457 answer. ``code`` is stable, ``request_id`` finds the log lines, ``errors`` name fields."""

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        *,
        code: str = "",
        request_id: str = "",
        errors: Sequence[FieldProblem] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(detail or title)
        self.status = status
        self.title = title
        self.detail = detail
        self.code = code
        self.request_id = request_id
        self.errors = tuple(errors)
        self.retry_after_s = retry_after_s

    def about(self, name: str) -> str | None:
        """Return what is wrong with the field ``name``, or ``None`` if the problem does not mention it."""
        for error in self.errors:
            if error.get("loc", "").rsplit(".", 1)[-1] == name:
                return error.get("msg")
        return None


def problem_of(response: httpx.Response) -> Problem:
    """Return the :class:`Problem` an error response describes, whatever its body looks like."""
    body: dict[str, Any] = {}
    if "json" in response.headers.get("content-type", ""):
        try:
            parsed = response.json()
        except ValueError:
            parsed = None
        if isinstance(parsed, dict):
            body = parsed
    retry_after = response.headers.get("retry-after", "")
    errors = body.get("errors")
    return Problem(
        response.status_code,
        str(body.get("title") or response.reason_phrase or f"HTTP {response.status_code}"),
        str(body.get("detail") or ""),
        code=str(body.get("code") or ""),
        request_id=str(body.get("instance") or response.headers.get("x-request-id") or ""),
        errors=cast(list[FieldProblem], [e for e in errors if isinstance(e, dict)])
        if isinstance(errors, list)
        else [],
        retry_after_s=float(retry_after) if retry_after.isdigit() else None,
    )


def in_milliseconds(value: Any) -> Any:
    """Return decoded JSON with every moment (``at`` and ``…_at``, RFC 3339 on the wire) as epoch milliseconds."""
    if isinstance(value, list):
        return (
            [in_milliseconds(item) for item in value]
            if value and not isinstance(value[0], (int, float))
            else value
        )
    if not isinstance(value, dict):
        return value
    return {
        key: _moment(item)
        if isinstance(item, str) and (key == "at" or key.endswith("_at"))
        else in_milliseconds(item)
        for key, item in value.items()
    }


def _moment(text: str) -> int | str:
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError:
        return text
