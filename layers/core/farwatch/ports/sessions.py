"""Sign-in sessions, and how guessing is slowed down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from farwatch.domain.rbac import Role


@dataclass(frozen=True, slots=True)
class Session:
    """One sign-in of one person; times are epoch ms. The access token names it, the refresh token renews it."""

    id: str
    user_id: str
    role: Role
    created_at: int
    expires_at: int
    address: str = ""
    user_agent: str = ""
    refreshed_at: int = 0


class Sessions(Protocol):
    """Live sessions. Every method raises Unavailable when they cannot be reached."""

    def start(self, session: Session, refresh_hash: bytes) -> None:
        """Store a new session."""
        ...

    def get(self, session_id: str) -> Session | None:
        """Return the session, or None when it was ended or has expired."""
        ...

    def rotate(self, session_id: str, presented: bytes, replacement: bytes, now: int) -> Session | None:
        """Exchange the refresh token in one step and return the session.

        Returns None when there is no such session. Raises ReusedToken, after ending the session, when ``presented`` was
        exchanged before: two parties hold it, and nobody can tell which one is the thief.
        """
        ...

    def end(self, session_id: str) -> None:
        """End one session."""
        ...

    def end_all(self, user_id: str, *, but: str | None = None) -> int:
        """End every session of a person except ``but``; return how many."""
        ...

    def of_user(self, user_id: str) -> Sequence[Session]:
        """Return a person's live sessions, newest first."""
        ...


class ReusedToken(Exception):
    """A refresh token was presented a second time; the session has been ended. ``user_id`` is whose it was."""

    def __init__(self, user_id: str) -> None:
        super().__init__("refresh token reused")
        self.user_id = user_id


class LoginGuard(Protocol):
    """Counts failed sign-ins and says how long to wait."""

    def wait_s(self, email: str, address: str, now: int) -> int:
        """Return for how many seconds no attempt on the account from the address is taken; 0: go ahead."""
        ...

    def failed(self, email: str, address: str, now: int) -> None:
        """Count a failed attempt."""
        ...

    def succeeded(self, email: str, address: str) -> None:
        """Forget the failures of this account from this address."""
        ...


class SpentIdentities(Protocol):
    """Remembers which identity tokens have signed somebody in; they do so once."""

    def spend(self, token_id: str, until: int) -> bool:
        """Return whether the token was not spent yet, and remember it until ``until`` (epoch ms), in one step.

        Raises Unavailable when that cannot be known.
        """
        ...


class Tickets(Protocol):
    """One-time WebSocket tickets."""

    def issue(self, user_id: str, role: Role, session_id: str, now: int) -> tuple[str, int]:
        """Return a new ticket and for how many seconds it is good."""
        ...

    def redeem(self, ticket: str) -> dict[str, str] | None:
        """Return who the ticket was issued to (``user_id``, ``role``, ``session_id``), once; None ever after."""
        ...
