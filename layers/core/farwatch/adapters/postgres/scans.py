"""Security scans in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from psycopg.types.json import Jsonb

from farwatch.adapters.postgres.database import Connection, Database, Row
from farwatch.adapters.postgres.times import at_ms, ms
from farwatch.domain.rbac import Caller
from farwatch.domain.scans import (
    KEPT_PER_TARGET,
    MOST_TARGETS,
    Change,
    Finding,
    Scan,
    ScanResult,
    ScanSeverity,
    Trend,
    compare,
)
from farwatch.ids import new_id
from farwatch.ports.scans import FindingFilter, Placed

_FILTERS = """(%(severities)s::text[] IS NULL OR f.severity = ANY(%(severities)s))
              AND (%(rule)s::text IS NULL OR f.rule = %(rule)s) AND f.place > %(after)s"""


class PostgresScans:
    """Implements ``farwatch.ports.scans.ScanStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, caller: Caller, result: ScanResult, now: int) -> Scan:
        """Keep a result, compared with the newest of the same target, and drop what is beyond the bounds."""
        with self._database.transaction() as connection:
            # Two scans of one target at once would both be compared with the one before them.
            connection.execute(
                "SELECT pg_advisory_xact_lock(hashtext('scans'), hashtext(%s))", (result.target,)
            )
            previous = connection.execute(
                "SELECT id FROM scans WHERE target = %s ORDER BY id DESC LIMIT 1", (result.target,)
            ).fetchone()
            before = _fingerprints(connection, previous["id"]) if previous is not None else set()
            mine = [finding.fingerprint for finding in result.findings]
            scan = Scan(
                id=new_id("scan"),
                target=result.target,
                received_at=now,
                actor_kind=str(caller.principal.kind),
                actor_id=caller.principal.id,
                files=result.files,
                seconds=result.seconds,
                suppressed=result.suppressed,
                skipped=result.skipped,
                left_out=result.left_out,
                counts=result.counts(),
                trend=compare(previous["id"], list(before), mine) if previous is not None else None,
            )
            _insert(connection, scan)
            with connection.cursor().copy(
                "COPY scan_findings (scan_id, place, fingerprint, severity, rule, appeared, finding) FROM STDIN"
            ) as rows:
                for place, finding in enumerate(result.findings):
                    appeared = previous is not None and finding.fingerprint not in before
                    document = Jsonb(msgspec.to_builtins(finding))
                    rows.write_row(
                        (
                            scan.id,
                            place,
                            finding.fingerprint,
                            finding.severity,
                            finding.rule,
                            appeared,
                            document,
                        )
                    )
            _prune(connection, scan.target)
        return scan

    def scans(
        self, *, target: str | None, newest_only: bool, before_id: str | None, limit: int
    ) -> Sequence[Scan]:
        """Return scans, newest first, older than ``before_id``; with ``newest_only`` one of each target."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                """SELECT * FROM scans s WHERE (%(target)s::text IS NULL OR target = %(target)s)
                     AND (%(before)s::text IS NULL OR id < %(before)s)
                     AND (NOT %(newest)s OR id = (SELECT max(id) FROM scans WHERE target = s.target))
                   ORDER BY id DESC LIMIT %(limit)s""",
                {"target": target, "before": before_id, "newest": newest_only, "limit": limit},
            ).fetchall()
        return [_scan(row) for row in rows]

    def get(self, scan_id: str) -> Scan | None:
        """Return one scan."""
        with self._database.transaction() as connection:
            row = connection.execute("SELECT * FROM scans WHERE id = %s", (scan_id,)).fetchone()
        return None if row is None else _scan(row)

    def findings(self, scan: Scan, wanted: FindingFilter, *, after: int, limit: int) -> Sequence[Placed]:
        """Return findings behind the place ``after``, worst first; fixed ones are those of the scan before."""
        asked = {
            "scan": scan.id,
            "previous": scan.trend.previous_id if scan.trend is not None else "",
            "severities": [str(severity) for severity in wanted.severity] or None,
            "rule": wanted.rule,
            "appeared": None if wanted.change is None else wanted.change is Change.NEW,
            "after": after,
            "limit": limit,
        }
        own = f"""SELECT f.place, f.finding, f.appeared FROM scan_findings f
                  WHERE f.scan_id = %(scan)s AND {_FILTERS}
                    AND (%(appeared)s::boolean IS NULL OR f.appeared = %(appeared)s)
                  ORDER BY f.place LIMIT %(limit)s"""  # noqa: S608 - only a constant of this module is put in
        gone = f"""SELECT f.place, f.finding, NULL AS appeared FROM scan_findings f
                   WHERE f.scan_id = %(previous)s AND {_FILTERS} AND NOT EXISTS (
                     SELECT 1 FROM scan_findings n WHERE n.scan_id = %(scan)s AND n.fingerprint = f.fingerprint)
                   ORDER BY f.place LIMIT %(limit)s"""  # noqa: S608 - only a constant of this module is put in
        with self._database.transaction() as connection:
            rows = connection.execute(gone if wanted.change is Change.FIXED else own, asked).fetchall()
        return [Placed(row["place"], msgspec.convert(row["finding"], Finding), _change(row)) for row in rows]

    def rules(self, scan_id: str) -> dict[str, int]:
        """Return the rules of a scan's findings and how many each has, most first."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                """SELECT rule, count(*) AS findings FROM scan_findings WHERE scan_id = %s
                   GROUP BY rule ORDER BY findings DESC, rule""",
                (scan_id,),
            ).fetchall()
        return {row["rule"]: row["findings"] for row in rows}


def _fingerprints(connection: Connection, scan_id: str) -> set[str]:
    rows = connection.execute(
        "SELECT fingerprint FROM scan_findings WHERE scan_id = %s", (scan_id,)
    ).fetchall()
    return {row["fingerprint"] for row in rows}


def _insert(connection: Connection, scan: Scan) -> None:
    trend = scan.trend
    connection.execute(
        """INSERT INTO scans (id, target, received_at, actor_kind, actor_id, files, seconds, suppressed, skipped,
                              left_out, counts, previous_id, appeared, fixed, remained)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)""",
        (
            scan.id,
            scan.target,
            at_ms(scan.received_at),
            scan.actor_kind,
            scan.actor_id,
            scan.files,
            scan.seconds,
            scan.suppressed,
            scan.skipped,
            scan.left_out,
            Jsonb(scan.counts),
            trend.previous_id if trend is not None else None,
            trend.appeared if trend is not None else 0,
            trend.fixed if trend is not None else 0,
            trend.remained if trend is not None else 0,
        ),
    )


def _prune(connection: Connection, target: str) -> None:
    connection.execute(
        """DELETE FROM scans WHERE target = %(target)s AND id NOT IN (
             SELECT id FROM scans WHERE target = %(target)s ORDER BY id DESC LIMIT %(kept)s)""",
        {"target": target, "kept": KEPT_PER_TARGET},
    )
    connection.execute(
        """DELETE FROM scans WHERE target IN (
             SELECT target FROM scans GROUP BY target ORDER BY max(id) DESC OFFSET %s)""",
        (MOST_TARGETS,),
    )


def _change(row: Row) -> Change:
    if row["appeared"] is None:
        return Change.FIXED
    return Change.NEW if row["appeared"] else Change.OPEN


def _scan(row: Row) -> Scan:
    previous = row["previous_id"]
    return Scan(
        id=row["id"],
        target=row["target"],
        received_at=ms(row["received_at"]),
        actor_kind=row["actor_kind"],
        actor_id=row["actor_id"],
        files=row["files"],
        seconds=float(row["seconds"]),
        suppressed=row["suppressed"],
        skipped=row["skipped"],
        left_out=row["left_out"],
        counts={severity: int(row["counts"].get(severity, 0)) for severity in ScanSeverity},
        trend=Trend(previous, row["appeared"], row["fixed"], row["remained"])
        if previous is not None
        else None,
    )
