"""What each problem code means: where the ``type`` of every problem leads."""

from __future__ import annotations

from typing import Annotated

from aws_lambda_powertools.event_handler.api_gateway import Router
from aws_lambda_powertools.event_handler.openapi.params import Path

from farwatch.errors import NotFound
from farwatch.http.access import public
from farwatch.http.models import Answer
from farwatch.http.openapi import problems
from farwatch.http.problem_types import PROBLEM_TYPES

router = Router()


class ProblemExplained(Answer):
    """A problem code, what it means and what to do about it."""

    code: str
    status: int
    title: str
    advice: str


@router.get(
    "/api/v1/problems/<code>",
    summary="What a problem code means",
    tags=["problems"],
    responses=problems(404),
)
@public("documentation")
def explain_problem(code: Annotated[str, Path(max_length=60, pattern="^[a-z_]+$")]) -> ProblemExplained:
    """Return the explanation of a code found in a problem body."""
    known = PROBLEM_TYPES.get(code)
    if known is None:
        raise NotFound("there is no such problem code")
    return ProblemExplained(code=code, status=known.status, title=known.title, advice=known.advice)
