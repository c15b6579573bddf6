"""Who is calling: the authoriser's verdict in the event, turned into a ``Caller``.

The authoriser never lets the gateway answer for a bad credential, because the gateway's bodies are not ours: it passes
on with ``kind = "refused"`` and a reason, and the route that needs somebody answers with a problem body. A function
that finds no verdict at all takes the caller for nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from farwatch.domain.rbac import (
    ANONYMOUS,
    Caller,
    Permission,
    Principal,
    PrincipalKind,
    Role,
    agent_principal,
    token_principal,
    user_principal,
)
from farwatch.errors import FarwatchError, Unauthenticated, Unavailable

REFUSALS = {
    "malformed": "the credential is not one of ours",
    "invalid": "the credential is not valid",
    "expired": "the credential has expired: refresh it or sign in again",
    "revoked": "the credential has been revoked",
    "superseded": "the credential was renewed, and the new one is in use: enrol this machine again",
}


def caller_of(event: Mapping[str, Any]) -> Caller:
    """Return the caller of an API Gateway (payload 2.0) event; nobody when the authoriser found nobody."""
    context = event.get("requestContext") or {}
    http = context.get("http") or {}
    return Caller(
        principal=_principal(_verdict(context)),
        address=str(http.get("sourceIp") or ""),
        request_id=str(context.get("requestId") or ""),
        user_agent=str(http.get("userAgent") or "")[:200],
    )


def refusal_of(event: Mapping[str, Any]) -> FarwatchError | None:
    """Return why the authoriser refused the credential that was sent, or None when none was sent or it was good."""
    verdict = _verdict(event.get("requestContext") or {})
    if verdict.get("kind") != "refused":
        return None
    reason = str(verdict.get("reason") or "invalid")
    if reason == "unavailable":
        return Unavailable("credentials", "credentials cannot be checked at the moment", retry_after_s=5)
    return Unauthenticated(REFUSALS.get(reason, REFUSALS["invalid"]), code=f"credential_{reason}")


def renewal_due(event: Mapping[str, Any]) -> bool:
    """Return whether the authoriser found the agent's credential old enough to be renewed."""
    return _verdict(event.get("requestContext") or {}).get("renew") == "due"


def _verdict(request_context: Mapping[str, Any]) -> Mapping[str, Any]:
    authorizer = request_context.get("authorizer") or {}
    return authorizer.get("lambda") or {}


def _principal(verdict: Mapping[str, Any]) -> Principal:
    try:
        kind = PrincipalKind(verdict.get("kind", "anonymous"))
        if kind is PrincipalKind.USER:
            return user_principal(verdict["id"], Role(verdict["role"]), verdict["session_id"])
        if kind is PrincipalKind.AGENT:
            return agent_principal(verdict["id"], verdict["host_id"])
        if kind is PrincipalKind.TOKEN:
            scopes = [Permission(scope) for scope in verdict["scopes"].split(",") if scope]
            return token_principal(verdict["id"], scopes, verdict["owner_id"], Role(verdict["role"]))
    except (KeyError, ValueError, AttributeError):
        # A verdict we cannot read (an older authoriser during a deployment) proves nothing.
        return ANONYMOUS
    return ANONYMOUS


_NOBODY = Caller()
_current: ContextVar[Caller] = ContextVar("farwatch_caller", default=_NOBODY)


def current_caller() -> Caller:
    """Return the caller of the request being served; nobody outside a request."""
    return _current.get()


def set_current_caller(caller: Caller) -> None:
    """Remember the caller for the rest of this request; the house calls it once per event."""
    _current.set(caller)
