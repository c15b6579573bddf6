"""Who may do what: the one table of permissions, for HTTP and WebSocket alike.

``MATRIX`` is the whole truth about people. An agent may only bring samples of its own host; an API token may do what
its scopes say *and* its owner may still do. ``docs/permissions.md`` is printed from this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from farwatch.errors import Forbidden, Unauthenticated


class Role(StrEnum):
    """What a person is here. Each role may do all that the next one may, and more."""

    ADMIN = "admin"
    OPERATOR = "operator"
    VIEWER = "viewer"
    GUEST = "guest"


class Permission(StrEnum):
    """One thing that can be allowed. The value is also the name of an API token's scope."""

    METRICS_READ = "metrics:read"
    METRICS_INGEST = "metrics:ingest"
    HOSTS_READ = "hosts:read"
    HOSTS_WRITE = "hosts:write"
    RULES_READ = "rules:read"
    RULES_WRITE = "rules:write"
    INCIDENTS_READ = "incidents:read"
    INCIDENTS_WRITE = "incidents:write"
    SILENCES_WRITE = "silences:write"
    ANOMALIES_READ = "anomalies:read"
    ANOMALIES_FEEDBACK = "anomalies:feedback"
    FORECASTS_READ = "forecasts:read"
    FORECASTS_RUN = "forecasts:run"
    ANALYSIS_RUN = "analysis:run"
    NOTIFICATIONS_OWN = "notifications:own"
    PREFERENCES_OWN = "preferences:own"
    CHANNELS_READ = "channels:read"
    CHANNELS_WRITE = "channels:write"
    DELIVERIES_READ = "deliveries:read"
    DELIVERIES_REDRIVE = "deliveries:redrive"
    CONFIG_WRITE = "config:write"
    HEALTH_READ = "health:read"
    SCAN_READ = "scan:read"
    SCAN_PUBLISH = "scan:publish"
    AUDIT_READ = "audit:read"
    USERS_MANAGE = "users:manage"
    AGENTS_MANAGE = "agents:manage"
    TOKENS_OWN = "tokens:own"
    TOKENS_MANAGE = "tokens:manage"


_A = frozenset({Role.ADMIN})
_AO = _A | {Role.OPERATOR}
_AOV = _AO | {Role.VIEWER}
_ALL = _AOV | {Role.GUEST}
_NOBODY: frozenset[Role] = frozenset()

MATRIX: Mapping[Permission, frozenset[Role]] = MappingProxyType(
    {
        Permission.METRICS_READ: _AOV,
        Permission.METRICS_INGEST: _NOBODY,  # agents only, and each for its own host
        Permission.HOSTS_READ: _ALL,
        Permission.HOSTS_WRITE: _AO,
        Permission.RULES_READ: _AOV,
        Permission.RULES_WRITE: _AO,
        Permission.INCIDENTS_READ: _AOV,
        Permission.INCIDENTS_WRITE: _AO,
        Permission.SILENCES_WRITE: _AO,
        Permission.ANOMALIES_READ: _AOV,
        Permission.ANOMALIES_FEEDBACK: _AO,
        Permission.FORECASTS_READ: _AOV,
        Permission.FORECASTS_RUN: _AOV,
        Permission.ANALYSIS_RUN: _AO,
        Permission.NOTIFICATIONS_OWN: _AOV,
        Permission.PREFERENCES_OWN: _ALL,
        Permission.CHANNELS_READ: _AO,
        Permission.CHANNELS_WRITE: _A,
        Permission.DELIVERIES_READ: _AO,
        Permission.DELIVERIES_REDRIVE: _AO,
        Permission.CONFIG_WRITE: _AO,
        Permission.HEALTH_READ: _AO,
        Permission.SCAN_READ: _A,
        Permission.SCAN_PUBLISH: _A,
        Permission.AUDIT_READ: _A,
        Permission.USERS_MANAGE: _A,
        Permission.AGENTS_MANAGE: _A,
        Permission.TOKENS_OWN: _AOV,
        Permission.TOKENS_MANAGE: _A,
    }
)

AGENT_PERMISSIONS = frozenset({Permission.METRICS_INGEST})

# What no machine may be given: a token that makes tokens or people outlives every attempt to take it away, and
# "own" things belong to a person.
NEVER_A_SCOPE = frozenset(
    {
        Permission.METRICS_INGEST,
        Permission.USERS_MANAGE,
        Permission.TOKENS_OWN,
        Permission.TOKENS_MANAGE,
        Permission.NOTIFICATIONS_OWN,
        Permission.PREFERENCES_OWN,
    }
)
SCOPES = tuple(permission for permission in Permission if permission not in NEVER_A_SCOPE)


def permissions_of(role: Role) -> frozenset[Permission]:
    """Return everything a person with ``role`` may do."""
    return _BY_ROLE[role]


_BY_ROLE = {role: frozenset(p for p, roles in MATRIX.items() if role in roles) for role in Role}


def scopes_of(role: Role) -> tuple[Permission, ...]:
    """Return what a person with ``role`` may give to an API token."""
    return tuple(scope for scope in SCOPES if scope in _BY_ROLE[role])


def token_permissions(scopes: Iterable[Permission], owner: Role) -> frozenset[Permission]:
    """Return what an API token may do: its scopes, cut down to what its owner may do today."""
    return (frozenset(scopes) - NEVER_A_SCOPE) & permissions_of(owner)


def topic_permission(topic: str) -> Permission | None:
    """Return what subscribing to a WebSocket topic needs, or None when there is no such topic.

    ``user:<id>`` and ``notifications`` need NOTIFICATIONS_OWN, and the caller must be that user.
    """
    if topic in _TOPICS:
        return _TOPICS[topic]
    kind, _, name = topic.partition(":")
    return _TOPIC_KINDS.get(kind) if name else None


_TOPICS = {
    "fleet": Permission.HOSTS_READ,
    "incidents": Permission.INCIDENTS_READ,
    "notifications": Permission.NOTIFICATIONS_OWN,
}
_TOPIC_KINDS = {"host": Permission.METRICS_READ, "user": Permission.NOTIFICATIONS_OWN}


class PrincipalKind(StrEnum):
    """What stands behind a request."""

    ANONYMOUS = "anonymous"
    USER = "user"
    AGENT = "agent"
    TOKEN = "token"  # noqa: S105 - a kind of principal, not a secret
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking. ``host_id`` is set for agents, ``session_id`` for people, ``owner_id`` for API tokens."""

    kind: PrincipalKind
    id: str = ""
    role: Role | None = None
    permissions: frozenset[Permission] = frozenset()
    host_id: str | None = None
    session_id: str | None = None
    owner_id: str | None = None

    def may(self, permission: Permission) -> bool:
        """Return whether ``permission`` is allowed to this principal."""
        return permission in self.permissions

    def require(self, permission: Permission) -> None:
        """Return when ``permission`` is allowed; raises Unauthenticated for nobody and Forbidden for anybody else."""
        if permission in self.permissions:
            return
        if self.kind is PrincipalKind.ANONYMOUS:
            raise Unauthenticated("this needs a credential: send it as 'Authorization: Bearer …'")
        raise Forbidden(f"this needs the permission {permission}", code="permission_missing")

    def require_user(self) -> str:
        """Return the id of the person asking; raises Forbidden when a machine asks, Unauthenticated for nobody."""
        if self.kind is PrincipalKind.USER:
            return self.id
        if self.kind is PrincipalKind.ANONYMOUS:
            raise Unauthenticated("sign in first")
        raise Forbidden("only a signed-in person can do this", code="people_only")


ANONYMOUS = Principal(PrincipalKind.ANONYMOUS)
SYSTEM = Principal(PrincipalKind.SYSTEM, id="system", permissions=frozenset(Permission))


def user_principal(user_id: str, role: Role, session_id: str) -> Principal:
    """Return the principal of a signed-in person."""
    return Principal(
        PrincipalKind.USER, user_id, role=role, permissions=permissions_of(role), session_id=session_id
    )


def agent_principal(credential_id: str, host_id: str) -> Principal:
    """Return the principal of an agent: it speaks for one host."""
    return Principal(PrincipalKind.AGENT, credential_id, permissions=AGENT_PERMISSIONS, host_id=host_id)


def token_principal(
    token_id: str, scopes: Iterable[Permission], owner_id: str, owner_role: Role
) -> Principal:
    """Return the principal of an API token."""
    return Principal(
        PrincipalKind.TOKEN,
        token_id,
        role=owner_role,
        permissions=token_permissions(scopes, owner_role),
        owner_id=owner_id,
    )


@dataclass(frozen=True, slots=True)
class Caller:
    """A principal and where it calls from: what the audit log says about who did something."""

    principal: Principal = ANONYMOUS
    address: str = ""
    request_id: str = ""
    user_agent: str = ""


COMMAND_LINE = Caller(SYSTEM, address="local", request_id="command-line")
