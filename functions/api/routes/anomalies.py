"""Anomalies: what was unusual, why, and what people say of it. Times are epoch milliseconds."""

from __future__ import annotations

from typing import Annotated, Literal

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.api_gateway import Router
from aws_lambda_powertools.event_handler.openapi.params import Path, Query
from pydantic import Field

from farwatch.bootstrap import container
from farwatch.detection import DEFAULT_THRESHOLD
from farwatch.domain.rbac import Permission
from farwatch.domain.samples import SeriesKey
from farwatch.domain.units import unit_of
from farwatch.http.access import requires
from farwatch.http.app import no_content
from farwatch.http.changes import note_change
from farwatch.http.clock import now_ms
from farwatch.http.models import Answer, Body, Limit, Page
from farwatch.http.openapi import problems
from farwatch.http.principal import current_caller
from farwatch.ports.anomalies import AnomalyFilter, StoredAnomaly, Verdict
from farwatch.services.anomalies import Run
from functions.api.routes.metrics import MetricName
from functions.api.routes.predictions import HostName, LabelName, LabelValue, MaybeHost, MaybeMetric

router = Router()
TAGS = ["anomalies"]
_FAR = 2**47  # in the year 6429: a later moment has no date in Python

AnomalyId = Annotated[str, Path(pattern=r"^anom_[a-z0-9]{1,60}$", description="Id of the anomaly.")]
Moment = Annotated[int, Field(ge=0, le=_FAR)]
DetectorName = Literal["default", "zscore", "iqr", "isolation_forest", "lof"]
PatternName = Literal["spike", "dip", "shift", "drift", "rhythm", "silence", "flat"]


class FeedbackOut(Answer):
    """What was said of an anomaly, by whom (a user or token id) and when."""

    verdict: Verdict
    said_by: str
    said_at: int


class AnomalyOut(Answer):
    """One unusual sample, as it was raised. ``score`` is in 0–1; ``since`` is when the series left its expected range."""

    id: str
    host_id: str
    metric: str
    labels: dict[str, str]
    unit: str
    detector: str
    at: int
    raised_at: int
    since: int
    value: float | None
    score: float
    expected_low: float | None
    expected_high: float | None
    pattern: str
    reason: str
    feedback: FeedbackOut | None


class RunOut(Answer):
    """Samples and what a detector says of each; null where it expects nothing yet. ``step_s`` 0 means as sampled."""

    detector: str
    step_s: int
    times: list[int]
    values: list[float]
    score: list[float]
    low: list[float | None]
    high: list[float | None]


class InspectionOut(AnomalyOut):
    """An anomaly with the threshold of its series now, and its surroundings: null once they are no longer kept, or while the
    detector does not answer.
    """

    threshold: float
    around: RunOut | None


class DetectBody(Body):
    """Which detector to run over which range of which series. At most 30 days; buckets grow so that 5,000 suffice."""

    host_id: HostName
    metric: MetricName
    labels: Annotated[dict[LabelName, LabelValue], Field(max_length=8)] = Field(default_factory=dict)
    detector: DetectorName = "default"
    start: Annotated[Moment, Field(alias="from")]
    to: Moment


class FoundOut(Answer):
    """A sample that the detector calls unusual."""

    at: int
    value: float
    score: float
    expected_low: float | None
    expected_high: float | None
    pattern: str


class DetectOut(RunOut):
    """The whole run, and what in it reaches the threshold."""

    threshold: float
    found: list[FoundOut]


class FeedbackBody(Body):
    """Whether the alarm was false or real."""

    verdict: Verdict


@router.get("/api/v1/anomalies", summary="Anomalies", tags=TAGS)
@requires(Permission.ANOMALIES_READ)
def list_anomalies(
    host_id: MaybeHost = None,
    metric: MaybeMetric = None,
    detector: Annotated[
        str | None, Query(pattern=r"^[a-z_]{1,40}$", description="Only this detector.")
    ] = None,
    pattern: Annotated[PatternName | None, Query(description="Only what looks like this.")] = None,
    start: Annotated[int | None, Query(alias="from", ge=0, le=_FAR, description="Not before.")] = None,
    to: Annotated[int | None, Query(ge=0, le=_FAR, description="Before.")] = None,
    min_score: Annotated[float, Query(ge=0, le=1, description="With this score or a higher one.")] = 0.0,
    limit: Annotated[Limit, Query()] = 50,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> Page[AnomalyOut]:
    """Return anomalies, newest first."""
    made = container()
    wanted = AnomalyFilter(host_id, metric, detector, pattern, start, to, min_score)
    bound = {
        "list": "anomalies",
        "host": host_id,
        "metric": metric,
        "detector": detector,
        "pattern": pattern,
        "from": start,
        "to": to,
        "min_score": min_score,
    }
    before = None
    if cursor:
        at, last = made.adapters.cursors.decode(cursor, bound)
        before = (int(at), str(last))
    found = made.adapters.anomaly_log.find(wanted, limit + 1, before)
    last_shown = found[limit - 1] if len(found) > limit else None
    return Page(
        items=[_out(item) for item in found[:limit]],
        next_cursor=made.adapters.cursors.encode([last_shown.anomaly.at, last_shown.id], bound)
        if last_shown
        else None,
    )


@router.post(
    "/api/v1/anomalies/detect", summary="Run a detector", tags=TAGS, responses=problems(404, 422, 503)
)
@requires(Permission.ANALYSIS_RUN)
def run_detector(body: DetectBody) -> DetectOut:
    """Run a named detector over a range of a series, from scratch, and return what it says of each sample."""
    run = container().anomalies.run(
        body.host_id,
        SeriesKey.of(body.metric, body.labels),
        body.detector,
        body.start,
        body.to,
        now_ms(),
    )
    scored = run.scored
    return DetectOut(
        **_run(run).model_dump(),
        threshold=DEFAULT_THRESHOLD,
        found=[
            FoundOut(
                at=run.times[index],
                value=run.values[index],
                score=score,
                expected_low=scored.low[index],
                expected_high=scored.high[index],
                pattern=scored.pattern[index],
            )
            for index, score in enumerate(scored.score)
            if score >= DEFAULT_THRESHOLD
        ],
    )


@router.get("/api/v1/anomalies/<anomaly_id>", summary="One anomaly", tags=TAGS, responses=problems(404))
@requires(Permission.ANOMALIES_READ)
def get_anomaly(anomaly_id: AnomalyId) -> InspectionOut:
    """Return the anomaly with the samples around it and the range that was expected of each."""
    inspected = container().anomalies.inspect(anomaly_id, now_ms())
    return InspectionOut(
        **_out(inspected.stored).model_dump(),
        threshold=inspected.threshold,
        around=None if inspected.around is None else _run(inspected.around),
    )


@router.put(
    "/api/v1/anomalies/<anomaly_id>/feedback",
    summary="Say what an anomaly was",
    tags=TAGS,
    responses=problems(404),
)
@requires(Permission.ANOMALIES_FEEDBACK)
def put_feedback(anomaly_id: AnomalyId, body: FeedbackBody) -> AnomalyOut:
    """Keep the verdict. A false alarm raises the threshold of its series within a minute; the anomaly stays."""
    judged = _out(container().anomalies.judge(anomaly_id, body.verdict, current_caller().principal.id))
    note_change(None, judged.feedback)
    return judged


@router.delete(
    "/api/v1/anomalies/<anomaly_id>/feedback",
    summary="Take a verdict back",
    tags=TAGS,
    status_code=204,
    responses=problems(404),
)
@requires(Permission.ANOMALIES_FEEDBACK)
def delete_feedback(anomaly_id: AnomalyId) -> Response[None]:
    """Take the verdict back; the threshold is again what the remaining verdicts make it."""
    made = container()
    before = made.adapters.anomaly_log.get(anomaly_id)
    made.anomalies.unjudge(anomaly_id)
    note_change(None if before is None else _out(before).feedback, None)
    return no_content()


def _out(stored: StoredAnomaly) -> AnomalyOut:
    anomaly, feedback = stored.anomaly, None
    if stored.verdict is not None and stored.said_by is not None and stored.said_at is not None:
        feedback = FeedbackOut(verdict=stored.verdict, said_by=stored.said_by, said_at=stored.said_at)
    return AnomalyOut(
        id=stored.id,
        host_id=anomaly.host_id,
        metric=anomaly.key.metric,
        labels=anomaly.key.label_map,
        unit=unit_of(anomaly.key.metric),
        detector=anomaly.detector,
        at=anomaly.at,
        raised_at=stored.raised_at,
        since=anomaly.since,
        value=anomaly.value,
        score=anomaly.score,
        expected_low=anomaly.expected_low,
        expected_high=anomaly.expected_high,
        pattern=anomaly.pattern,
        reason=anomaly.reason,
        feedback=feedback,
    )


def _run(run: Run) -> RunOut:
    scored = run.scored
    return RunOut(
        detector=run.detector,
        step_s=run.step_s,
        times=run.times,
        values=run.values,
        score=scored.score,
        low=scored.low,
        high=scored.high,
    )
