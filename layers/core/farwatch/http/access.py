"""How a route says who may call it: ``@requires(Permission.X)``, ``@signed_in`` or ``@public("why")``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from farwatch.domain.rbac import Permission, Principal

Handler = TypeVar("Handler", bound=Callable[..., Any])
_ATTRIBUTE = "__farwatch_access__"


@dataclass(frozen=True, slots=True)
class Access:
    """Who may call one route, and what the audit log calls it.

    ``permission`` None with ``public`` None means any signed-in person. ``public`` is the reason why the route needs no
    credential. ``audit`` names the action in the audit log; a reading route without it is not recorded, a
    changing route without it is recorded under its function's name. ``limit`` names the stricter rate limit it has,
    ``max_body`` the bytes its body may have where that is not what every route allows.
    """

    permission: Permission | None = None
    public: str | None = None
    audit: str | None = None
    limit: str | None = None
    max_body: int | None = None

    def check(self, principal: Principal) -> None:
        """Return when ``principal`` may call the route; raises Unauthenticated or Forbidden otherwise."""
        if self.public is not None:
            return
        if self.permission is not None:
            principal.require(self.permission)
        else:
            principal.require_user()

    def in_words(self) -> str:
        """Return the requirement as ``docs/permissions.md`` prints it."""
        if self.public is not None:
            return f"nobody is asked: {self.public}"
        return f"`{self.permission}`" if self.permission is not None else "any signed-in person"


def requires(
    permission: Permission, *, audit: str | None = None, limit: str | None = None, max_body: int | None = None
) -> Callable[[Handler], Handler]:
    """Let only principals with ``permission`` call the route."""
    return _mark(Access(permission=permission, audit=audit, limit=limit, max_body=max_body))


def signed_in(*, audit: str | None = None, limit: str | None = None) -> Callable[[Handler], Handler]:
    """Let any signed-in person call the route, for what concerns only themselves."""
    return _mark(Access(audit=audit, limit=limit))


def public(
    reason: str, *, audit: str | None = None, limit: str | None = None
) -> Callable[[Handler], Handler]:
    """Let anybody call the route; ``reason`` says why that is right."""
    return _mark(Access(public=reason, audit=audit, limit=limit))


def access_of(handler: Callable[..., Any]) -> Access | None:
    """Return what the route's function declared, or None."""
    found = getattr(handler, _ATTRIBUTE, None)
    return found if isinstance(found, Access) else None


def _mark(access: Access) -> Callable[[Handler], Handler]:
    def decorate(handler: Handler) -> Handler:
        setattr(handler, _ATTRIBUTE, access)
        return handler

    return decorate
