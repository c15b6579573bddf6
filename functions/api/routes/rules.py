"""Rules: what is watched, with hysteresis, on which hosts."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.api_gateway import Router
from aws_lambda_powertools.event_handler.openapi.params import Header, Path
from pydantic import Field, StringConstraints, model_validator

from farwatch.bootstrap import container
from farwatch.domain.rbac import Permission
from farwatch.domain.rules import Comparison, Condition, Measure, Rule
from farwatch.domain.severity import Severity
from farwatch.errors import NotFound, PreconditionFailed
from farwatch.http.access import requires
from farwatch.http.app import created, no_content
from farwatch.http.etags import check_if_match, etag_of
from farwatch.http.models import Answer, Body, Name
from farwatch.http.openapi import problems
from farwatch.ids import new_id

router = Router()

RuleId = Annotated[str, Path(pattern=r"^rule_[a-z0-9_]{1,80}$", description="Id of the rule.")]
IfMatch = Annotated[
    str | None, Header(alias="If-Match", max_length=100, description="The ETag that was read.")
]
MetricName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$", max_length=100)]
Globs = Annotated[
    dict[
        Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_]{0,39}$")],
        Annotated[str, StringConstraints(min_length=1, max_length=200)],
    ],
    Field(max_length=10),
]
Number = Annotated[float, Field(ge=-1e300, le=1e300)]
Seconds = Annotated[float, Field(ge=0, le=86_400)]


class ConditionBody(Body):
    """One comparison. ``leave`` defaults to ``enter``; ``window_s`` is needed for ``change_per_hour`` (60 s to a day)."""

    metric: MetricName
    comparison: Comparison
    enter: Number
    leave: Number | None = None
    measure: Measure = Measure.VALUE
    window_s: Seconds = 0

    @model_validator(mode="after")
    def _fits(self) -> ConditionBody:
        if self.leave is not None:
            above = self.comparison is Comparison.ABOVE
            if (self.leave > self.enter) if above else (self.leave < self.enter):
                side = "above" if above else "below"
                raise ValueError(f"leave must not lie {side} enter, or the rule could never end")
        if self.measure is Measure.CHANGE and self.window_s < 60:
            raise ValueError("change_per_hour needs window_s of 60 seconds or more")
        return self


class RuleBody(Body):
    """A rule as people write it: all conditions must hold together for ``for_s`` seconds."""

    name: Name
    conditions: Annotated[list[ConditionBody], Field(min_length=1, max_length=5)]
    severity: Severity
    for_s: Seconds = 60
    keep_firing_for_s: Seconds = 60
    host_labels: Globs = Field(default_factory=dict)
    series_labels: Globs = Field(default_factory=dict)
    summary: Annotated[str, StringConstraints(max_length=500)] = ""
    enabled: bool = True


class ConditionOut(Answer):
    """One comparison."""

    metric: str
    comparison: Comparison
    enter: float
    leave: float | None
    measure: Measure
    window_s: float


class RuleOut(Answer):
    """A rule. ``stock`` ones came with the installation."""

    id: str
    name: str
    conditions: list[ConditionOut]
    severity: Severity
    for_s: float
    keep_firing_for_s: float
    host_labels: dict[str, str]
    series_labels: dict[str, str]
    summary: str
    enabled: bool
    stock: bool


class RuleList(Answer):
    """Every rule, by name."""

    items: list[RuleOut]


@router.get("/api/v1/rules", summary="All rules", tags=["rules"])
@requires(Permission.RULES_READ)
def list_rules() -> RuleList:
    """Return every rule, enabled or not."""
    return RuleList(items=[_out(rule) for rule in container().rules.all()])


@router.get("/api/v1/rules/<rule_id>", summary="One rule", tags=["rules"], responses=problems(404))
@requires(Permission.RULES_READ)
def get_rule(rule_id: RuleId) -> Response[RuleOut]:
    """Return the rule with its ETag."""
    rule, version = _found(rule_id)
    return _answer(rule, version)


@router.post("/api/v1/rules", summary="Make a rule", tags=["rules"], status_code=201)
@requires(Permission.RULES_WRITE)
def create_rule(body: RuleBody) -> Response[RuleOut]:
    """Make the rule; it is in force within ten seconds."""
    rule = _rule(new_id("rule"), body, stock=False)
    container().rules.put(rule)
    return created(f"/api/v1/rules/{rule.id}", _out(rule))


@router.put("/api/v1/rules/<rule_id>", summary="Replace a rule", tags=["rules"], responses=problems(404, 412))
@requires(Permission.RULES_WRITE)
def replace_rule(rule_id: RuleId, body: RuleBody, if_match: IfMatch = None) -> Response[RuleOut]:
    """Replace the rule; with ``If-Match`` only when nobody changed it since it was read."""
    old, version = _found(rule_id)
    check_if_match(if_match, version)
    rule = _rule(rule_id, body, stock=old.stock)
    now_at = container().rules.put(rule, expected_version=version if if_match is not None else None)
    if now_at is None:
        raise PreconditionFailed("somebody changed it first: read it again and repeat the change")
    return _answer(rule, now_at)


@router.delete(
    "/api/v1/rules/<rule_id>",
    summary="Delete a rule",
    tags=["rules"],
    status_code=204,
    responses=problems(404),
)
@requires(Permission.RULES_WRITE)
def delete_rule(rule_id: RuleId) -> Response[None]:
    """Delete the rule; incidents it holds open resolve with each host's next batch."""
    if not container().rules.delete(rule_id):
        raise NotFound(f"there is no rule {rule_id}", code="unknown_rule")
    return no_content()


def _found(rule_id: str) -> tuple[Rule, int]:
    found = container().rules.get(rule_id)
    if found is None:
        raise NotFound(f"there is no rule {rule_id}", code="unknown_rule")
    return found


def _rule(rule_id: str, body: RuleBody, *, stock: bool) -> Rule:
    data: dict[str, Any] = body.model_dump(exclude={"conditions"})
    conditions = tuple(Condition(**condition.model_dump()) for condition in body.conditions)
    return Rule(id=rule_id, conditions=conditions, stock=stock, **data)


def _out(rule: Rule) -> RuleOut:
    return RuleOut.model_validate(msgspec.to_builtins(rule))


def _answer(rule: Rule, version: int) -> Response[RuleOut]:
    return Response(
        status_code=200, content_type="application/json", headers={"ETag": etag_of(version)}, body=_out(rule)
    )
