"""A named detector over a range of samples that the caller sends along: a calculation, no store behind it."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from farwatch.detection import Pattern, registry
from farwatch.errors import FieldError, InvalidInput

MAX_SAMPLES = 20_000


class DetectRequest(msgspec.Struct):
    """One series: ``times`` in epoch ms, ``values`` with null for a missing sample, and who is to look at it."""

    detector: str
    times: list[int]
    values: list[float | None]


class DetectAnswer(msgspec.Struct):
    """One entry for each sample: its score, the range expected of it (null while unknown) and the pattern's name."""

    detector: str
    score: list[float]
    low: list[float | None]
    high: list[float | None]
    pattern: list[str]


def detect(request: DetectRequest) -> DetectAnswer:
    """Score the samples in order; raises InvalidInput for an unknown detector or lists that do not match."""
    if len(request.times) != len(request.values) or len(request.times) > MAX_SAMPLES:
        raise InvalidInput(
            "times and values do not match",
            [FieldError("values", f"one for each time, at most {MAX_SAMPLES}")],
        )
    try:
        detector = registry.get(request.detector)
    except registry.UnknownDetectorError as error:
        raise InvalidInput(str(error), [FieldError("detector", str(error))]) from error
    values = np.array(request.values, dtype=np.float64)[:, None]
    scores = detector.fold(detector.new_state(1), np.array(request.times, np.float64) / 1000.0, values)
    return DetectAnswer(
        detector=request.detector,
        score=scores.score[:, 0].tolist(),
        low=[None if np.isnan(v) else v for v in scores.low[:, 0].tolist()],
        high=[None if np.isnan(v) else v for v in scores.high[:, 0].tolist()],
        pattern=[Pattern(number).name.lower() for number in scores.pattern[:, 0].tolist()],
    )


def answer(event: dict[str, Any]) -> dict[str, Any]:
    """Return a DetectAnswer, or ``{"error": {"code", "message"}}`` when the request cannot be served."""
    try:
        built: dict[str, Any] = msgspec.to_builtins(detect(msgspec.convert(event, DetectRequest)))
    except (InvalidInput, msgspec.ValidationError) as error:
        return {"error": {"code": "invalid_input", "message": str(error)}}
    return built
