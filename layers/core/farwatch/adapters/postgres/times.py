"""Epoch milliseconds (everywhere else) to and from timestamptz (in PostgreSQL)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import overload

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@overload
def at_ms(ms: int) -> datetime: ...
@overload
def at_ms(ms: None) -> None: ...
def at_ms(ms: int | None) -> datetime | None:
    """Return the moment ``ms`` milliseconds after the epoch, exactly; None stays None."""
    return None if ms is None else _EPOCH + timedelta(milliseconds=ms)


@overload
def ms(at: datetime) -> int: ...
@overload
def ms(at: None) -> None: ...
def ms(at: datetime | None) -> int | None:
    """Return the milliseconds since the epoch, rounded down; None stays None."""
    return None if at is None else (at - _EPOCH) // timedelta(milliseconds=1)
