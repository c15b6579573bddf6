"""Detectors: which one watches which metrics, and how far the slow ones have come."""

from __future__ import annotations

from typing import Annotated, Literal

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.api_gateway import Router
from pydantic import Field, StringConstraints

from farwatch.bootstrap import container
from farwatch.domain.rbac import Permission
from farwatch.http.access import requires
from farwatch.http.changes import note_change
from farwatch.http.clock import now_ms
from farwatch.http.etags import IfMatch, check_if_match, tagged, written
from farwatch.http.models import Answer, Body
from farwatch.http.openapi import problems
from farwatch.http.principal import current_caller
from farwatch.services.detect import SLOW, Sensitivity
from farwatch.services.look import standings

router = Router()
TAGS = ["anomalies"]


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


@router.get("/api/v1/anomalies/detectors", summary="Which detector watches what", tags=TAGS)
@requires(Permission.ANOMALIES_READ)
def get_detectors() -> Response[ChoicesOut]:
    """Return the choices people have made, with their ETag; elsewhere the default detector watches."""
    return tagged(*_choices())


@router.put("/api/v1/anomalies/detectors", summary="Choose detectors", tags=TAGS, responses=problems(412))
@requires(Permission.CONFIG_WRITE)
def put_detectors(body: ChoicesBody, if_match: IfMatch = None) -> Response[ChoicesOut]:
    """Replace the choices; in force within a minute. A detector that takes over begins by learning.

    ``isolation_forest`` and ``lof`` look at a host every half minute; the others see each batch as it is stored.
    """
    before, version = _choices()
    expected = check_if_match(if_match, version)
    chosen = [[item.metric, item.detector] for item in body.items]
    now_at = written(
        container().adapters.hosts.set_fleet_config(
            "detectors", chosen, current_caller().principal.id, expected
        )
    )
    after = _choices_out(chosen)
    note_change(before, after)
    return tagged(after, now_at)


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


def _choices() -> tuple[ChoicesOut, int]:
    chosen, version = container().adapters.hosts.fleet_config("detectors")
    return _choices_out(chosen or []), version


def _choices_out(chosen: list[list[str]]) -> ChoicesOut:
    return ChoicesOut(items=[ChoiceOut(metric=glob, detector=name) for glob, name in chosen])
