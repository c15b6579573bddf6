"""Metrics: what can be read of the samples."""

from __future__ import annotations

import time
from typing import Annotated, Literal

from aws_lambda_powertools.event_handler.api_gateway import Router
from aws_lambda_powertools.event_handler.openapi.params import Query
from pydantic import StringConstraints

from farwatch.bootstrap import container
from farwatch.domain.catalogue import CATALOGUE
from farwatch.domain.rbac import Permission
from farwatch.domain.units import unit_of
from farwatch.http.access import requires
from farwatch.http.models import Answer
from farwatch.http.openapi import problems
from farwatch.ports.metric_store import SeriesData

router = Router()

HostId = Annotated[str, Query(pattern=r"^host_[a-z0-9_]{1,60}$", description="Id of a host.")]
MetricName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$", max_length=100)]
OneHost = Annotated[str, StringConstraints(pattern=r"^host_[a-z0-9_]{1,60}$")]
Names = Annotated[
    list[MetricName], Query(min_length=1, max_length=20, description="Metric names; repeat the parameter.")
]
Hosts = Annotated[
    list[OneHost], Query(min_length=1, max_length=20, description="Host ids; repeat the parameter.")
]


class MetricOut(Answer):
    """One entry of the catalogue. ``bad`` says which direction is trouble; bounds are null where there are none."""

    name: str
    unit: str
    description: str
    bad: Literal["high", "low", "both", "none"]
    low: float | None
    high: float | None


class Catalogue(Answer):
    """Every metric the stock agent can send."""

    items: list[MetricOut]


class SeriesOut(Answer):
    """A series a host has sent."""

    metric: str
    labels: dict[str, str]
    unit: str


class SeriesList(Answer):
    """The series of a host, by name."""

    items: list[SeriesOut]


class SeriesValues(Answer):
    """A series read back: ``values`` is the aggregate asked for; ``times`` are bucket starts in epoch ms, without gaps."""

    host_id: str
    metric: str
    labels: dict[str, str]
    unit: str
    times: list[int]
    values: list[float]
    min: list[float]
    max: list[float]


class RangeOut(Answer):
    """Series at one resolution; ``tier`` is ``raw``, ``1m`` or ``1h``, ``step_s`` the width of a bucket."""

    tier: Literal["raw", "1m", "1h"]
    step_s: float
    series: list[SeriesValues]


class LatestOut(Answer):
    """The newest value of one series."""

    metric: str
    labels: dict[str, str]
    unit: str
    at: int
    value: float


class LatestList(Answer):
    """The newest value of each series of a host, by name."""

    items: list[LatestOut]


@router.get("/api/v1/metrics", summary="The catalogue of metrics", tags=["metrics"])
@requires(Permission.METRICS_READ)
def list_metrics() -> Catalogue:
    """Return what each metric means, its unit, its bounds, and which direction is trouble."""
    return Catalogue(
        items=[
            MetricOut(
                name=entry.name,
                unit=unit_of(entry.name),
                description=entry.description,
                bad=entry.bad,
                low=entry.low,
                high=entry.high,
            )
            for entry in CATALOGUE
        ]
    )


@router.get(
    "/api/v1/metrics/series", summary="The series of a host", tags=["metrics"], responses=problems(404)
)
@requires(Permission.METRICS_READ)
def list_series(host_id: HostId) -> SeriesList:
    """Return the series the host has sent."""
    return SeriesList(
        items=[
            SeriesOut(metric=key.metric, labels=key.label_map, unit=unit_of(key.metric))
            for key in container().query.series(host_id)
        ]
    )


@router.get(
    "/api/v1/metrics/latest", summary="The newest values of a host", tags=["metrics"], responses=problems(404)
)
@requires(Permission.METRICS_READ)
def latest(host_id: HostId) -> LatestList:
    """Return the newest value of each series."""
    view = container().query.host(host_id, _now())
    return LatestList(
        items=[
            LatestOut(metric=key.metric, labels=key.label_map, unit=unit_of(key.metric), at=at, value=value)
            for key, (at, value) in sorted(
                view.latest.items(), key=lambda item: (item[0].metric, item[0].labels)
            )
        ]
    )


@router.get("/api/v1/metrics/range", summary="Samples over time", tags=["metrics"], responses=problems(404))
@requires(Permission.METRICS_READ)
def read_range(
    host_id: Hosts,
    metric: Names,
    start: Annotated[int, Query(alias="from", ge=0, le=2**53, description="Start, epoch ms, included.")],
    to: Annotated[int, Query(ge=0, le=2**53, description="End, epoch ms, not included.")],
    aggregate: Annotated[Literal["mean", "min", "max"], Query(description="What ``values`` holds.")] = "mean",
    points: Annotated[int, Query(ge=1, le=2000, description="At most so many buckets in each series.")] = 600,
) -> RangeOut:
    """Return the series of the metrics of the hosts, at the finest resolution that fits into ``points``."""
    found = container().query.range(host_id, metric, start, to, points, _now())
    return RangeOut.model_validate(
        {
            "tier": found.tier,
            "step_s": found.step_s,
            "series": [_series(data, aggregate) for data in found.series],
        }
    )


def _series(data: SeriesData, aggregate: str) -> dict[str, object]:
    chosen = {"mean": data.mean, "min": data.min, "max": data.max}[aggregate]
    return {
        "host_id": data.host_id,
        "metric": data.key.metric,
        "labels": data.key.label_map,
        "unit": unit_of(data.key.metric),
        "times": data.times.tolist(),
        "values": chosen.tolist(),
        "min": data.min.tolist(),
        "max": data.max.tolist(),
    }


def _now() -> int:
    return time.time_ns() // 1_000_000
