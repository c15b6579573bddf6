"""The anomaly log in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg.types.json import Jsonb

from farwatch.adapters.postgres.database import Database
from farwatch.domain.anomalies import Anomaly
from farwatch.ids import new_id


class PostgresAnomalies:
    """An append-only log: what was raised is never rewritten, whatever is learned later."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, anomalies: Sequence[Anomaly]) -> None:
        """Keep them; one that is already there is left as it was raised."""
        with self._database.transaction() as connection, connection.cursor() as cursor:
            cursor.executemany(
                """INSERT INTO anomalies (id, host_id, metric, labels, detector, at, value, score, expected_low,
                                          expected_high, pattern, reason)
                   VALUES (%s, %s, %s, %s, %s, to_timestamp(%s / 1000.0), %s, %s, %s, %s, %s, %s)
                   ON CONFLICT (host_id, detector, metric, labels, at) DO NOTHING""",
                [
                    (
                        new_id("anom"),
                        anomaly.host_id,
                        anomaly.key.metric,
                        Jsonb(anomaly.key.label_map),
                        anomaly.detector,
                        anomaly.at,
                        anomaly.value,
                        anomaly.score,
                        anomaly.expected_low,
                        anomaly.expected_high,
                        anomaly.pattern,
                        anomaly.reason,
                    )
                    for anomaly in anomalies
                ],
            )
