"""``Idempotency-Key`` on every POST: the same request twice has one effect and one answer.

Same key and same body: the stored answer again, marked ``Idempotent-Replayed: true``. Same key, other body: 422. Still
being served: 409 with ``Retry-After``. A request that fails leaves no trace, so it can be repeated with its key.
Keys belong to the caller and the route; nobody sees somebody else's answer.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

from aws_lambda_powertools.event_handler import Response

from farwatch.domain.rbac import Caller
from farwatch.errors import Conflict, FieldError, InvalidInput
from farwatch.ports.http import Reply, ReplyStore

_KEY = re.compile(r"[\x21-\x7e]{1,128}")
_KEPT_HEADERS = ("Location", "ETag")


def reply_key(caller: Caller, route: str, sent: str) -> str:
    """Return the store's key for what the caller sent; raises InvalidInput when the header is not usable."""
    if not _KEY.fullmatch(sent):
        raise InvalidInput(
            "Idempotency-Key must be 1–128 visible ASCII characters",
            [FieldError("header.Idempotency-Key", "1–128 visible ASCII characters, for example a UUID")],
            code="idempotency_key_invalid",
        )
    principal = caller.principal
    text = "\x1f".join([principal.kind, principal.id, route, sent])
    return hashlib.sha256(text.encode()).hexdigest()


def once(store: ReplyStore, key: str, body: bytes, serve: Callable[[], Response[str]]) -> Response[str]:
    """Return the kept answer for ``key``, or serve the request and keep its answer when it succeeded."""
    body_hash = hashlib.sha256(body).hexdigest()
    earlier = store.claim(key, body_hash)
    if earlier is not None:
        return _replay(earlier, body_hash)
    try:
        response = serve()
    except BaseException:
        store.release(key)
        raise
    if response.status_code < 300 and isinstance(response.body, str):
        headers = {name: str(response.headers[name]) for name in _KEPT_HEADERS if name in response.headers}
        store.keep(key, Reply(body_hash, response.status_code, headers, response.body))
    else:
        store.release(key)
    return response


def _replay(earlier: Reply, body_hash: str) -> Response[str]:
    if earlier.body_hash != body_hash:
        raise InvalidInput("this Idempotency-Key was used for another request", code="idempotency_key_reused")
    if earlier.status == 0:
        raise Conflict("the same request is being served", code="idempotency_in_progress")
    return Response(
        status_code=earlier.status,
        content_type="application/json",
        headers={**earlier.headers, "Idempotent-Replayed": "true"},
        body=earlier.body,
    )
