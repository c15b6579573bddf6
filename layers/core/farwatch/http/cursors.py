"""Page cursors that cannot be forged, and cannot be carried over to another question.

A cursor is ``base64url(JSON position) . base64url(MAC)``; the MAC (HMAC-SHA256, cut to 128 bits) covers the position and
the filter it was made for, so a cursor presented with another filter is refused instead of skipping rows silently.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from typing import Any

from farwatch.errors import FieldError, InvalidInput

Position = Sequence[str | int | float | None]


class Cursors:
    """Makes and reads cursors under ``key`` (any length; derived from the pepper)."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def encode(self, position: Position, bound_to: Mapping[str, Any]) -> str:
        """Return a cursor for the row after ``position`` of the list that ``bound_to`` (name and filters) asks for."""
        text = json.dumps(list(position), separators=(",", ":")).encode()
        return f"{_b64(text)}.{_b64(self._mac(text, bound_to))}"

    def decode(self, cursor: str, bound_to: Mapping[str, Any]) -> list[Any]:
        """Return the position; raises InvalidInput (400, ``invalid_cursor``) when it is not ours or not for this list."""
        try:
            text, mac = (_unb64(part) for part in cursor.split("."))
        except ValueError as error:
            raise _invalid() from error
        if not hmac.compare_digest(mac, self._mac(text, bound_to)):
            raise _invalid()
        position = json.loads(text)
        assert isinstance(position, list)  # noqa: S101 - we signed it
        return position

    def _mac(self, text: bytes, bound_to: Mapping[str, Any]) -> bytes:
        asked = json.dumps({k: v for k, v in bound_to.items() if v is not None}, sort_keys=True, default=str)
        return hmac.digest(self._key, text + b"\x00" + asked.encode(), hashlib.sha256)[:16]


def _invalid() -> InvalidInput:
    return InvalidInput(
        "the cursor does not belong to this list: start again without it",
        [FieldError("query.cursor", "not a cursor of this list")],
        status=400,
        code="invalid_cursor",
    )


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unb64(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except binascii.Error as error:
        raise ValueError(str(error)) from error
