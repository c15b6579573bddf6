"""Building blocks of request and response models."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Generic, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    StringConstraints,
)

Item = TypeVar("Item")


class Body(BaseModel):
    """A request body: unknown fields are refused, so a misspelt field is not silently ignored."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class Answer(BaseModel):
    """A response body."""

    model_config = ConfigDict(from_attributes=True)


class Page(Answer, Generic[Item]):
    """One page of a list; ``next_cursor`` is null at the end."""

    items: list[Item]
    next_cursor: str | None = None


class Problem(BaseModel):
    """An RFC 9457 problem. ``code`` is stable; ``errors`` names each field at fault; ``instance`` is the request id."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    errors: list[FieldProblem] = []


class FieldProblem(BaseModel):
    """One thing wrong with the request, such as ``body.email``."""

    loc: str
    msg: str


def _to_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Timestamp = Annotated[datetime, AfterValidator(_to_utc), PlainSerializer(_rfc3339, return_type=str)]
"""A moment: RFC 3339 in UTC with milliseconds on the wire."""

Limit = Annotated[int, Field(ge=1, le=200)]
"""Page size."""


def moment(ms: int) -> datetime:
    """Return the moment ``ms`` milliseconds after the epoch, for a ``Timestamp`` field."""
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=ms)


def moment_or_none(ms: int | None) -> datetime | None:
    """Return the moment, or None for None."""
    return None if ms is None else moment(ms)


def plain_text(value: str) -> str:
    """Return ``value`` when it is one line of printable text, for names that people will read in lists and mails."""
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise ValueError("must be one line without control characters")
    return value


Email = Annotated[str, StringConstraints(min_length=3, max_length=254)]
"""An e-mail address; ``farwatch.domain.people.normal_email`` says whether it can be one."""

Password = Annotated[SecretStr, Field(min_length=1, max_length=256)]
"""A password: never shown in an error, a log or a representation."""

OneTimeToken = Annotated[SecretStr, Field(min_length=1, max_length=200)]
"""A token that works once."""

Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(plain_text)
]
"""A name given by people: one line of 1–200 characters, hostile all the same."""
