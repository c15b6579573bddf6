"""Optimistic concurrency: a strong ETag from a version, and ``If-Match`` against it (RFC 9110 §13.1.1)."""

from __future__ import annotations

from typing import Annotated

from aws_lambda_powertools.event_handler.openapi.params import Header

from farwatch.errors import PreconditionFailed

IfMatch = Annotated[
    str | None, Header(alias="If-Match", max_length=100, description="The ETag that was read.")
]
"""The header of a request that changes something only if it is still as it was read."""

_CHANGED_FIRST = "somebody changed it first: read it again and repeat the change"


def etag_of(version: int | str) -> str:
    """Return the strong entity tag of a version number or digest, quotes included."""
    return f'"{version}"'


def check_if_match(if_match: str | None, version: int | str) -> None:
    """Return when the change may go on: no ``If-Match`` was sent, or it names ``version`` or ``*``.

    Raises PreconditionFailed when it names only other versions. A weak tag (``W/…``) never matches.
    """
    if if_match is None:
        return
    wanted = {tag.strip() for tag in if_match.split(",")}
    if "*" not in wanted and etag_of(version) not in wanted:
        raise PreconditionFailed(_CHANGED_FIRST)


def written(version: int | None) -> int:
    """Return the version that a conditional write made; raises PreconditionFailed for None, when it was not made."""
    if version is None:
        raise PreconditionFailed(_CHANGED_FIRST)
    return version
