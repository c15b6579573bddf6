"""Rules: what is watched, with hysteresis, on which hosts."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.api_gateway import Router
from aws_lambda_powertools.event_handler.openapi.params import Path
from pydantic import Field, StringConstraints, model_validator

from farwatch.bootstrap import container
from farwatch.domain.measures import WINDOWED
from farwatch.domain.rbac import Permission
from farwatch.domain.replay import Firing
from farwatch.domain.rules import Comparison, Condition, Measure, Rule, applies_to_host
from farwatch.domain.severity import Severity
from farwatch.errors import NotFound
from farwatch.http.access import requires
from farwatch.http.app import created, no_content
from farwatch.http.changes import note_change
from farwatch.http.clock import now_ms
from farwatch.http.etags import IfMatch, check_if_match, tagged, written
from farwatch.http.models import Answer, Body, Name
from farwatch.http.openapi import problems
from farwatch.ids import new_id
from farwatch.services.preview import preview
from functions.api.routes.hosts import HostId
from functions.api.routes.predictions import HostName

router = Router()

RuleId = Annotated[str, Path(pattern=r"^rule_[a-z0-9_]{1,80}$", description="Id of the rule.")]
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
    """One comparison. ``leave`` defaults to ``enter``; ``measure`` is what is compared: the ``value``; its
    ``change_per_hour`` over ``window_s``; how long the series has been silent while its host reports (``silent_s``); or how
    long until it reaches ``bound`` at the rate of ``window_s`` (``seconds_to_bound``). Windows last 60 s to a day.
    """

    metric: MetricName
    comparison: Comparison
    enter: Number
    leave: Number | None = None
    measure: Measure = Measure.VALUE
    window_s: Seconds = 0
    bound: Number = 0

    @model_validator(mode="after")
    def _fits(self) -> ConditionBody:
        if self.leave is not None:
            above = self.comparison is Comparison.ABOVE
            if (self.leave > self.enter) if above else (self.leave < self.enter):
                side = "above" if above else "below"
                raise ValueError(f"leave must not lie {side} enter, or the rule could never end")
        if self.measure in WINDOWED and self.window_s < 60:
            raise ValueError(f"{self.measure} needs window_s of 60 seconds or more")
        if self.measure is Measure.SILENT and self.comparison is not Comparison.ABOVE:
            raise ValueError("silence is trouble above a number of seconds, never below")
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
    bound: float


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


class PreviewBody(Body):
    """A rule, and the host and range (at most 7 days, epoch ms) to try it on."""

    rule: RuleBody
    host_id: HostName
    start: Annotated[int, Field(alias="from", ge=0, le=2**53)]
    to: Annotated[int, Field(ge=0, le=2**53)]


class FiringOut(Answer):
    """One firing: when its conditions first held, when it fired, when it resolved (null: still firing at the end)."""

    began_at: int
    fired_at: int
    resolved_at: int | None
    value: float | None
    flaps: int


class GroupOut(Answer):
    """A series the rule watches, and its firings in order."""

    metric: str
    labels: dict[str, str]
    firings: list[FiringOut]


class PreviewOut(Answer):
    """What the rule would have done. ``applies``: its labels choose the host. ``step_s`` 0 means samples as taken."""

    applies: bool
    step_s: int
    samples: int
    groups: list[GroupOut]


class RuleList(Answer):
    """Every rule, by name."""

    items: list[RuleOut]


@router.get("/api/v1/rules", summary="All rules", tags=["rules"])
@requires(Permission.RULES_READ)
def list_rules() -> RuleList:
    """Return every rule, enabled or not."""
    return RuleList(items=[_out(rule) for rule in container().adapters.rules.all()])


@router.get("/api/v1/rules/<rule_id>", summary="One rule", tags=["rules"], responses=problems(404))
@requires(Permission.RULES_READ)
def get_rule(rule_id: RuleId) -> Response[RuleOut]:
    """Return the rule with its ETag."""
    rule, version = _found(rule_id)
    return tagged(_out(rule), version)


@router.post("/api/v1/rules", summary="Make a rule", tags=["rules"], status_code=201)
@requires(Permission.RULES_WRITE)
def create_rule(body: RuleBody) -> Response[RuleOut]:
    """Make the rule; it is in force within ten seconds."""
    rule = to_rule(new_id("rule"), body, stock=False)
    container().adapters.rules.put(rule)
    note_change(None, _out(rule))
    return created(f"/api/v1/rules/{rule.id}", _out(rule))


@router.put("/api/v1/rules/<rule_id>", summary="Replace a rule", tags=["rules"], responses=problems(404, 412))
@requires(Permission.RULES_WRITE)
def replace_rule(rule_id: RuleId, body: RuleBody, if_match: IfMatch = None) -> Response[RuleOut]:
    """Replace the rule; with ``If-Match`` only when nobody changed it since it was read."""
    old, version = _found(rule_id)
    expected = check_if_match(if_match, version)
    rule = to_rule(rule_id, body, stock=old.stock)
    now_at = written(container().adapters.rules.put(rule, expected_version=expected))
    note_change(_out(old), _out(rule))
    return tagged(_out(rule), now_at)


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
    old, _ = _found(rule_id)
    if not container().adapters.rules.delete(rule_id):
        raise NotFound(f"there is no rule {rule_id}", code="unknown_rule")
    note_change(_out(old), None)
    return no_content()


@router.get(
    "/api/v1/hosts/<host_id>/rules",
    summary="Rules that watch a host",
    tags=["rules"],
    responses=problems(404),
)
@requires(Permission.RULES_READ)
def rules_of_host(host_id: HostId) -> RuleList:
    """Return the enabled rules whose labels choose the host, by name."""
    made = container()
    host = made.adapters.hosts.get(host_id)
    if host is None:
        raise NotFound(f"there is no host {host_id}", code="unknown_host")
    return RuleList(
        items=[_out(rule) for rule in made.adapters.rules.all() if applies_to_host(rule, host.labels)]
    )


@router.post(
    "/api/v1/rules/preview", summary="Try a rule on history", tags=["rules"], responses=problems(404)
)
@requires(Permission.RULES_WRITE)
def preview_rule(body: PreviewBody) -> PreviewOut:
    """Replay a host's stored samples against a rule that is not saved, and return when it would have fired, per series."""
    made = container()
    seen = preview(
        to_rule("rule_preview", body.rule, stock=False),
        made.adapters.hosts,
        made.adapters.metric_store,
        body.host_id,
        body.start,
        body.to,
        now_ms(),
    )
    return PreviewOut(
        applies=seen.applies,
        step_s=seen.step_s,
        samples=seen.samples,
        groups=[
            GroupOut(metric=key.metric, labels=key.label_map, firings=[_firing(firing) for firing in firings])
            for key, firings in seen.episodes.items()
        ],
    )


def _firing(firing: Firing) -> FiringOut:
    return FiringOut(
        began_at=firing.began_at,
        fired_at=firing.fired_at,
        resolved_at=firing.resolved_at,
        value=firing.value,
        flaps=firing.flaps,
    )


def _found(rule_id: str) -> tuple[Rule, int]:
    found = container().adapters.rules.get(rule_id)
    if found is None:
        raise NotFound(f"there is no rule {rule_id}", code="unknown_rule")
    return found


def to_rule(rule_id: str, body: RuleBody, *, stock: bool) -> Rule:
    """Return the rule that ``body`` describes."""
    data: dict[str, Any] = body.model_dump(exclude={"conditions"})
    conditions = tuple(Condition(**condition.model_dump()) for condition in body.conditions)
    return Rule(id=rule_id, conditions=conditions, stock=stock, **data)


def _out(rule: Rule) -> RuleOut:
    return RuleOut.model_validate(msgspec.to_builtins(rule))
