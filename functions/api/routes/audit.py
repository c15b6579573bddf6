"""``/api/v1/audit``: who did what, when and from where."""

from __future__ import annotations

from typing import Annotated, Any

from aws_lambda_powertools.event_handler.api_gateway import Router
from aws_lambda_powertools.event_handler.openapi.params import Query

from farwatch.bootstrap import container
from farwatch.domain.rbac import Permission
from farwatch.http.access import requires
from farwatch.http.models import Answer, Limit, Page, Timestamp, moment
from farwatch.ports.audit import AuditFilter

router = Router()
TAGS = ["audit"]
Filter = Annotated[str | None, Query(max_length=200)]
Moment = Annotated[int | None, Query(ge=0, le=4_102_444_800_000)]


class AuditRow(Answer):
    """One entry; ``hash`` covers it and, through the entry before it, everything older."""

    seq: int
    at: Timestamp
    actor_kind: str
    actor_id: str
    action: str
    target: str
    outcome: str
    address: str
    user_agent: str
    request_id: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    detail: dict[str, Any] | None
    hash: str


@router.get("/api/v1/audit", summary="The audit log", tags=TAGS)
@requires(Permission.AUDIT_READ, audit="audit.read")
def list_audit(
    limit: Annotated[Limit, Query()] = 50,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
    actor_id: Filter = None,
    action: Filter = None,
    target: Filter = None,
    outcome: Filter = None,
    address: Filter = None,
    since: Moment = None,
    until: Moment = None,
) -> Page[AuditRow]:
    """Return entries, newest first. ``since`` and ``until`` are epoch milliseconds, ``until`` exclusive."""
    made = container()
    wanted = AuditFilter(actor_id, action, target, outcome, since, until, address)
    bound = {
        "list": "audit",
        "actor_id": actor_id,
        "action": action,
        "target": target,
        "outcome": outcome,
        "address": address,
        "since": since,
        "until": until,
    }
    before_seq = int(made.adapters.cursors.decode(cursor, bound)[0]) if cursor else None
    found = made.adapters.audit.rows(wanted, before_seq=before_seq, limit=limit + 1)
    return Page(
        items=[AuditRow.model_validate({**row, "at": moment(row["at"])}) for row in found[:limit]],
        next_cursor=made.adapters.cursors.encode([found[limit - 1]["seq"]], bound)
        if len(found) > limit
        else None,
    )
