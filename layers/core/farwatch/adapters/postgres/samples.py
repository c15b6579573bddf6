"""The metric store in PostgreSQL: the embedded default, and enough for a small fleet.

Raw samples are rows keyed by (series, time) in day partitions, so a resend is a no-op and expiry is a DROP TABLE.
Roll-ups are made by ``sweep``, two minutes behind; samples that come later than a minute reopen their range.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import LiteralString

import numpy as np
import numpy.typing as npt
from psycopg import Rollback, errors, sql
from psycopg.types.json import Jsonb

from farwatch.adapters.postgres.database import Connection, Database
from farwatch.domain.retention import HOUR, MINUTE, RAW, Resolution, Retention
from farwatch.domain.samples import SampleBlock, SeriesKey
from farwatch.ports.metric_store import SeriesData

Places = npt.NDArray[np.intp]

_DAY_MS = 86_400_000
_LATE_AFTER_MS = 60_000
_ROLL_UP_LAG_MS = 90_000
_ROLL_UP_FOR_S = 20.0  # of a sweep, which must end within its minute; the next one goes on
_STEP_MS, _LATE_STEP_MS = 600_000, 3_600_000

_INSERT: LiteralString = """
    INSERT INTO samples (series_id, at, value)
    SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::float8[])
    ON CONFLICT DO NOTHING"""

# Whatever writes many roll-ups does so in the order of their key: two that met in another order would deadlock.
_ROLL_UP: LiteralString = """
    INSERT INTO rollups (tier, series_id, at, count, mean, min, max)
    SELECT 60, series_id, at - at %% 60000, count(*), avg(value), min(value), max(value)
    FROM samples
    WHERE at >= %(start)s AND at < %(stop)s
      AND (%(host)s::text IS NULL OR series_id IN (SELECT id FROM series WHERE host_id = %(host)s))
    GROUP BY series_id, at - at %% 60000
    ORDER BY series_id, at - at %% 60000
    ON CONFLICT (tier, series_id, at) DO UPDATE
    SET count = excluded.count, mean = excluded.mean, min = excluded.min, max = excluded.max"""

_ROLL_UP_HOURS: LiteralString = """
    INSERT INTO rollups (tier, series_id, at, count, mean, min, max)
    SELECT 3600, series_id, at - at %% 3600000, sum(count), sum(mean * count) / sum(count), min(min), max(max)
    FROM rollups
    WHERE tier = 60 AND at >= %(start)s AND at < %(stop)s
      AND (%(host)s::text IS NULL OR series_id IN (SELECT id FROM series WHERE host_id = %(host)s))
    GROUP BY series_id, at - at %% 3600000
    ORDER BY series_id, at - at %% 3600000
    ON CONFLICT (tier, series_id, at) DO UPDATE
    SET count = excluded.count, mean = excluded.mean, min = excluded.min, max = excluded.max"""


class PostgresMetricStore:
    """A MetricStore over ``database``. Series ids and known partitions are remembered per container."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._ids: dict[tuple[str, SeriesKey], int] = {}
        self._days: set[int] = set()

    def write(self, host_id: str, block: SampleBlock, now: int) -> None:
        """Store the block in one transaction; see the port."""
        row, column = np.nonzero(~np.isnan(block.values))
        if len(row) == 0:
            return
        try:
            self._insert(host_id, block, row, column, now)
        except errors.CheckViolation:
            # The sweep of another process has dropped a day that was made here.
            self._days.clear()
            self._insert(host_id, block, row, column, now)

    def _insert(self, host_id: str, block: SampleBlock, row: Places, column: Places, now: int) -> None:
        times = block.times[row]
        ids = self._series_ids(host_id, block.series)
        self._ensure_partitions({int(day) for day in np.unique(times // _DAY_MS)})
        samples = (_array(ids[column]), _array(times), _array(block.values[row, column]))
        first = int(times.min())
        if first >= now - _LATE_AFTER_MS:
            with self._database.statement() as connection:
                connection.execute(_INSERT, samples)
            return
        with self._database.transaction() as connection:
            connection.execute(_INSERT, samples)
            connection.execute(
                "INSERT INTO rollup_late (host_id, start, stop) VALUES (%s, %s, %s)",
                (host_id, first, int(times.max()) + 1),
            )

    def write_history(self, host_id: str, block: SampleBlock, tier_s: int) -> None:
        """Store finished roll-ups with COPY; buckets that exist already are left as they are."""
        row, column = np.nonzero(~np.isnan(block.values))
        ids = self._series_ids(host_id, block.series)
        with self._database.transaction() as connection:
            connection.execute("CREATE TEMP TABLE incoming (LIKE rollups) ON COMMIT DROP")
            with connection.cursor().copy("COPY incoming FROM STDIN") as copy:
                for series_id, at, value in zip(
                    ids[column].tolist(),
                    (block.times[row] // (tier_s * 1000) * tier_s * 1000).tolist(),
                    block.values[row, column].tolist(),
                    strict=True,
                ):
                    copy.write_row((tier_s, series_id, at, 1, value, value, value))
            connection.execute(
                "INSERT INTO rollups SELECT * FROM incoming ORDER BY tier, series_id, at ON CONFLICT DO NOTHING"
            )

    def series(self, host_id: str, metric: str | None = None) -> list[SeriesKey]:
        """Return the host's series by name; see the port."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                """SELECT metric, labels FROM series WHERE host_id = %s AND (%s::text IS NULL OR metric = %s)
                   ORDER BY metric, labels::text""",
                (host_id, metric, metric),
            ).fetchall()
        return [SeriesKey.of(row["metric"], row["labels"]) for row in rows]

    def read(
        self, host_id: str, metrics: Sequence[str], start: int, end: int, resolution: Resolution
    ) -> list[SeriesData]:
        """Return the series of the metrics, bucketed by PostgreSQL; see the port."""
        step = resolution.step_s * 1000
        if resolution.tier_s == RAW:
            source = sql.SQL(
                "SELECT series_id, at, value AS mean, value AS min, value AS max, 1::bigint AS count FROM samples"
            )
            where: sql.Composable = sql.SQL("")
        else:
            source = sql.SQL("SELECT series_id, at, mean, min, max, count FROM rollups")
            where = sql.SQL(" AND tier = {}").format(sql.Literal(resolution.tier_s))
        rows: sql.Composed = sql.SQL(
            """{source} WHERE at >= %(start)s AND at < %(end)s
               AND series_id IN (SELECT id FROM series WHERE host_id = %(host)s AND metric = ANY(%(metrics)s)){where}"""
        ).format(source=source, where=where)
        if step > max(resolution.tier_s * 1000, 0):
            rows = sql.SQL(
                """SELECT series_id, at - at %% %(step)s AS at, sum(mean * count) / sum(count) AS mean,
                          min(min) AS min, max(max) AS max, sum(count)::bigint AS count
                   FROM ({rows}) fine GROUP BY 1, 2"""
            ).format(rows=rows)
        query = sql.SQL(
            """SELECT s.metric, s.labels, array_agg(at ORDER BY at) AS at, array_agg(mean ORDER BY at) AS mean,
                      array_agg(min ORDER BY at) AS min, array_agg(max ORDER BY at) AS max,
                      array_agg(count ORDER BY at) AS count
               FROM ({rows}) r JOIN series s ON s.id = r.series_id
               GROUP BY s.id ORDER BY s.metric, s.labels::text"""
        ).format(rows=rows)
        arguments = {"host": host_id, "metrics": list(metrics), "start": start, "end": end, "step": step}
        with self._database.transaction() as connection:
            found = connection.execute(query, arguments).fetchall()
        return [
            SeriesData(
                host_id,
                SeriesKey.of(row["metric"], row["labels"]),
                np.array(row["at"], np.int64),
                np.array(row["mean"], float),
                np.array(row["min"], float),
                np.array(row["max"], float),
                np.array(row["count"], np.int64),
            )
            for row in found
        ]

    def roll_up(self, now: int) -> None:
        """Roll up minutes, then the hours they touch, in steps each of which is kept when time runs out."""
        target = (now - _ROLL_UP_LAG_MS) // 60_000 * 60_000
        deadline = self._clock() + _ROLL_UP_FOR_S
        while self._roll_up_next(target) and self._clock() < deadline:
            pass
        while self._roll_up_late() and self._clock() < deadline:
            pass

    def _roll_up_next(self, target: int) -> bool:
        """Roll up what comes next; return whether ``target`` (epoch ms) is not reached by it.

        The progress row is the lock against a second sweep.
        """
        with self._database.transaction() as connection:
            row = connection.execute("SELECT until FROM rollup_progress FOR UPDATE").fetchone()
            if row is None:
                first = connection.execute("SELECT min(at) AS at FROM samples").fetchone()
                if first is None or first["at"] is None:
                    return False
                start = first["at"] // 60_000 * 60_000
            else:
                start = row["until"]
            stop = min(target, start + _STEP_MS)
            if stop <= start:
                return False
            self._roll_up_range(connection, start, stop, None)
            connection.execute(
                "INSERT INTO rollup_progress (until) VALUES (%s) ON CONFLICT (id) DO UPDATE SET until = excluded.until",
                (stop,),
            )
        return bool(stop < target)

    def _roll_up_late(self) -> bool:
        """Roll up anew the oldest of what came late, of one host and about an hour; return whether there was any."""
        with self._database.transaction() as connection:
            row = connection.execute("SELECT until FROM rollup_progress FOR UPDATE").fetchone()
            until = 0 if row is None else row["until"]
            oldest = connection.execute(
                "SELECT host_id, start FROM rollup_late WHERE start < %s ORDER BY start LIMIT 1", (until,)
            ).fetchone()
            if oldest is None:
                return False
            start = oldest["start"] // 60_000 * 60_000
            taken = connection.execute(
                "DELETE FROM rollup_late WHERE host_id = %s AND start < %s RETURNING stop",
                (oldest["host_id"], min(start + _LATE_STEP_MS, until)),
            ).fetchall()
            stop = -(-max(item["stop"] for item in taken) // 60_000) * 60_000
            self._roll_up_range(connection, start, min(stop, until), oldest["host_id"])
        return True

    @staticmethod
    def _roll_up_range(connection: Connection, start: int, stop: int, host_id: str | None) -> None:
        connection.execute(_ROLL_UP, {"start": start, "stop": stop, "host": host_id})
        hours = {"start": start // 3_600_000 * 3_600_000, "stop": stop, "host": host_id}
        connection.execute(_ROLL_UP_HOURS, hours)

    def expire(self, retention: Retention, now: int) -> None:
        """Drop day partitions, once they are rolled up, and delete roll-ups that are past their retention."""
        oldest_day = (now - retention.raw_days * _DAY_MS) // _DAY_MS
        with self._database.transaction() as connection:
            partitions = connection.execute(
                "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'samples'::regclass"
            ).fetchall()
            for partition in partitions:
                day = int(partition["name"].removeprefix("samples_"))
                if day >= oldest_day or self._waits(connection, day):
                    continue
                with connection.transaction() as dropping:
                    connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(partition["name"])))
                    if self._waits(connection, day):  # for what was stored while this waited for its lock
                        raise Rollback(dropping)
            for tier in (MINUTE, HOUR):
                connection.execute(
                    "DELETE FROM rollups WHERE tier = %s AND at < %s",
                    (tier, now - retention.days(tier) * _DAY_MS),
                )
        self._days = {day for day in self._days if day >= oldest_day}

    @staticmethod
    def _waits(connection: Connection, day: int) -> bool:
        """Whether samples of the day (days since 1970) are still to be rolled up, as of a host that was cut off till now."""
        row = connection.execute(
            """SELECT coalesce((SELECT until FROM rollup_progress), 0) < %(stop)s
                      OR EXISTS (SELECT FROM rollup_late WHERE start < %(stop)s AND stop > %(start)s) AS waits""",
            {"start": day * _DAY_MS, "stop": (day + 1) * _DAY_MS},
        ).fetchone()
        return row is None or bool(row["waits"])

    def ping(self) -> None:
        """Return when PostgreSQL answers."""
        self._database.ping()

    def _series_ids(self, host_id: str, keys: Sequence[SeriesKey]) -> npt.NDArray[np.int64]:
        """Return the id of each series, made where it is new, committed before anything refers to it."""
        missing = [key for key in keys if (host_id, key) not in self._ids]
        if missing:
            metrics, labels = [key.metric for key in missing], [Jsonb(key.label_map) for key in missing]
            with self._database.transaction() as connection:
                connection.execute(
                    """INSERT INTO series (host_id, metric, labels)
                       SELECT %s, metric, labels FROM unnest(%s::text[], %s::jsonb[]) AS new (metric, labels)
                       ORDER BY metric, labels ON CONFLICT DO NOTHING""",
                    (host_id, metrics, labels),
                )
                rows = connection.execute(
                    "SELECT id, metric, labels FROM series WHERE host_id = %s AND metric = ANY(%s)",
                    (host_id, metrics),
                ).fetchall()
            for row in rows:
                self._ids[host_id, SeriesKey.of(row["metric"], row["labels"])] = row["id"]
        return np.array([self._ids[host_id, key] for key in keys], np.int64)

    def _ensure_partitions(self, days: Iterable[int]) -> None:
        """Make the partitions of the days (days since 1970, UTC) that are not there yet."""
        for day in sorted(set(days) - self._days):
            statement = sql.SQL(
                "CREATE TABLE IF NOT EXISTS {} PARTITION OF samples FOR VALUES FROM ({}) TO ({})"
            ).format(
                sql.Identifier(f"samples_{day}"), sql.Literal(day * _DAY_MS), sql.Literal((day + 1) * _DAY_MS)
            )
            try:
                with self._database.transaction() as connection:
                    connection.execute(statement)
            except (errors.UniqueViolation, errors.DuplicateTable):
                # Another container made the same partition at the same moment, and its is as good.
                pass
            self._days.add(day)


def _array(values: npt.NDArray[np.int64] | npt.NDArray[np.float64]) -> str:
    """Return numbers as PostgreSQL writes an array; psycopg would look at each of them, and take several times as long."""
    return "{" + ",".join(map(repr, values.tolist())) + "}"
