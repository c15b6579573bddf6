"""Hosts: the fleet, one host, what may be changed of it, and the fleet's own settings."""

from __future__ import annotations

import time
from typing import Annotated, Literal

from aws_lambda_powertools.event_handler.api_gateway import Response, Router
from aws_lambda_powertools.event_handler.openapi.params import Path
from pydantic import Field, StringConstraints

from farwatch.bootstrap import container
from farwatch.domain.hosts import Host
from farwatch.domain.rbac import Permission
from farwatch.errors import FieldError, InvalidInput, NotFound
from farwatch.http.access import requires
from farwatch.http.changes import note_change
from farwatch.http.etags import IfMatch, check_if_match, tagged, written
from farwatch.http.models import Answer, Body, Name
from farwatch.http.openapi import problems
from farwatch.http.principal import current_caller
from farwatch.services.process import KEY_METRICS
from farwatch.services.query import HostView

router = Router()

HostId = Annotated[str, Path(pattern=r"^host_[a-z0-9_]{1,60}$", description="Id of the host.")]
Interval = Annotated[float, Field(ge=5, le=3600, description="Seconds between samples.")]
LabelName = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_]{0,39}$")]
LabelValue = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Labels = Annotated[dict[LabelName, LabelValue], Field(max_length=20)]


class HostOut(Answer):
    """A host and how it is. ``latest`` holds the key metrics; of disks, the fullest. Times are epoch ms."""

    id: str
    name: str
    status: Literal["live", "late", "silent", "never_seen", "retired"]
    labels: dict[str, str]
    os: str
    agent_version: str
    facts: dict[str, float | str]
    enrolled_at: int
    last_seen_at: int | None
    interval_s: float
    interval_overridden: bool
    may_be_off: bool
    latest: dict[str, float]
    open_incidents: int


class HostList(Answer):
    """Every host that is not retired, by name."""

    items: list[HostOut]


class HostChange(Body):
    """What may be changed of a host; a field left out stays. ``interval_s`` null: the fleet's default again."""

    name: Name | None = None
    interval_s: Interval | None = None
    labels: Labels | None = None
    may_be_off: bool | None = None


class FleetConfig(Answer):
    """Settings of the whole fleet."""

    default_interval_s: float


class FleetConfigChange(Body):
    """New settings of the whole fleet."""

    default_interval_s: Interval


@router.get("/api/v1/hosts", summary="The fleet", tags=["hosts"])
@requires(Permission.HOSTS_READ)
def list_hosts() -> HostList:
    """Return every host with its state and key metrics."""
    return HostList(items=[_out(view) for view in container().query.fleet(_now())])


@router.get("/api/v1/hosts/<host_id>", summary="One host", tags=["hosts"], responses=problems(404))
@requires(Permission.HOSTS_READ)
def get_host(host_id: HostId) -> Response[HostOut]:
    """Return the host. Its ETag changes with what people set of it, not with what it reports."""
    return _answer(container().query.host(host_id, _now()))


@router.patch(
    "/api/v1/hosts/<host_id>", summary="Change a host", tags=["hosts"], responses=problems(404, 412)
)
@requires(Permission.HOSTS_WRITE)
def change_host(host_id: HostId, change: HostChange, if_match: IfMatch = None) -> Response[HostOut]:
    """Set the fields that were sent. A new interval reaches the agent with its next batch."""
    changes = change.model_dump(include=change.model_fields_set)
    empty = [name for name in ("name", "labels", "may_be_off") if name in changes and changes[name] is None]
    if empty:
        raise InvalidInput(
            f"{empty[0]} cannot be null", [FieldError(f"body.{name}", "cannot be null") for name in empty]
        )
    made = container()
    before = made.adapters.hosts.get(host_id)
    if before is None or before.retired_at is not None:
        raise NotFound(f"there is no host {host_id}", code="unknown_host")
    expected = check_if_match(if_match, before.version)
    if changes:
        written(made.adapters.hosts.update(host_id, changes, expected))
    note_change(_settings(before), _settings(made.adapters.hosts.get(host_id)))
    made.adapters.agent_cache.forget_intervals()
    return _answer(made.query.host(host_id, _now()))


@router.get("/api/v1/config", summary="Settings of the fleet", tags=["hosts"])
@requires(Permission.HOSTS_READ)
def get_config() -> Response[FleetConfig]:
    """Return the fleet-wide settings with their ETag."""
    return tagged(*_config())


@router.patch(
    "/api/v1/config", summary="Change settings of the fleet", tags=["hosts"], responses=problems(412)
)
@requires(Permission.CONFIG_WRITE)
def change_config(change: FleetConfigChange, if_match: IfMatch = None) -> Response[FleetConfig]:
    """Set the sampling interval of every host that has none of its own; it reaches agents with their next batch."""
    made = container()
    before, version = _config()
    expected = check_if_match(if_match, version)
    now_at = written(
        made.adapters.hosts.set_fleet_config(
            "default_interval_s", change.default_interval_s, current_caller().principal.id, expected
        )
    )
    made.adapters.agent_cache.forget_intervals()
    after = FleetConfig(default_interval_s=change.default_interval_s)
    note_change(before, after)
    return tagged(after, now_at)


def _config() -> tuple[FleetConfig, int]:
    made = container()
    own, version = made.adapters.hosts.fleet_config("default_interval_s")
    return FleetConfig(
        default_interval_s=own if own is not None else made.settings.default_interval_s
    ), version


def _settings(host: Host | None) -> HostChange | None:
    """Return what people can set of a host, as it is set."""
    if host is None:
        return None
    interval = host.interval_s if host.interval_overridden else None
    return HostChange(
        name=host.name, interval_s=interval, labels=dict(host.labels), may_be_off=host.may_be_off
    )


def _out(view: HostView) -> HostOut:
    latest: dict[str, float] = {}
    for key, (_, value) in view.latest.items():
        if key.metric in KEY_METRICS:
            latest[key.metric] = max(value, latest.get(key.metric, value))
    host = view.host
    return HostOut.model_validate(
        {
            "id": host.id,
            "name": host.name,
            "status": view.status.value,
            "labels": host.labels,
            "os": host.os,
            "agent_version": host.agent_version,
            "facts": host.facts,
            "enrolled_at": host.enrolled_at,
            "last_seen_at": host.last_seen_at,
            "interval_s": host.interval_s,
            "interval_overridden": host.interval_overridden,
            "may_be_off": host.may_be_off,
            "latest": latest,
            "open_incidents": view.open_incidents,
        }
    )


def _answer(view: HostView) -> Response[HostOut]:
    return tagged(_out(view), view.host.version)


def _now() -> int:
    return time.time_ns() // 1_000_000
