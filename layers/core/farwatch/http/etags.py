"""Optimistic concurrency: a strong ETag from a version, and ``If-Match`` against it (RFC 9110 §13.1.1)."""

from __future__ import annotations

from farwatch.errors import PreconditionFailed


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
        raise PreconditionFailed("somebody changed it first: read it again and repeat the change")
