"""``POST /api/v1/metrics/batches`` and ``GET …/batches/progress``: the door agents knock at every few seconds.

It is the one HTTP function that does without the API's router: an agent calls it far more often than anybody calls anything
else, and what it needs of the house (who is calling, problem bodies) is two calls.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import msgspec

from farwatch.bootstrap import container
from farwatch.domain.rbac import Permission
from farwatch.errors import FieldError, Forbidden, InvalidInput, RateLimited
from farwatch.http.bodies import raw_body
from farwatch.http.limits import check_allowances
from farwatch.http.principal import caller_of, refusal_of, renewal_due
from farwatch.observability import logger
from farwatch.wire.batch import MAX_COMPRESSED, WireStanding

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

_encode = msgspec.json.Encoder().encode


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer one request of an agent: 202 with the counts and the standing, 200 with the standing, or a problem."""
    del context
    try:
        status, answer = _serve(event, _host_of(event))
        answer.renew_credential = renewal_due(event)
    except Exception as error:  # noqa: BLE001 - the last handler: everything becomes a problem body, and is logged
        return _problem(event, error)
    return {
        "statusCode": status,
        "headers": {"Content-Type": "application/json", "Cache-Control": "no-store"},
        "body": _encode(answer).decode(),
    }


def _host_of(event: dict[str, Any]) -> str:
    caller = caller_of(event)
    try:
        check_allowances(container().rate_limits.spend(caller, None))
    except RateLimited:
        if caller.principal.host_id is not None:
            container().ingest.note_heard(caller.principal.host_id, time.time_ns() // 1_000_000)
        raise
    refusal = refusal_of(event)
    if refusal is not None:
        raise refusal
    principal = caller.principal
    principal.require(Permission.METRICS_INGEST)
    if principal.host_id is None:
        raise Forbidden("only an agent's credential brings samples", code="agents_only")
    return principal.host_id


def _serve(event: dict[str, Any], host_id: str) -> tuple[int, WireStanding]:
    now = time.time_ns() // 1_000_000
    if event["requestContext"]["http"]["method"] == "POST":
        answer = container().ingest.accept(raw_body(event, MAX_COMPRESSED), host_id, now)
        logger.info("batch accepted", host_id=host_id, accepted=answer.accepted, rejected=answer.rejected)
        return 202, answer
    spool_id = (event.get("queryStringParameters") or {}).get("spool_id", "")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", spool_id):
        raise InvalidInput(
            "spool_id is missing", [FieldError("query.spool_id", "the id of the agent's spool")]
        )
    return 200, container().ingest.standing(host_id, spool_id, now)


def _problem(event: dict[str, Any], error: Exception) -> dict[str, Any]:
    from farwatch.errors import Refused
    from farwatch.http.problems import problem_of
    from farwatch.observability import report_exception

    if isinstance(error, Refused):
        logger.info("batch refused", code=error.code, reason=error.message)
    else:
        logger.exception("batch not taken")
        report_exception(error)
    request_id = str(event.get("requestContext", {}).get("requestId", ""))
    answer = problem_of(error, request_id=request_id, type_base=container().settings.api_url.rstrip("/"))
    headers = {name: str(value) for name, value in answer.headers.items()}
    return {
        "statusCode": answer.status_code,
        "headers": {"Content-Type": answer.content_type or "application/problem+json", **headers},
        "body": answer.body,
    }
