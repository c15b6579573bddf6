"""Building blocks of request and response models."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, StringConstraints

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

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
"""A human-given name: hostile text of 1–200 characters."""

Limit = Annotated[int, Field(ge=1, le=200)]
"""Page size."""
