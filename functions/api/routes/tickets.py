"""``/api/v1/ws-tickets``: one-time tickets for the WebSocket API, so that no token ever stands in a URL."""

from __future__ import annotations

from aws_lambda_powertools.event_handler.api_gateway import Response, Router

from farwatch.bootstrap import container
from farwatch.domain.rbac import Role
from farwatch.http.access import signed_in
from farwatch.http.clock import now_ms
from farwatch.http.models import Answer
from farwatch.http.principal import current_caller

router = Router()


class TicketOut(Answer):
    """A ticket good for one connection within ``expires_in`` seconds; connect to ``url`` with ``?ticket=``."""

    ticket: str
    expires_in: int
    url: str


@router.post("/api/v1/ws-tickets", summary="A ticket for the WebSocket", tags=["live"], status_code=201)
@signed_in(audit="live.ticket")
def create_ticket() -> Response[TicketOut]:
    """Return a one-time ticket that carries who you are to the WebSocket."""
    made = container()
    principal = current_caller().principal
    ticket, expires_in = made.adapters.tickets.issue(
        principal.require_user(), principal.role or Role.GUEST, principal.session_id or "", now_ms()
    )
    answer = TicketOut(ticket=ticket, expires_in=expires_in, url=made.settings.websocket_url)
    return Response(201, content_type="application/json", body=answer)
