"""Makes the forecasts that outlast a request and, on schedule, keeps outlooks and scores up to date."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from farwatch.bootstrap import container
from farwatch.observability import logger

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

RESERVE_S = 20.0
"""What is kept of the time-out for the last host begun."""


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Make the pending forecast ``forecast_id`` names; without one, do the scheduled work. Returns what was done."""
    now = time.time_ns() // 1_000_000
    made = container()
    if "forecast_id" in event:
        forecast = made.forecasts.run(str(event["forecast_id"]), now)
        done: dict[str, Any] = {"forecast": None if forecast is None else forecast.state}
    else:
        judged = made.forecasts.judge(now)
        left_s = context.get_remaining_time_in_millis() / 1000 - RESERVE_S
        refreshed = made.capacities.refresh(now, left_s)
        done = {"judged": judged, "outlooks": refreshed.outlooks, "hosts_waiting": refreshed.waiting}
    logger.info("forecast", extra=done)
    return done
