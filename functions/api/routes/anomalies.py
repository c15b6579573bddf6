"""Anomalies: what was unusual, why, and what people say of it. Times are epoch milliseconds."""

from __future__ import annotations

from typing import Annotated, Literal

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.api_gateway import Router
from aws_lambda_powertools.event_handler.openapi.params import Path, Query
from pydantic import Field, StringConstraints

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
from farwatch.services.detect import SLOW, Sensitivity
from farwatch.services.look import standings
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


class ChoiceBody(Body):
    """Metrics by glob, and the detector that watches them; ``off`` for none."""

    metric: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_.*?]{1,100}$")]
    detector: Literal["default", "zscore", "iqr", "isolation_forest", "lof", "off"]


class ChoicesBody(Body):
    """Choices, in order: the first that matches counts, and where none does the default detector watches."""

    items: Annotated[list[ChoiceBody], Field(max_length=50)]


class ChoiceOut(Answer):
    """Metrics by glob, and their detector."""

    metric: str
    detector: str


class WatchedOut(Answer):
    """A host with series of slow detectors: how many chose one, are watched, and are more than a host may have watched.

    ``looked_at`` and ``behind_s`` (from the last sample seen of every series to the newest) are null until the first look.
    """

    host_id: str
    host_name: str
    chosen: int
    series: int
    left_out: int
    looked_at: int | None
    behind_s: float | None


class WatchedPage(Answer):
    """Hosts, by name."""

    items: list[WatchedOut]


class ChoicesOut(Answer):
    """Choices, in order."""

    items: list[ChoiceOut]


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


@router.get("/api/v1/anomalies/detectors", summary="Which detector watches what", tags=TAGS)
@requires(Permission.ANOMALIES_READ)
def get_detectors() -> ChoicesOut:
    """Return the choices people have made; elsewhere the default detector watches."""
    return ChoicesOut(
        items=[
            ChoiceOut(metric=glob, detector=name)
            for glob, name in container().adapters.anomaly_log.detectors()
        ]
    )


@router.put("/api/v1/anomalies/detectors", summary="Choose detectors", tags=TAGS)
@requires(Permission.CONFIG_WRITE)
def put_detectors(body: ChoicesBody) -> ChoicesOut:
    """Replace the choices; in force within a minute. A detector that takes over begins by learning.

    ``isolation_forest`` and ``lof`` look at a host every half minute; the others see each batch as it is stored.
    """
    before = get_detectors()
    chosen = [[item.metric, item.detector] for item in body.items]
    container().adapters.hosts.set_fleet_config("detectors", chosen, current_caller().principal.id)
    after = ChoicesOut(items=[ChoiceOut(metric=glob, detector=name) for glob, name in chosen])
    note_change(before, after)
    return after


@router.get(
    "/api/v1/anomalies/detectors/watched",
    summary="How far the slow detectors have come",
    tags=TAGS,
    responses=problems(503),
)
@requires(Permission.ANOMALIES_READ)
def get_watched() -> WatchedPage:
    """Return, for each host with series that isolation forest or LOF watch, how many they are and how far behind."""
    made = container()
    chosen = Sensitivity(made.adapters.anomaly_log.detectors())
    if not any(name in SLOW for _, name in chosen.detectors):
        return WatchedPage(items=[])
    return WatchedPage(
        items=[
            WatchedOut(
                host_id=one.host_id,
                host_name=one.host_name,
                chosen=one.chosen,
                series=0 if one.watched is None else one.watched.series,
                left_out=0 if one.watched is None else one.watched.left_out,
                looked_at=None if one.watched is None else one.watched.looked_at,
                behind_s=None if one.behind_ms is None else one.behind_ms / 1000,
            )
            for one in standings(made.query.fleet(now_ms()), chosen, made.adapters.look_memory)
        ]
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
