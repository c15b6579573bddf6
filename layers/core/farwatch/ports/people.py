"""Where people are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from farwatch.domain.people import User
from farwatch.domain.rbac import Role


@dataclass(frozen=True, slots=True)
class Invitation:
    """An invitation that has not been accepted; times are epoch ms."""

    id: str
    email: str
    name: str
    role: Role
    invited_by: str
    created_at: int
    expires_at: int


class People(Protocol):
    """Users, invitations and password resets. Times are epoch milliseconds; e-mail addresses are normal ones."""

    def get(self, user_id: str) -> User | None:
        """Return the user, disabled ones included."""
        ...

    def lock(self, user_id: str) -> tuple[User, str | None] | None:
        """Return the user and the password hash, and keep others from changing them until the transaction ends."""
        ...

    def by_email(self, email: str) -> tuple[User, str | None] | None:
        """Return the user with the address, and the password hash when there is one."""
        ...

    def by_identity(self, identity: str) -> User | None:
        """Return the user linked to an identity at the identity provider."""
        ...

    def page(self, *, after_id: str | None, limit: int) -> Sequence[User]:
        """Return up to ``limit`` users by id, after ``after_id``."""
        ...

    def add(self, user: User, password_hash: str | None) -> None:
        """Insert the user; raises Conflict (``already_exists``) when the address is taken."""
        ...

    def save(self, user: User, expected_version: int) -> None:
        """Store name, role, identity and disabled_at; raises PreconditionFailed when the version has moved on."""
        ...

    def set_password(self, user_id: str, password_hash: str, now: int) -> None:
        """Replace the password hash."""
        ...

    def note_login(self, user_id: str, now: int) -> None:
        """Remember when the user last signed in."""
        ...

    def lock_admins(self) -> int:
        """Lock every active administrator's row until the transaction ends; return how many there are."""
        ...

    def count(self) -> int:
        """Return how many users there are, disabled ones included."""
        ...

    def add_invitation(self, invitation: Invitation, token_hash: bytes) -> None:
        """Insert an invitation; an open one for the same address is revoked."""
        ...

    def open_invitations(self, now: int) -> Sequence[Invitation]:
        """Return the invitations that can still be accepted, newest first."""
        ...

    def take_invitation(self, token_hash: bytes, now: int) -> Invitation | None:
        """Mark the invitation accepted and return it, or None when it was used, revoked, has expired or never was."""
        ...

    def revoke_invitation(self, invitation_id: str, now: int) -> bool:
        """Revoke an open invitation; False when there is none."""
        ...

    def add_reset(self, user_id: str, token_hash: bytes, expires_at: int) -> None:
        """Insert a password reset; earlier ones of the same user stop working."""
        ...

    def take_reset(self, token_hash: bytes, now: int) -> str | None:
        """Mark the reset used and return the user's id, or None when it cannot be used."""
        ...
