"""How somebody proves who they are: passwords, access tokens, another party's word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Passwords(Protocol):
    """Slow password hashes."""

    def hash(self, password: str) -> str:
        """Return the hash to store."""
        ...

    def fits(self, password: str, stored: str | None) -> bool:
        """Return whether the password fits; takes as long when there is nothing stored to compare with."""
        ...

    def outdated(self, stored: str) -> bool:
        """Return whether the hash was made with weaker parameters than today's."""
        ...


@dataclass(frozen=True, slots=True)
class AccessClaims:
    """What a valid access token says: whose it is and which session it belongs to."""

    user_id: str
    session_id: str


class CredentialRefused(Exception):
    """A credential proves nothing; ``reason`` is ``malformed``, ``invalid``, ``expired`` or ``revoked``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class AccessTokens(Protocol):
    """Short-lived signed tokens."""

    lifetime_s: int

    def issue(self, user_id: str, session_id: str, now: int) -> str:
        """Return a token good from ``now`` (epoch ms) for ``lifetime_s``."""
        ...

    def read(self, token: str, now: int) -> AccessClaims:
        """Return what the token says; raises CredentialRefused when it proves nothing at ``now``."""
        ...


@dataclass(frozen=True, slots=True)
class Identity:
    """A person as an identity provider vouches for them. ``groups`` are what roles are mapped from.

    ``token_id`` tells the token from every other, however its text is written, and ``expires_at`` (epoch ms) is when it is
    accepted no more.
    """

    issuer: str
    subject: str
    email: str
    name: str
    groups: tuple[str, ...]
    token_id: str
    expires_at: int


class IdentityProvider(Protocol):
    """Verifies identity tokens (OpenID Connect)."""

    def verify(self, id_token: str, now: int) -> Identity:
        """Return whom the token vouches for.

        Raises Unauthenticated (``sso_refused``) when it does not hold, Conflict (``sso_not_configured``) when no provider
        is configured, Unavailable when the provider's keys cannot be had.
        """
        ...
