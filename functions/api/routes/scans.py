"""``/api/v1/scans``: results of security scans, as ``./farwatch scan --publish`` sends them and the dashboard shows them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from aws_lambda_powertools.event_handler.api_gateway import Response, Router
from aws_lambda_powertools.event_handler.openapi.params import Path, Query
from pydantic import Field, StringConstraints

from farwatch.bootstrap import container
from farwatch.domain.rbac import Permission
from farwatch.domain.scans import MOST_FINDINGS, Change, Finding, Scan, ScanResult, ScanSeverity
from farwatch.http.access import requires
from farwatch.http.app import created
from farwatch.http.clock import now_ms
from farwatch.http.models import Answer, Body, Limit, Name, Page, Timestamp, moment
from farwatch.http.openapi import problems
from farwatch.http.principal import current_caller
from farwatch.ports.scans import FindingFilter, Placed

router = Router()
TAGS = ["scans"]
MAX_BODY = 3 * 1024 * 1024  # below what a function can be sent at once, 6 MB, escaped as an event
ScanId = Annotated[str, Path(pattern=r"^scan_[0-9a-f]{22}$", description="Id of the scan.")]
RuleName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}$")]
Count = Annotated[int, Field(ge=0, le=10_000_000)]
Sentence = Annotated[str, StringConstraints(max_length=1000)]


class FindingBody(Body):
    """One defect at one place. ``fingerprint`` stays the same when lines are added above; secrets are masked."""

    rule: RuleName
    kind: Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,40}$")]
    severity: ScanSeverity
    file: Annotated[str, StringConstraints(min_length=1, max_length=1000)]
    line: Annotated[int, Field(ge=1, le=10_000_000)]
    column: Annotated[int, Field(ge=1, le=10_000_000)]
    snippet: Annotated[str, StringConstraints(max_length=500)] = ""
    why: Sentence
    fix: Sentence
    cwe: Annotated[int, Field(ge=0, le=9999)]
    sources: Annotated[list[Annotated[str, StringConstraints(max_length=40)]], Field(max_length=10)]
    fingerprint: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16,64}$")]


class ScanIn(Body):
    """What a scan of ``target`` found, worst first. ``left_out`` counts findings beyond those listed."""

    target: Name
    files: Count
    seconds: Annotated[float, Field(ge=0, le=1_000_000)]
    suppressed: Count = 0
    skipped: Count = 0
    left_out: Count = 0
    findings: Annotated[list[FindingBody], Field(max_length=MOST_FINDINGS)]


class Publisher(Answer):
    """Who sent a scan: a person, an API token, or the machine the installation runs on (``system``)."""

    kind: str
    id: str


class TrendOut(Answer):
    """Findings since the scan before of the same target."""

    previous_id: str
    new: int
    fixed: int
    open: int


class ScanOut(Answer):
    """A scan without its findings; ``trend`` is null for a target's first."""

    id: str
    target: str
    received_at: Timestamp
    published_by: Publisher
    files: int
    seconds: float
    suppressed: int
    skipped: int
    left_out: int
    counts: dict[ScanSeverity, int]
    trend: TrendOut | None


class ScanDetail(ScanOut):
    """A scan, and how many findings each rule has."""

    rules: dict[str, int]


class FindingOut(Answer):
    """A finding, and how it stands to the scan before: new, open (it was there already) or fixed (it is there no longer)."""

    change: Change
    rule: str
    kind: str
    severity: ScanSeverity
    file: str
    line: int
    column: int
    snippet: str
    why: str
    fix: str
    cwe: int
    sources: list[str]
    fingerprint: str


def _fields(scan: Scan) -> dict[str, Any]:
    trend = scan.trend
    return {
        "id": scan.id,
        "target": scan.target,
        "received_at": moment(scan.received_at),
        "published_by": {"kind": scan.actor_kind, "id": scan.actor_id},
        "files": scan.files,
        "seconds": round(scan.seconds, 3),
        "suppressed": scan.suppressed,
        "skipped": scan.skipped,
        "left_out": scan.left_out,
        "counts": scan.counts,
        "trend": trend
        and {
            "previous_id": trend.previous_id,
            "new": trend.appeared,
            "fixed": trend.fixed,
            "open": trend.remained,
        },
    }


def _finding_fields(finding: Finding) -> dict[str, Any]:
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name in Finding.__slots__
        for value in [getattr(finding, name)]
    }


def _finding(placed: Placed) -> FindingOut:
    return FindingOut.model_validate({**_finding_fields(placed.finding), "change": placed.change})


@router.post("/api/v1/scans", summary="Publish a scan", tags=TAGS, status_code=201)
@requires(Permission.SCAN_PUBLISH, audit="scan.publish", limit="heavy", max_body=MAX_BODY)
def publish_scan(body: ScanIn) -> Response[ScanOut]:
    """Keep what a scan found, compared with the one before of the same target."""
    findings = tuple(
        Finding(**{**one.model_dump(), "severity": one.severity, "sources": tuple(one.sources)})
        for one in body.findings
    )
    result = ScanResult(**{**body.model_dump(exclude={"findings"}), "findings": findings})
    scan = container().scans.publish(current_caller(), result, now_ms())
    return created(f"/api/v1/scans/{scan.id}", ScanOut.model_validate(_fields(scan)))


@router.get("/api/v1/scans", summary="Scans", tags=TAGS)
@requires(Permission.SCAN_READ)
def list_scans(
    target: Annotated[str | None, Query(max_length=200)] = None,
    newest: Annotated[bool, Query()] = False,
    limit: Annotated[Limit, Query()] = 50,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> Page[ScanOut]:
    """Return scans, newest first, of one ``target`` or all; with ``newest`` only the newest of each target."""
    made = container()
    bound = {"list": "scans", "target": target, "newest": newest}
    before = str(made.adapters.cursors.decode(cursor, bound)[0]) if cursor else None
    found = made.scans.page(
        current_caller(), target=target, newest_only=newest, before_id=before, limit=limit + 1
    )
    return Page(
        items=[ScanOut.model_validate(_fields(scan)) for scan in found[:limit]],
        next_cursor=made.adapters.cursors.encode([found[limit - 1].id], bound)
        if len(found) > limit
        else None,
    )


@router.get("/api/v1/scans/<scan_id>", summary="A scan", tags=TAGS, responses=problems(404))
@requires(Permission.SCAN_READ)
def get_scan(scan_id: ScanId) -> ScanDetail:
    """Return a scan and which rules found how much."""
    scans, caller = container().scans, current_caller()
    fields = _fields(scans.scan(caller, scan_id))
    return ScanDetail.model_validate({**fields, "rules": scans.rules(caller, scan_id)})


@router.get(
    "/api/v1/scans/<scan_id>/findings", summary="Findings of a scan", tags=TAGS, responses=problems(404)
)
@requires(Permission.SCAN_READ, audit="scan.read")
def list_findings(
    scan_id: ScanId,
    severity: Annotated[list[ScanSeverity] | None, Query(max_length=5)] = None,
    rule: Annotated[str | None, Query(max_length=100)] = None,
    change: Annotated[Change | None, Query()] = None,
    limit: Annotated[Limit, Query()] = 50,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> Page[FindingOut]:
    """Return findings, worst first. With ``change=fixed`` these are findings of the scan before."""
    made = container()
    severities = tuple(sorted(set(severity or ())))
    bound = {"list": "findings", "scan": scan_id, "severity": severities, "rule": rule, "change": change}
    after = int(made.adapters.cursors.decode(cursor, bound)[0]) if cursor else -1
    wanted = FindingFilter(severities, rule, change)
    found = made.scans.findings(current_caller(), scan_id, wanted, after=after, limit=limit + 1)
    return Page(
        items=[_finding(placed) for placed in found[:limit]],
        next_cursor=made.adapters.cursors.encode([found[limit - 1].place], bound)
        if len(found) > limit
        else None,
    )


@router.get("/api/v1/scans/<scan_id>/report", summary="A scan as a file", tags=TAGS, responses=problems(404))
@requires(Permission.SCAN_READ, audit="scan.read")
def get_report(
    scan_id: ScanId,
    format: Annotated[Literal["json", "sarif"], Query()] = "json",  # noqa: A002 - its name in the address
) -> dict[str, Any]:
    """Return a scan with all its findings, in the form of ``./farwatch scan --format json`` or as SARIF 2.1.0."""
    scans, caller = container().scans, current_caller()
    if format == "sarif":
        return scans.sarif(caller, scan_id)
    scan, findings = scans.report(caller, scan_id)
    return {
        **ScanOut.model_validate(_fields(scan)).model_dump(mode="json"),
        "findings": [_finding_fields(finding) for finding in findings],
    }
