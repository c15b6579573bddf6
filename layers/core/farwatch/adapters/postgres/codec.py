"""Between domain objects and jsonb, for text that comes from outside."""

from __future__ import annotations

from typing import Any

import msgspec


def to_json(value: Any) -> str:
    """Return ``value`` as JSON that jsonb takes: PostgreSQL has no NUL in text, so one becomes U+FFFD."""
    text = msgspec.json.encode(value)
    if rb"\u0000" in text:
        text = msgspec.json.encode(_without_nul(msgspec.to_builtins(value, str_keys=True)))
    return text.decode()


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(str(name)): _without_nul(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nul(item) for item in value]
    return value


def clean(text: str) -> str:
    """Return text that PostgreSQL takes."""
    return text.replace("\x00", "\ufffd")
