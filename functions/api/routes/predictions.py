"""Predictions: forecasts on demand, how good they were, and when things run out. Times are epoch milliseconds."""

from __future__ import annotations

from typing import Annotated

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.api_gateway import Router
from aws_lambda_powertools.event_handler.openapi.params import Path, Query
from pydantic import Field, StringConstraints

from farwatch.bootstrap import container
from farwatch.domain.rbac import Permission
from farwatch.domain.samples import SeriesKey
from farwatch.domain.severity import Severity
from farwatch.domain.units import unit_of
from farwatch.errors import NotFound
from farwatch.forecasting import DEFAULT, LEVELS
from farwatch.http.access import requires
from farwatch.http.clock import now_ms
from farwatch.http.models import Answer, Body, Limit, Page
from farwatch.http.openapi import problems
from farwatch.http.principal import current_caller
from farwatch.ports.forecasts import ForecastState, StoredForecast
from functions.api.routes.metrics import MetricName

router = Router()
TAGS = ["predictions"]

HostName = Annotated[str, StringConstraints(pattern=r"^host_[a-z0-9_]{1,60}$")]
ForecastId = Annotated[str, Path(pattern=r"^fc_[a-z0-9]{1,60}$", description="Id of the forecast.")]
MaybeHost = Annotated[str | None, Query(max_length=80, description="Only this host.")]
MaybeMetric = Annotated[str | None, Query(max_length=100, description="Only this metric.")]
LabelName = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_]{0,39}$")]
LabelValue = Annotated[str, StringConstraints(max_length=200)]


class ForecastBody(Body):
    """What to forecast: a series of a host, for the next ``horizon_s`` seconds (an hour to a week), by a model."""

    host_id: HostName
    metric: MetricName
    labels: Annotated[dict[LabelName, LabelValue], Field(max_length=8)] = Field(default_factory=dict)
    model: Annotated[str, StringConstraints(max_length=40)] = DEFAULT
    horizon_s: Annotated[int, Field(ge=3600, le=604_800)] = 172_800


class ScoreOut(Answer):
    """How a forecast turned out; relative errors compare with repeating yesterday (below 1 is better than that)."""

    steps: int
    mae: float
    relative_mae: float | None
    relative_pinball: float | None
    cover80: float
    cover95: float


class ForecastOut(Answer):
    """A forecast. ``quantiles[i]`` belongs to ``times[i]`` and has one value for each of ``levels``."""

    id: str
    host_id: str
    metric: str
    labels: dict[str, str]
    unit: str
    model: str
    horizon_s: int
    made_at: int
    state: ForecastState
    error: str
    levels: list[float]
    times: list[int]
    quantiles: list[list[float]]
    score: ScoreOut | None


class ModelAccuracyOut(Answer):
    """What the judged forecasts of a model say together."""

    model: str
    forecasts: int
    relative_mae: float | None
    relative_pinball: float | None
    cover80: float
    cover95: float


class AccuracyList(Answer):
    """Accuracy by model."""

    items: list[ModelAccuracyOut]


class OutlookOut(Answer):
    """When a bounded series reaches its threshold: seconds from ``at``, null for "not within a year"."""

    host_id: str
    metric: str
    labels: dict[str, str]
    unit: str
    at: int
    threshold: float
    current: float
    per_day: float
    median_s: float | None
    low_s: float | None
    high_s: float | None
    alert: Severity | None
    words: str


class OutlookList(Answer):
    """Outlooks, soonest first."""

    items: list[OutlookOut]


@router.post(
    "/api/v1/predictions",
    summary="Forecast a series",
    tags=TAGS,
    responses={
        202: {"description": "Being made; fetch it from Location, or wait for the push"},
        **problems(404, 422),
    },
)
@requires(Permission.FORECASTS_RUN)
def forecast(body: ForecastBody) -> Response[ForecastOut]:
    """Return the forecast; with 202 one that is being made: a slow model takes seconds, and a push says when it is ready."""
    asked = container().forecasts.ask(
        body.host_id,
        SeriesKey.of(body.metric, body.labels),
        body.model,
        body.horizon_s,
        current_caller().principal.id,
        now_ms(),
    )
    pending = asked.state is ForecastState.PENDING
    return Response(
        status_code=202 if pending else 200,
        content_type="application/json",
        headers={"Location": f"/api/v1/predictions/{asked.id}"},
        body=_out(asked),
    )


@router.get("/api/v1/predictions", summary="Forecasts made", tags=TAGS)
@requires(Permission.FORECASTS_READ)
def list_forecasts(
    host_id: MaybeHost = None,
    metric: MaybeMetric = None,
    model: Annotated[str | None, Query(max_length=40, description="Only this model.")] = None,
    limit: Annotated[Limit, Query()] = 50,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> Page[ForecastOut]:
    """Return forecasts, newest first, without their values."""
    made = container()
    bound = {"list": "forecasts", "host": host_id, "metric": metric, "model": model}
    before = None
    if cursor:
        at, last = made.adapters.cursors.decode(cursor, bound)
        before = (int(at), str(last))
    found = made.adapters.forecast_store.find(host_id, metric, model, limit + 1, before)
    last_shown = found[limit - 1] if len(found) > limit else None
    return Page(
        items=[_out(item) for item in found[:limit]],
        next_cursor=made.adapters.cursors.encode([last_shown.made_at, last_shown.id], bound)
        if last_shown
        else None,
    )


@router.get("/api/v1/predictions/accuracy", summary="How good forecasts were", tags=TAGS)
@requires(Permission.FORECASTS_READ)
def accuracy(host_id: MaybeHost = None, metric: MaybeMetric = None) -> AccuracyList:
    """Return, by model, how forecasts compared with what came."""
    found = container().adapters.forecast_store.accuracy(host_id, metric)
    return AccuracyList(items=[ModelAccuracyOut.model_validate(item) for item in found])


@router.get("/api/v1/predictions/capacity", summary="When things run out", tags=TAGS)
@requires(Permission.FORECASTS_READ)
def capacity(host_id: MaybeHost = None) -> OutlookList:
    """Return the newest outlook of every bounded series, soonest first; refreshed every ten minutes."""
    return OutlookList(
        items=[
            OutlookOut(
                host_id=outlook.host_id,
                metric=outlook.key.metric,
                labels=outlook.key.label_map,
                unit=unit_of(outlook.key.metric),
                at=outlook.at,
                threshold=outlook.threshold,
                current=outlook.current,
                per_day=outlook.per_day,
                median_s=outlook.median_s,
                low_s=outlook.low_s,
                high_s=outlook.high_s,
                alert=outlook.alert,
                words=outlook.in_words(),
            )
            for outlook in container().adapters.forecast_store.outlooks(host_id)
        ]
    )


@router.get("/api/v1/predictions/<forecast_id>", summary="One forecast", tags=TAGS, responses=problems(404))
@requires(Permission.FORECASTS_READ)
def get_forecast(forecast_id: ForecastId) -> ForecastOut:
    """Return the forecast with its values and, once its time has passed, its score."""
    found = container().adapters.forecast_store.get(forecast_id)
    if found is None:
        raise NotFound(f"there is no forecast {forecast_id}", code="unknown_forecast")
    return _out(found)


def _out(forecast: StoredForecast) -> ForecastOut:
    width = forecast.step_s * 1000
    return ForecastOut(
        id=forecast.id,
        host_id=forecast.host_id,
        metric=forecast.key.metric,
        labels=forecast.key.label_map,
        unit=unit_of(forecast.key.metric),
        model=forecast.model,
        horizon_s=forecast.horizon_s,
        made_at=forecast.made_at,
        state=forecast.state,
        error=forecast.error,
        levels=list(LEVELS),
        times=[forecast.start + step * width for step in range(len(forecast.quantiles))],
        quantiles=forecast.quantiles,
        score=None if forecast.score is None else ScoreOut.model_validate(forecast.score),
    )
