"""The one place where an error becomes an HTTP answer: an RFC 9457 problem body."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.exceptions import ServiceError
from aws_lambda_powertools.event_handler.openapi.exceptions import (
    RequestUnsupportedContentType,
    RequestValidationError,
    ResponseValidationError,
)

from farwatch.errors import (
    DependencyError,
    FarwatchError,
    FieldError,
    InvalidInput,
    Misconfigured,
    RateLimited,
    Refused,
    Rejected,
    Unauthenticated,
    Unavailable,
)
from farwatch.http.problem_types import PROBLEM_TYPES

MEDIA_TYPE = "application/problem+json"
DEFAULT_RETRY_AFTER_S = 5
_CODE_OF_STATUS = {
    400: "bad_request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    412: "version_conflict",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid_input",
    429: "rate_limited",
}


def problem_of(error: BaseException, *, request_id: str, type_base: str) -> Response[str]:
    """Return the problem response for any exception; what is not ours becomes a 500 that tells nothing.

    ``type_base`` is what stands before ``/api/v1/problems/{code}`` in the problem's ``type``.
    """
    status, code, detail, errors, headers = _facts(error)
    return problem(status, code, detail, errors, request_id=request_id, type_base=type_base, headers=headers)


def problem(
    status: int,
    code: str,
    detail: str,
    errors: Iterable[FieldError] = (),
    *,
    request_id: str,
    type_base: str,
    headers: dict[str, str] | None = None,
) -> Response[str]:
    """Return a problem response; ``code`` must be in ``PROBLEM_TYPES`` to have a title of its own."""
    known = PROBLEM_TYPES.get(code)
    body = {
        "type": f"{type_base}/api/v1/problems/{code}",
        "title": known.title if known is not None else HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": request_id,
        "code": code,
        "errors": [{"loc": error.loc, "msg": error.msg} for error in errors],
    }
    return Response(
        status_code=status,
        content_type=MEDIA_TYPE,
        body=json.dumps(body, separators=(",", ":")),
        headers=dict(headers or {}),
    )


_Facts = tuple[int, str, str, Sequence[FieldError], dict[str, str]]


def _facts(error: BaseException) -> _Facts:
    if isinstance(error, FarwatchError):
        return _facts_of_ours(error)
    if isinstance(error, ResponseValidationError):
        return 500, "internal", "the answer did not have the documented shape", (), {}
    if isinstance(error, RequestValidationError):
        found = [FieldError(_loc(e["loc"]), str(e["msg"])) for e in error.errors()]
        named = ", ".join(dict.fromkeys(e.loc for e in found[:5]))
        return 422, "invalid_input", f"the request does not fit: {named}", found, {}
    if isinstance(error, RequestUnsupportedContentType):
        return 415, "unsupported_media_type", "send the body as application/json", (), {}
    if isinstance(error, ServiceError):
        code = _CODE_OF_STATUS.get(error.status_code, "internal")
        return error.status_code, code, str(error.msg), (), {}
    return 500, "internal", "something went wrong here; the log has it under the request id", (), {}


def _facts_of_ours(error: FarwatchError) -> _Facts:
    if isinstance(error, Refused):
        errors = error.errors if isinstance(error, InvalidInput) else ()
        return error.status, error.code, error.message, errors, _headers_of(error)
    if isinstance(error, Rejected):
        return 502, error.code, error.message, (), {}
    if isinstance(error, DependencyError):
        # What exactly failed is in the log; the caller learns which dependency, and when to come back.
        return 503, error.code, f"{error.dependency} is unavailable", (), _headers_of(error)
    if isinstance(error, Misconfigured):
        return 500, error.code, "the service is misconfigured; the log names the setting", (), {}
    return 500, error.code, "something went wrong here; the log has it under the request id", (), {}


def _headers_of(error: FarwatchError) -> dict[str, str]:
    if isinstance(error, Unauthenticated):
        return {"WWW-Authenticate": 'Bearer realm="farwatch"'}
    if isinstance(error, RateLimited):
        return {"Retry-After": str(max(1, error.retry_after_s))}
    if isinstance(error, DependencyError):
        wait = error.retry_after_s if isinstance(error, Unavailable) else None
        return {"Retry-After": str(max(1, math.ceil(wait if wait is not None else DEFAULT_RETRY_AFTER_S)))}
    return {"Retry-After": "1"} if error.code == "idempotency_in_progress" else {}


def _loc(parts: Iterable[Any]) -> str:
    """Return Pydantic's location as a path: ``('body', 'series', 3, 'values')`` → ``body.series[3].values``."""
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text
