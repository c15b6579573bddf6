"""People, as administrators see them: inviting, changing roles, disabling, helping with a lost password."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from farwatch.domain.credentials import hash_token, new_one_time_token
from farwatch.domain.people import User, normal_email
from farwatch.domain.rbac import Caller, Permission, Role
from farwatch.errors import Conflict, NotFound, PreconditionFailed, Unavailable
from farwatch.ids import new_id
from farwatch.observability import logger
from farwatch.ports.audit import AuditLog
from farwatch.ports.credentials import CredentialLookup, Credentials
from farwatch.ports.mail import Mail
from farwatch.ports.people import Invitation, People
from farwatch.ports.sessions import Sessions
from farwatch.ports.transactions import Transactions
from farwatch.services.auth import Auth

INVITATION_MS = 7 * 86_400_000


@dataclass(frozen=True, slots=True)
class Invited:
    """A new invitation and its link, which is shown once; ``mailed`` says whether it was sent to the person."""

    invitation: Invitation
    link: str
    mailed: bool


class ManagePeople:
    """The use cases behind ``/api/v1/users`` and ``/api/v1/invitations``; all need ``users:manage``."""

    def __init__(
        self,
        transactions: Transactions,
        people: People,
        sessions: Sessions,
        credentials: Credentials,
        lookup: CredentialLookup,
        audit: AuditLog,
        mail: Mail,
        auth: Auth,
        *,
        hash_key: bytes,
        dashboard_url: str,
    ) -> None:
        self._transactions = transactions
        self._people = people
        self._sessions = sessions
        self._credentials = credentials
        self._lookup = lookup
        self._audit = audit
        self._mail = mail
        self._auth = auth
        self._hash_key = hash_key
        self._dashboard_url = dashboard_url.rstrip("/")

    def page(self, caller: Caller, *, after_id: str | None, limit: int) -> Sequence[User]:
        """Return users by id."""
        caller.principal.require(Permission.USERS_MANAGE)
        return self._people.page(after_id=after_id, limit=limit)

    def get(self, caller: Caller, user_id: str) -> User:
        """Return one user; raises NotFound."""
        caller.principal.require(Permission.USERS_MANAGE)
        user = self._people.get(user_id)
        if user is None:
            raise NotFound("there is no such user")
        return user

    def change(
        self,
        caller: Caller,
        user_id: str,
        now: int,
        *,
        expected_version: int | None = None,
        name: str | None = None,
        role: Role | None = None,
        disabled: bool | None = None,
    ) -> User:
        """Change what is given and return the user as it is now.

        A changed role or a disabled account ends the person's sessions and drops their API tokens from the caches at once.
        Raises NotFound, PreconditionFailed, and Conflict (``last_admin``) when nobody could administer any more.
        """
        with self._transactions.transaction():
            user = self.get(caller, user_id)
            if expected_version is not None and expected_version != user.version:
                raise PreconditionFailed("somebody changed this user first: read it again")
            disabled_at = user.disabled_at
            if disabled is not None and disabled != (user.disabled_at is not None):
                disabled_at = now if disabled else None
            wanted = replace(user, name=name or user.name, role=role or user.role, disabled_at=disabled_at)
            if wanted == user:
                return user
            was_admin = user.role is Role.ADMIN and user.disabled_at is None
            stays_admin = wanted.role is Role.ADMIN and wanted.disabled_at is None
            if was_admin and not stays_admin and self._people.lock_admins() <= 1:
                raise Conflict("somebody has to stay administrator", code="last_admin")
            self._people.save(wanted, user.version)
            loses = wanted.role is not user.role or wanted.disabled_at is not None
            if loses:  # before the commit: what cannot be enforced at once is not changed
                self._sessions.end_all(user_id)
            self._audit.record(
                caller, action="user.change", target=user_id, before=_facts(user), after=_facts(wanted)
            )
        if loses:
            self._forget_tokens(user_id)
        return replace(wanted, version=user.version + 1)

    def sign_out(self, caller: Caller, user_id: str) -> int:
        """End every session of a person; return how many there were."""
        user = self.get(caller, user_id)
        ended = self._sessions.end_all(user.id)
        self._audit.record(caller, action="user.sign_out", target=user.id, detail={"sessions": ended})
        return ended

    def reset_link(self, caller: Caller, user_id: str, now: int) -> str:
        """Return a one-time link with which the person can choose a new password."""
        return self._auth.reset_link(caller, self.get(caller, user_id), now)

    def invite(self, caller: Caller, email: str, name: str, role: Role, now: int) -> Invited:
        """Invite somebody; an earlier invitation of the same address stops working.

        Raises Conflict (``already_exists``) when the address belongs to a user.
        """
        caller.principal.require(Permission.USERS_MANAGE)
        email = normal_email(email)
        token = new_one_time_token()
        invitation = Invitation(
            new_id("inv"), email, name, role, caller.principal.id, now, now + INVITATION_MS
        )
        with self._transactions.transaction():
            if self._people.by_email(email) is not None:
                raise Conflict("somebody has this e-mail address already", code="already_exists")
            self._people.add_invitation(invitation, hash_token(token, self._hash_key))
            self._audit.record(
                caller,
                action="user.invite",
                target=invitation.id,
                after={"email": email, "name": name, "role": str(role)},
            )
        link = f"{self._dashboard_url}/?invitation={token}"
        return Invited(invitation, link, self._mailed(email, name, link))

    def _mailed(self, email: str, name: str, link: str) -> bool:
        if not self._mail.configured:
            return False
        try:
            self._mail.send(
                email,
                "You are invited to Farwatch",
                f"Hello {name},\n\nopen this link within a week to choose a password and sign in:\n\n{link}\n",
            )
        except Unavailable as error:
            # The invitation stands; its link is shown this once, and can be handed over by other means.
            logger.warning("an invitation was not mailed", extra={"reason": error.message})
            return False
        return True

    def invitations(self, caller: Caller, now: int) -> Sequence[Invitation]:
        """Return the open invitations, newest first."""
        caller.principal.require(Permission.USERS_MANAGE)
        return self._people.open_invitations(now)

    def revoke_invitation(self, caller: Caller, invitation_id: str, now: int) -> None:
        """Make an open invitation worthless; raises NotFound when there is none."""
        caller.principal.require(Permission.USERS_MANAGE)
        with self._transactions.transaction():
            if not self._people.revoke_invitation(invitation_id, now):
                raise NotFound("there is no such open invitation")
            self._audit.record(caller, action="user.invitation_revoke", target=invitation_id)

    def _forget_tokens(self, user_id: str) -> None:
        tokens = self._credentials.api_tokens(owner_id=user_id, after_id=None, limit=1000)
        self._lookup.forget("token", [token.id for token in tokens])


def _facts(user: User) -> dict[str, object]:
    return {"name": user.name, "role": str(user.role), "disabled": user.disabled_at is not None}
