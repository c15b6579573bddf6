"""Is it alive, is it ready, and (for those who may know) which part is not."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from aws_lambda_powertools.event_handler.api_gateway import Router

from farwatch.bootstrap import container
from farwatch.domain.rbac import Permission
from farwatch.errors import DependencyError, Unavailable
from farwatch.http.access import public, requires
from farwatch.http.clock import now_ms
from farwatch.http.models import Answer
from farwatch.http.openapi import problems

router = Router()


class Alive(Answer):
    """The function runs."""

    status: Literal["ok"] = "ok"


class Part(Answer):
    """One part; ``milliseconds`` is how long a store took to answer, null for work that nobody waits for. ``off`` means
    not configured.
    """

    name: str
    status: Literal["ok", "down", "off"]
    milliseconds: float | None
    detail: str = ""


class Health(Answer):
    """Every dependency by name; ``status`` is ``down`` when any of them is."""

    status: Literal["ok", "down"]
    parts: list[Part]


@router.get("/api/v1/health/live", summary="The API answers", tags=["health"])
@public("load balancers ask it, and it tells nothing")
def live() -> Alive:
    """Return ok as long as the function can run at all."""
    return Alive()


@router.get("/api/v1/health/ready", summary="The API can serve", tags=["health"], responses=problems(503))
@public("load balancers ask it, and it tells nothing but yes or no")
def ready() -> Alive:
    """Return ok when the stores answer, 503 when one does not; which one is told behind ``health:read``."""
    if any(part.status == "down" for part in check_parts()):
        raise Unavailable("a store", "not ready", retry_after_s=5)
    return Alive()


@router.get("/api/v1/health", summary="Health of each part", tags=["health"])
@requires(Permission.HEALTH_READ)
def health() -> Health:
    """Return the stores, the sweep, whether batches wait, each channel, what could not be delivered and dead letters."""
    parts = check_parts()
    if not any(part.name == "postgres" and part.status == "down" for part in parts):  # it knows the rest
        parts += [
            Part(name=found.name, status=found.status, milliseconds=None, detail=found.detail)
            for found in container().findings(now_ms())
        ]
    return Health(status="down" if any(part.status == "down" for part in parts) else "ok", parts=parts)


def check_parts() -> list[Part]:
    """Ask every store in turn; a store that fails is a part that is down, never an exception."""
    made = container()
    return [_ask("postgres", made.adapters.database.ping), _ask("redis", made.adapters.redis_ping)]


def _ask(name: str, ping: Callable[[], object]) -> Part:
    started = time.perf_counter()
    status: Literal["ok", "down"] = "ok"
    detail = ""
    try:
        ping()
    except DependencyError as error:
        status, detail = "down", error.message
    return Part(
        name=name,
        status=status,
        milliseconds=round((time.perf_counter() - started) * 1000, 1),
        detail=detail,
    )
