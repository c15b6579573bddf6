"""What a request changed, before and after: a route notes it, and the request's row in the audit log tells it."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from pydantic import BaseModel

State = BaseModel | Mapping[str, Any] | None
"""Something as the API shows it, so with its secrets masked; None where it is not there."""

Change = tuple[dict[str, Any] | None, dict[str, Any] | None]

_NOTHING: Change = (None, None)
_noted: ContextVar[Change] = ContextVar("farwatch_change", default=_NOTHING)


def note_change(before: State, after: State) -> None:
    """Keep what differs between the two for the audit log; all of it for what was made or is gone."""
    old, new = _plain(before), _plain(after)
    if old is not None and new is not None:
        differing = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
        old = {name: value for name, value in old.items() if name in differing}
        new = {name: value for name, value in new.items() if name in differing}
    _noted.set((old, new))


def noted_change() -> Change:
    """Return what this request's route has noted, None for each side it has not."""
    return _noted.get()


def forget_change() -> None:
    """Begin a request that has changed nothing yet; the house calls it once per event."""
    _noted.set(_NOTHING)


def _plain(state: State) -> dict[str, Any] | None:
    if state is None:
        return None
    return state.model_dump(mode="json") if isinstance(state, BaseModel) else dict(state)
