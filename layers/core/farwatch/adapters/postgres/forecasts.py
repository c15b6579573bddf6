"""Forecasts and outlooks in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from psycopg.types.json import Jsonb

from farwatch.adapters.postgres.database import Database, Row
from farwatch.domain.capacity import Outlook
from farwatch.domain.samples import SeriesKey
from farwatch.domain.severity import Severity
from farwatch.ports.forecasts import ForecastState, ModelAccuracy, Score, StoredForecast


class PostgresForecasts:
    """A ForecastStore over ``database``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, forecast: StoredForecast) -> None:
        """Keep a new forecast."""
        with self._database.transaction() as connection:
            connection.execute(
                """INSERT INTO forecasts (id, host_id, metric, labels, model, horizon_s, made_at, made_by, state, start,
                                          step_s, quantiles, error, ends_at)
                   VALUES (%(id)s, %(host_id)s, %(metric)s, %(labels)s, %(model)s, %(horizon_s)s, %(made_at)s, %(made_by)s,
                           %(state)s, %(start)s, %(step_s)s, %(quantiles)s, %(error)s, %(ends_at)s)""",
                _columns(forecast),
            )

    def get(self, forecast_id: str) -> StoredForecast | None:
        """Return a forecast."""
        with self._database.transaction() as connection:
            row = connection.execute("SELECT * FROM forecasts WHERE id = %s", (forecast_id,)).fetchone()
        return None if row is None else _forecast(row)

    def finish(self, forecast: StoredForecast) -> None:
        """Keep the result of a forecast that was pending."""
        with self._database.transaction() as connection:
            connection.execute(
                """UPDATE forecasts SET state = %(state)s, start = %(start)s, step_s = %(step_s)s,
                          quantiles = %(quantiles)s, error = %(error)s, ends_at = %(ends_at)s
                   WHERE id = %(id)s AND state = 'pending'""",
                _columns(forecast),
            )

    def newest(
        self, host_id: str, key: SeriesKey, model: str, horizon_s: int, since: int
    ) -> StoredForecast | None:
        """Return the newest usable forecast of the same question made at or after ``since``."""
        with self._database.transaction() as connection:
            row = connection.execute(
                """SELECT * FROM forecasts
                   WHERE host_id = %s AND metric = %s AND labels = %s AND model = %s AND horizon_s = %s
                     AND made_at >= %s AND state <> 'failed'
                   ORDER BY made_at DESC LIMIT 1""",
                (host_id, key.metric, Jsonb(key.label_map), model, horizon_s, since),
            ).fetchone()
        return None if row is None else _forecast(row)

    def find(
        self,
        host_id: str | None,
        metric: str | None,
        model: str | None,
        limit: int,
        before: tuple[int, str] | None,
    ) -> list[StoredForecast]:
        """Return forecasts, newest first, without their quantiles."""
        at, last = before if before is not None else (None, None)
        with self._database.transaction() as connection:
            rows = connection.execute(
                """SELECT id, host_id, metric, labels, model, horizon_s, made_at, made_by, state, start, step_s,
                          '[]'::jsonb AS quantiles, error, score
                   FROM forecasts
                   WHERE (%(host)s::text IS NULL OR host_id = %(host)s)
                     AND (%(metric)s::text IS NULL OR metric = %(metric)s)
                     AND (%(model)s::text IS NULL OR model = %(model)s)
                     AND (%(at)s::bigint IS NULL OR (made_at, id) < (%(at)s, %(last)s))
                   ORDER BY made_at DESC, id DESC LIMIT %(limit)s""",
                {"host": host_id, "metric": metric, "model": model, "at": at, "last": last, "limit": limit},
            ).fetchall()
        return [_forecast(row) for row in rows]

    def due(self, now: int, limit: int) -> list[StoredForecast]:
        """Return ready forecasts whose end has passed and that have not been scored."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                """SELECT * FROM forecasts WHERE state = 'ready' AND NOT scored AND ends_at <= %s
                   ORDER BY ends_at LIMIT %s""",
                (now, limit),
            ).fetchall()
        return [_forecast(row) for row in rows]

    def score(self, forecast_id: str, score: Score | None) -> None:
        """Keep how a forecast turned out."""
        document = None if score is None else Jsonb(msgspec.to_builtins(score))
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE forecasts SET scored = true, score = %s WHERE id = %s", (document, forecast_id)
            )

    def accuracy(self, host_id: str | None, metric: str | None) -> list[ModelAccuracy]:
        """Return what the scores say of each model."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                """SELECT model, count(*) AS forecasts,
                          percentile_cont(0.5) WITHIN GROUP (ORDER BY (score ->> 'relative_mae')::float8) AS relative_mae,
                          percentile_cont(0.5) WITHIN GROUP (ORDER BY (score ->> 'relative_pinball')::float8)
                              AS relative_pinball,
                          sum((score ->> 'cover80')::float8 * (score ->> 'steps')::float8)
                              / sum((score ->> 'steps')::float8) AS cover80,
                          sum((score ->> 'cover95')::float8 * (score ->> 'steps')::float8)
                              / sum((score ->> 'steps')::float8) AS cover95
                   FROM forecasts
                   WHERE score IS NOT NULL AND (%(host)s::text IS NULL OR host_id = %(host)s)
                     AND (%(metric)s::text IS NULL OR metric = %(metric)s)
                   GROUP BY model ORDER BY model""",
                {"host": host_id, "metric": metric},
            ).fetchall()
        return [ModelAccuracy(**row) for row in rows]

    def outlooks(self, host_id: str | None = None) -> list[Outlook]:
        """Return the newest outlooks, soonest first."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                """SELECT * FROM outlooks WHERE %(host)s::text IS NULL OR host_id = %(host)s
                   ORDER BY median_s NULLS LAST, host_id, metric, labels::text""",
                {"host": host_id},
            ).fetchall()
        return [
            Outlook(
                row["host_id"],
                SeriesKey.of(row["metric"], row["labels"]),
                row["at"],
                row["threshold"],
                row["current"],
                row["per_day"],
                row["median_s"],
                row["low_s"],
                row["high_s"],
                None if row["alert"] is None else Severity(row["alert"]),
                row["alert_since"],
            )
            for row in rows
        ]

    def keep_outlooks(self, host_id: str, outlooks: Sequence[Outlook]) -> None:
        """Replace the outlooks of a host."""
        with self._database.transaction() as connection, connection.cursor() as cursor:
            cursor.execute("DELETE FROM outlooks WHERE host_id = %s", (host_id,))
            cursor.executemany(
                """INSERT INTO outlooks (host_id, metric, labels, at, threshold, current, per_day, median_s, low_s, high_s,
                                         alert, alert_since)
                   VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)""",
                [
                    (
                        host_id,
                        outlook.key.metric,
                        Jsonb(outlook.key.label_map),
                        outlook.at,
                        outlook.threshold,
                        outlook.current,
                        outlook.per_day,
                        outlook.median_s,
                        outlook.low_s,
                        outlook.high_s,
                        outlook.alert,
                        outlook.alert_since,
                    )
                    for outlook in outlooks
                ],
            )

    def give_up(self, asked_before: int, error: str) -> int:
        """Mark forecasts still pending that were asked for before then as failed, and return how many."""
        with self._database.transaction() as connection:
            return connection.execute(
                "UPDATE forecasts SET state = 'failed', error = %s WHERE state = 'pending' AND made_at < %s",
                (error, asked_before),
            ).rowcount

    def forget(self, made_before: int) -> int:
        """Delete old forecasts and return how many."""
        with self._database.transaction() as connection:
            return connection.execute("DELETE FROM forecasts WHERE made_at < %s", (made_before,)).rowcount


def _columns(forecast: StoredForecast) -> dict[str, object]:
    return {
        "id": forecast.id,
        "host_id": forecast.host_id,
        "metric": forecast.key.metric,
        "labels": Jsonb(forecast.key.label_map),
        "model": forecast.model,
        "horizon_s": forecast.horizon_s,
        "made_at": forecast.made_at,
        "made_by": forecast.made_by,
        "state": forecast.state,
        "start": forecast.start,
        "step_s": forecast.step_s,
        "quantiles": Jsonb(forecast.quantiles),
        "error": forecast.error,
        "ends_at": forecast.start + forecast.step_s * 1000 * len(forecast.quantiles),
    }


def _forecast(row: Row) -> StoredForecast:
    return StoredForecast(
        id=row["id"],
        host_id=row["host_id"],
        key=SeriesKey.of(row["metric"], row["labels"]),
        model=row["model"],
        horizon_s=row["horizon_s"],
        made_at=row["made_at"],
        made_by=row["made_by"],
        state=ForecastState(row["state"]),
        start=row["start"],
        step_s=row["step_s"],
        quantiles=row["quantiles"],
        error=row["error"],
        score=None if row["score"] is None else msgspec.convert(row["score"], Score),
    )
