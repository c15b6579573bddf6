"""Where forecasts and outlooks are kept, and how a slow one is made in the background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from farwatch.domain.capacity import Outlook
from farwatch.domain.samples import SeriesKey


class ForecastState(StrEnum):
    """``pending`` while it is being made, then ``ready`` or ``failed``."""

    PENDING = "pending"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Score:
    """How a forecast turned out over the ``steps`` judged so far; see ``forecasting.accuracy.Accuracy``."""

    steps: int
    mae: float
    relative_mae: float | None
    relative_pinball: float | None
    cover80: float
    cover95: float


@dataclass(frozen=True, slots=True)
class StoredForecast:
    """A forecast that was asked for. Times are epoch ms; ``quantiles`` are rows of five, one for each step from ``start``.

    ``error`` says, for people, why one failed. ``score`` is there once something has come to compare it with.
    """

    id: str
    host_id: str
    key: SeriesKey
    model: str
    horizon_s: int
    made_at: int
    made_by: str
    state: ForecastState = ForecastState.PENDING
    start: int = 0
    step_s: int = 0
    quantiles: list[list[float]] = field(default_factory=list)
    error: str = ""
    score: Score | None = None


@dataclass(frozen=True, slots=True)
class ModelAccuracy:
    """What the scored forecasts of one model say together: medians over forecasts, shares over steps."""

    model: str
    forecasts: int
    relative_mae: float | None
    relative_pinball: float | None
    cover80: float
    cover95: float


class ForecastStore(Protocol):
    """Keeps forecasts, what became of them, and the newest outlook of each watched series."""

    def add(self, forecast: StoredForecast) -> None:
        """Keep a new forecast."""
        ...

    def get(self, forecast_id: str) -> StoredForecast | None:
        """Return a forecast."""
        ...

    def finish(self, forecast: StoredForecast) -> None:
        """Keep the result of a forecast that was pending."""
        ...

    def newest(
        self, host_id: str, key: SeriesKey, model: str, horizon_s: int, since: int
    ) -> StoredForecast | None:
        """Return the newest usable forecast of the same question made at or after ``since``: ready, or still pending."""
        ...

    def find(
        self,
        host_id: str | None,
        metric: str | None,
        model: str | None,
        limit: int,
        before: tuple[int, str] | None,
    ) -> list[StoredForecast]:
        """Return forecasts, newest first, without their quantiles; ``before`` is (made_at, id) of the last one seen."""
        ...

    def due(self, now: int, limit: int) -> list[StoredForecast]:
        """Return ready forecasts whose end has passed and that have not been scored."""
        ...

    def score(self, forecast_id: str, score: Score | None) -> None:
        """Keep how a forecast turned out; None: nothing came, so it will never be known."""
        ...

    def accuracy(self, host_id: str | None, metric: str | None) -> list[ModelAccuracy]:
        """Return what the scores say of each model."""
        ...

    def outlooks(self, host_id: str | None = None) -> list[Outlook]:
        """Return the newest outlooks, soonest first."""
        ...

    def keep_outlooks(self, host_id: str, outlooks: Sequence[Outlook]) -> None:
        """Replace the outlooks of a host."""
        ...

    def give_up(self, asked_before: int, error: str) -> int:
        """Mark forecasts still pending that were asked for before then as failed, and return how many."""
        ...

    def forget(self, made_before: int) -> int:
        """Delete old forecasts and return how many."""
        ...


class Background(Protocol):
    """Starts the forecast function without waiting for it."""

    def start(self, forecast_id: str) -> None:
        """Have the pending forecast made; raises Unavailable when it could not be asked for."""
        ...
