"""The anomaly log in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg.types.json import Jsonb

from farwatch.adapters.postgres.database import Database, Row
from farwatch.adapters.postgres.times import at_ms, ms
from farwatch.domain.anomalies import Anomaly
from farwatch.domain.samples import SeriesKey
from farwatch.ids import new_id
from farwatch.ports.anomalies import AnomalyFilter, StoredAnomaly, Verdict

_SELECT = """SELECT a.*, f.verdict, f.said_by, f.said_at
             FROM anomalies a LEFT JOIN anomaly_feedback f ON f.anomaly_id = a.id"""


class PostgresAnomalies:
    """An append-only log: what was raised is never rewritten, whatever is learned later."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, anomalies: Sequence[Anomaly]) -> None:
        """Keep them; one that is already there is left as it was raised."""
        with self._database.transaction() as connection, connection.cursor() as cursor:
            cursor.executemany(
                """INSERT INTO anomalies (id, host_id, metric, labels, detector, at, value, score, expected_low,
                                          expected_high, pattern, reason, since)
                   VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
                   ON CONFLICT (host_id, detector, metric, labels, at) DO NOTHING""",
                [
                    (
                        new_id("anom"),
                        anomaly.host_id,
                        anomaly.key.metric,
                        Jsonb(anomaly.key.label_map),
                        anomaly.detector,
                        at_ms(anomaly.at),
                        anomaly.value,
                        anomaly.score,
                        anomaly.expected_low,
                        anomaly.expected_high,
                        anomaly.pattern,
                        anomaly.reason,
                        at_ms(anomaly.since or anomaly.at),
                    )
                    for anomaly in anomalies
                ],
            )

    def raised_by(self, host_id: str, detectors: Sequence[str], start: int, recent: int) -> Sequence[Anomaly]:
        """Return the host's anomalies at or after ``start`` that one of the detectors raised, by time.

        Of those before ``recent`` only what was raised since then: found late. Both are epoch ms.
        """
        with self._database.transaction() as connection:
            rows = connection.execute(
                _SELECT
                + """ WHERE a.host_id = %(host)s AND a.detector = ANY(%(detectors)s) AND a.at >= %(start)s
                      AND greatest(a.at, a.raised_at) >= %(recent)s
                      ORDER BY a.at, a.id LIMIT 1000""",
                {
                    "host": host_id,
                    "detectors": list(detectors),
                    "start": at_ms(start),
                    "recent": at_ms(recent),
                },
            ).fetchall()
        return [_stored(row).anomaly for row in rows]

    def false_alarms(self, host_id: str) -> Sequence[tuple[SeriesKey, str, float]]:
        """Return (series, detector, score) of each anomaly of the host that was called a false alarm, by time."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                """SELECT a.metric, a.labels, a.detector, a.score
                   FROM anomaly_feedback f JOIN anomalies a ON a.id = f.anomaly_id
                   WHERE a.host_id = %s AND f.verdict = 'false_alarm' ORDER BY a.at, a.id""",
                (host_id,),
            ).fetchall()
        return [
            (SeriesKey.of(row["metric"], row["labels"]), row["detector"], float(row["score"])) for row in rows
        ]

    def detectors(self) -> Sequence[tuple[str, str]]:
        """Return the detectors people have chosen, as (metric glob, name or ``off``), first match first."""
        with self._database.transaction() as connection:
            row = connection.execute("SELECT value FROM config WHERE key = 'detectors'").fetchone()
        return [] if row is None else [(str(glob), str(name)) for glob, name in row["value"]]

    def find(self, wanted: AnomalyFilter, limit: int, before: tuple[int, str] | None) -> list[StoredAnomaly]:
        """Return at most ``limit`` anomalies, newest first, that come after the position ``before`` (at, id)."""
        at, last = before if before is not None else (None, None)
        with self._database.transaction() as connection:
            rows = connection.execute(
                _SELECT
                + """ WHERE (%(host)s::text IS NULL OR a.host_id = %(host)s)
                      AND (%(metric)s::text IS NULL OR a.metric = %(metric)s)
                      AND (%(detector)s::text IS NULL OR a.detector = %(detector)s)
                      AND (%(pattern)s::text IS NULL OR a.pattern = %(pattern)s)
                      AND (%(start)s::timestamptz IS NULL OR a.at >= %(start)s)
                      AND (%(end)s::timestamptz IS NULL OR a.at < %(end)s)
                      AND a.score >= %(score)s
                      AND (%(at)s::timestamptz IS NULL OR (a.at, a.id) < (%(at)s, %(last)s))
                      ORDER BY a.at DESC, a.id DESC LIMIT %(limit)s""",
                {
                    "host": wanted.host_id,
                    "metric": wanted.metric,
                    "detector": wanted.detector,
                    "pattern": wanted.pattern,
                    "start": at_ms(wanted.start),
                    "end": at_ms(wanted.end),
                    "score": wanted.min_score,
                    "at": at_ms(at),
                    "last": last,
                    "limit": limit,
                },
            ).fetchall()
        return [_stored(row) for row in rows]

    def get(self, anomaly_id: str) -> StoredAnomaly | None:
        """Return one anomaly."""
        with self._database.transaction() as connection:
            row = connection.execute(_SELECT + " WHERE a.id = %s", (anomaly_id,)).fetchone()
        return None if row is None else _stored(row)

    def judge(self, anomaly_id: str, verdict: Verdict, by: str) -> bool:
        """Keep the verdict, in place of an earlier one; False when there is no such anomaly."""
        with self._database.transaction() as connection:
            return (
                connection.execute(
                    """INSERT INTO anomaly_feedback (anomaly_id, verdict, said_by)
                       SELECT id, %s, %s FROM anomalies WHERE id = %s
                       ON CONFLICT (anomaly_id) DO UPDATE
                       SET verdict = excluded.verdict, said_by = excluded.said_by, said_at = now()""",
                    (verdict.value, by, anomaly_id),
                ).rowcount
                == 1
            )

    def unjudge(self, anomaly_id: str) -> bool:
        """Take the verdict back; False when there was none."""
        with self._database.transaction() as connection:
            deleted = connection.execute("DELETE FROM anomaly_feedback WHERE anomaly_id = %s", (anomaly_id,))
            return deleted.rowcount == 1

    def forget(self, before: int) -> int:
        """Delete anomalies of before that time (epoch ms) that nobody has judged; return how many."""
        with self._database.statement() as connection:
            deleted = connection.execute(
                """DELETE FROM anomalies a WHERE at < %s
                   AND NOT EXISTS (SELECT FROM anomaly_feedback WHERE anomaly_id = a.id)""",
                (at_ms(before),),
            )
            return deleted.rowcount


def _stored(row: Row) -> StoredAnomaly:
    return StoredAnomaly(
        id=row["id"],
        anomaly=Anomaly(
            host_id=row["host_id"],
            key=SeriesKey.of(row["metric"], row["labels"]),
            detector=row["detector"],
            at=ms(row["at"]),
            value=row["value"],
            score=row["score"],
            expected_low=row["expected_low"],
            expected_high=row["expected_high"],
            pattern=row["pattern"],
            reason=row["reason"],
            since=ms(row["since"]) or ms(row["at"]),
        ),
        raised_at=ms(row["raised_at"]),
        verdict=None if row["verdict"] is None else Verdict(row["verdict"]),
        said_by=row["said_by"],
        said_at=ms(row["said_at"]),
    )
