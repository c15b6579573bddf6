"""Optimistic concurrency: a strong ETag from a version, and ``If-Match`` against it (RFC 9110 §13.1.1)."""

from __future__ import annotations

from typing import Annotated, TypeVar

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Header

from farwatch.errors import PreconditionFailed

IfMatch = Annotated[
    str | None, Header(alias="If-Match", max_length=100, description="The ETag that was read.")
]
"""The header of a request that changes something only if it is still as it was read."""

_Body = TypeVar("_Body")
_CHANGED_FIRST = "somebody changed it first: read it again and repeat the change"


def etag_of(version: int | str) -> str:
    """Return the strong entity tag of a version number or digest, quotes included."""
    return f'"{version}"'


def tagged(body: _Body, version: int | str) -> Response[_Body]:
    """Return the answer 200 with ``body`` and the entity tag of its version."""
    return Response(
        status_code=200, content_type="application/json", headers={"ETag": etag_of(version)}, body=body
    )


def check_if_match(if_match: str | None, version: int) -> int | None:
    """Return the version that the write must still find, None when any will do: no ``If-Match`` was sent, or ``*``.

    Raises PreconditionFailed when it names only other versions than ``version``. A weak tag (``W/…``) never matches.
    """
    wanted = {"*"} if if_match is None else {tag.strip() for tag in if_match.split(",")}
    if "*" in wanted:
        return None
    if etag_of(version) not in wanted:
        raise PreconditionFailed(_CHANGED_FIRST)
    return version


def written(version: int | None) -> int:
    """Return the version that a conditional write made; raises PreconditionFailed for None, when it was not made."""
    if version is None:
        raise PreconditionFailed(_CHANGED_FIRST)
    return version
