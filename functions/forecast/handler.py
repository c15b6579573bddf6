"""Makes a forecast from a history: a calculation, no store behind it. Models are imported where they are used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from farwatch.forecasting import DEFAULT, Bounds, ForecastError, History, get
from farwatch.observability import logger

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


class ForecastRequest(msgspec.Struct):
    """A history on an even grid (``start`` in epoch seconds, ``step`` in seconds, null for a hole) and what is asked."""

    start: float
    step: float
    values: list[float | None]
    steps: int
    model: str = DEFAULT
    counter: bool = False
    lower: float | None = None
    upper: float | None = None


class ForecastAnswer(msgspec.Struct):
    """``times`` in epoch seconds, and for each the quantiles 2.5, 10, 50, 90 and 97.5 %."""

    model: str
    times: list[float]
    quantiles: list[list[float]]


def forecast(request: ForecastRequest) -> ForecastAnswer:
    """Return the forecast; raises ForecastError, with a message for the user, when there can be none."""
    values = np.array(request.values, dtype=np.float64)
    history = History(request.start, request.step, values, counter=request.counter)
    made = get(request.model).forecast(history, request.steps, Bounds(request.lower, request.upper))
    return ForecastAnswer(made.model, made.times.tolist(), made.quantiles.tolist())


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Return a ForecastAnswer, or ``{"error": {"code", "message"}}`` when there can be no forecast."""
    del context
    try:
        answer = forecast(msgspec.convert(event, ForecastRequest))
    except (ForecastError, msgspec.ValidationError) as error:
        return {"error": {"code": "invalid_input", "message": str(error)}}
    logger.info("forecast", extra={"model": answer.model, "steps": len(answer.times)})
    built: dict[str, Any] = msgspec.to_builtins(answer)
    return built
