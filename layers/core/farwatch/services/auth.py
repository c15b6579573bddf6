"""Auth: signing in, staying signed in, signing out, and passwords.

Times are epoch milliseconds and always an argument. Every outcome that matters, good or bad, is in the audit log.

Sessions are in Redis and the log in PostgreSQL, so no transaction holds both; the order is what fails safe. *What gives
access* happens inside a transaction that locks the person first and writes the row last: tokens leave only after the
commit, so nobody acts with a session that the log does not know. *What takes access away from a changed person* happens
there too, before the commit: a change whose sessions cannot be ended is not made. *Signing out* ends the session first and
is not undone when its row cannot be written; the caller is told (503), and the function's log has it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from farwatch.domain.credentials import hash_token, new_one_time_token
from farwatch.domain.people import User, check_password, normal_email
from farwatch.domain.rbac import SYSTEM, Caller, PrincipalKind, Role, user_principal
from farwatch.errors import Conflict, Misconfigured, NotFound, RateLimited, Unauthenticated, Unavailable
from farwatch.ids import new_id
from farwatch.observability import logger
from farwatch.ports.audit import AuditLog
from farwatch.ports.mail import Mail
from farwatch.ports.people import People
from farwatch.ports.proofs import AccessTokens, Identity, IdentityProvider, Passwords
from farwatch.ports.sessions import LoginGuard, ReusedToken, Session, Sessions, SpentIdentities
from farwatch.ports.transactions import Transactions

SESSION_MS = 14 * 86_400_000
RESET_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class SsoRoles:
    """Which groups of the identity provider mean which role; the mightiest match counts, else ``default``."""

    by_group: tuple[tuple[str, Role], ...] = ()
    default: Role | None = None

    def role_for(self, groups: tuple[str, ...]) -> Role | None:
        """Return the role for somebody in ``groups``, or None when nothing is mapped for them."""
        held = {role for group, role in self.by_group if group in groups}
        return next((role for role in Role if role in held), self.default)

    @classmethod
    def parse(cls, by_group: str, default: str) -> SsoRoles:
        """Return the mapping written as ``sre=operator,it-admins=admin``; raises Misconfigured when it is not one."""
        try:
            pairs = [pair.rsplit("=", 1) for pair in by_group.split(",") if pair.strip()]
            return cls(
                tuple((group.strip(), Role(role.strip())) for group, role in pairs),
                Role(default) if default else None,
            )
        except ValueError as error:
            raise Misconfigured(
                "OIDC_ROLES or OIDC_DEFAULT_ROLE does not fit, for example OIDC_ROLES=sre=operator,it-admins=admin"
            ) from error


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A new pair of tokens and whose they are."""

    access_token: str
    expires_in: int
    refresh_token: str
    user: User


class Auth:
    """The use cases behind ``/api/v1/auth``."""

    def __init__(
        self,
        transactions: Transactions,
        people: People,
        sessions: Sessions,
        guard: LoginGuard,
        passwords: Passwords,
        tokens: AccessTokens,
        provider: IdentityProvider,
        spent: SpentIdentities,
        audit: AuditLog,
        mail: Mail,
        *,
        hash_key: bytes,
        dashboard_url: str,
        sso_roles: SsoRoles,
    ) -> None:
        self._transactions = transactions
        self._people = people
        self._sessions = sessions
        self._guard = guard
        self._passwords = passwords
        self._tokens = tokens
        self._provider = provider
        self._spent = spent
        self._audit = audit
        self._mail = mail
        self._hash_key = hash_key
        self._dashboard_url = dashboard_url.rstrip("/")
        self._sso_roles = sso_roles

    # Signing in

    def login(self, caller: Caller, email: str, password: str, now: int) -> SignedIn:
        """Return tokens for the right password.

        Raises Unauthenticated (``login_failed``, the same for every reason) and RateLimited while the account or the
        address has to wait; a refused attempt costs no password hash.
        """
        email = normal_email(email)
        wait = self._guard.wait_s(email, caller.address, now)
        if wait > 0:
            raise RateLimited("too many failed sign-ins: wait before the next try", retry_after_s=wait)
        # Counted before it is checked, so that many attempts at once do not all slip through.
        self._guard.failed(email, caller.address, now)
        found = self._people.by_email(email)
        user, stored = found if found is not None else (None, None)
        fits = self._passwords.fits(password, stored)
        if user is None or not fits or user.disabled_at is not None:
            self._audit.record(
                caller, action="auth.login", target=user.id if user else "unknown", outcome="denied"
            )
            raise Unauthenticated("e-mail address or password are wrong", code="login_failed")
        self._guard.succeeded(email, caller.address)
        stronger = None
        if stored is not None and self._passwords.outdated(stored):
            stronger = self._passwords.hash(password)
        return self._sign_in(caller, user, now, action="auth.login", proof=stored, stronger=stronger)

    def login_with_identity(self, caller: Caller, id_token: str, now: int) -> SignedIn:
        """Return tokens for a person whom the identity provider vouches for.

        A person is found by the provider's subject, else by verified e-mail address (and linked); somebody new is
        admitted when a role is mapped for them. A mapped role replaces the stored one at every sign-in.

        A token is good once, whatever comes of it: raises Unauthenticated (``sso_spent``) after that, Unavailable while
        nobody can tell whether it was spent.
        """
        identity = self._provider.verify(id_token, now)
        if not self._spent.spend(identity.token_id, identity.expires_at):
            self._audit.record(
                caller, action="auth.sso", target="unknown", outcome="denied", detail={"reason": "spent"}
            )
            raise Unauthenticated("this identity token was used before", code="sso_spent")
        key = f"{identity.issuer}#{identity.subject}"
        role = self._sso_roles.role_for(identity.groups)
        with self._transactions.transaction():
            user = self._admit(caller, identity, key, role, now)
        if user is None or user.disabled_at is not None:
            self._audit.record(
                caller, action="auth.sso", target=user.id if user else "unknown", outcome="denied"
            )
            raise Unauthenticated("this person has no role here", code="sso_refused")
        return self._sign_in(caller, user, now, action="auth.sso")

    def _admit(
        self, caller: Caller, identity: Identity, key: str, role: Role | None, now: int
    ) -> User | None:
        by_provider = replace(caller, principal=SYSTEM)
        user = self._people.by_identity(key)
        if user is None:
            found = self._people.by_email(identity.email)
            user = found[0] if found is not None and found[0].identity is None else None
            if found is not None and user is None:
                return None  # the address belongs to another identity
        if user is None:
            if role is None:
                return None
            user = User(
                new_id("user"), identity.email, identity.name, role, now, has_password=False, identity=key
            )
            self._people.add(user, None)
            self._audit.record(by_provider, action="user.create", target=user.id, after=_facts(user))
            return user
        wanted = replace(user, identity=key, role=role or user.role)
        if wanted != user:
            if user.role is Role.ADMIN and wanted.role is not Role.ADMIN and self._people.lock_admins() <= 1:
                wanted = replace(wanted, role=Role.ADMIN)  # the last administrator stays one
            self._people.save(wanted, user.version)
            if wanted.role is not user.role:
                self._sessions.end_all(user.id)
            self._audit.record(
                by_provider, action="user.change", target=user.id, before=_facts(user), after=_facts(wanted)
            )
        return wanted

    def _sign_in(
        self,
        caller: Caller,
        user: User,
        now: int,
        *,
        action: str,
        proof: str | None = None,
        stronger: str | None = None,
    ) -> SignedIn:
        """Return tokens of a new session. ``proof`` is the password hash that was met, replaced by ``stronger``."""
        # A session is never taken over from the caller: it begins with the proof, so there is nothing to fixate.
        session = Session(
            id=new_one_time_token(),
            user_id=user.id,
            role=user.role,
            created_at=now,
            expires_at=now + SESSION_MS,
            address=caller.address,
            user_agent=caller.user_agent,
        )
        refresh = f"{session.id}.{new_one_time_token()}"
        try:
            with self._transactions.transaction():
                # Whoever disables the person, or changes the role or password, holds this row until their change is
                # committed, and ends the sessions before that: either we see it here, or it sees our session.
                found = self._people.lock(user.id)
                if found is None or _differs(found, user, proof):
                    raise Unauthenticated("sign in again", code="login_failed")
                if stronger is not None:
                    self._people.set_password(user.id, stronger, now)
                self._people.note_login(user.id, now)
                self._sessions.start(session, hash_token(refresh, self._hash_key))
                acting = replace(caller, principal=user_principal(user.id, user.role, session.id))
                self._audit.record(acting, action=action, target=user.id)
        except Unavailable:
            self._discard(session.id)
            raise
        return self._pair(session, refresh, user, now)

    def _discard(self, session_id: str) -> None:
        try:
            self._sessions.end(session_id)
        except Unavailable as error:
            # Nobody was given its tokens, so it is only litter until it expires.
            logger.warning("a session nobody can use was left", extra={"reason": error.message})

    def _pair(self, session: Session, refresh: str, user: User, now: int) -> SignedIn:
        access = self._tokens.issue(user.id, session.id, now)
        return SignedIn(access, self._tokens.lifetime_s, refresh, user)

    # Staying signed in, and not

    def refresh(self, caller: Caller, refresh_token: str, now: int) -> SignedIn:
        """Return a new pair for a refresh token, which is spent by it.

        Raises Unauthenticated: ``refresh_refused`` for one that is unknown, ended or expired, ``refresh_reused`` when
        it was spent before; the session is then ended, for somebody else holds its token.
        """
        session_id, _, _ = refresh_token.partition(".")
        held = self._sessions.get(session_id)
        if held is None:
            raise Unauthenticated("this refresh token is not valid", code="refresh_refused")
        replacement = f"{session_id}.{new_one_time_token()}"
        try:
            with self._transactions.transaction():
                # First, so that a database that is away is found out before the token is spent.
                found = self._people.lock(held.user_id)
                if found is None or found[0].disabled_at is not None:
                    self._sessions.end(session_id)
                    raise Unauthenticated("this refresh token is not valid", code="refresh_refused")
                session = self._sessions.rotate(
                    session_id,
                    hash_token(refresh_token, self._hash_key),
                    hash_token(replacement, self._hash_key),
                    now,
                )
                if session is None:
                    raise Unauthenticated("this refresh token is not valid", code="refresh_refused")
                user = found[0]
                acting = replace(caller, principal=user_principal(user.id, session.role, session.id))
                self._audit.record(acting, action="auth.refresh", target=user.id)
        except ReusedToken as reused:
            self._audit.record(caller, action="auth.refresh_reused", target=reused.user_id, outcome="denied")
            raise Unauthenticated("this refresh token was used before", code="refresh_reused") from None
        return self._pair(session, replacement, user, now)

    def logout(self, caller: Caller) -> None:
        """End the session of the caller."""
        user_id = caller.principal.require_user()
        self._sessions.end(caller.principal.session_id or "")
        self._audit.record(caller, action="auth.logout", target=user_id)

    def logout_everywhere(self, caller: Caller) -> int:
        """End every session of the caller, this one included; return how many there were."""
        user_id = caller.principal.require_user()
        ended = self._sessions.end_all(user_id)
        self._audit.record(
            caller, action="auth.logout_everywhere", target=user_id, detail={"sessions": ended}
        )
        return ended

    def me(self, caller: Caller) -> User:
        """Return the caller as a person."""
        user = self._people.get(caller.principal.require_user())
        if user is None:
            raise NotFound("this user is gone")
        return user

    # Passwords

    def change_password(self, caller: Caller, current: str, new: str, now: int) -> None:
        """Replace the caller's password and end every other session.

        Raises Unauthenticated (``login_failed``) when ``current`` is wrong, with the same slow-down as signing in.
        """
        user = self.me(caller)
        wait = self._guard.wait_s(user.email, caller.address, now)
        if wait > 0:
            raise RateLimited("too many failed attempts: wait before the next try", retry_after_s=wait)
        found = self._people.by_email(user.email)
        if found is None or not self._passwords.fits(current, found[1]):
            self._guard.failed(user.email, caller.address, now)
            self._audit.record(caller, action="auth.password_change", target=user.id, outcome="denied")
            raise Unauthenticated("the present password is wrong", code="login_failed")
        check_password(new, user.email, user.name)
        hashed = self._passwords.hash(new)
        with self._transactions.transaction():
            locked = self._people.lock(user.id)
            if locked is None or locked[1] != found[1]:
                raise Unauthenticated("the password was changed meanwhile", code="login_failed")
            self._people.set_password(user.id, hashed, now)
            self._sessions.end_all(user.id, but=caller.principal.session_id)
            self._audit.record(caller, action="auth.password_change", target=user.id)

    def request_reset(self, caller: Caller, email: str, now: int) -> None:
        """Mail a reset link to the address when somebody has it; the caller never learns whether."""
        found = self._people.by_email(normal_email(email))
        if found is None or found[0].disabled_at is not None:
            self._audit.record(caller, action="auth.reset_request", target="unknown", outcome="ignored")
            return
        user = found[0]
        link = self.reset_link(caller, user, now)
        try:
            self._mail.send(
                user.email,
                "Choose a new Farwatch password",
                f"Hello {user.name},\n\nsomebody asked for a new password for your account. If it was you, open this link "
                f"within an hour:\n\n{link}\n\nIf not, ignore this message: nothing has changed.\n",
            )
        except Unavailable as error:
            # Not said to the caller, who would learn from it that the address is somebody's.
            logger.error("a reset link was not mailed", extra={"reason": error.message})

    def reset_link(self, caller: Caller, user: User, now: int) -> str:
        """Return a link with which the person can choose a new password, once and within an hour."""
        token = new_one_time_token()
        with self._transactions.transaction():
            self._people.add_reset(user.id, hash_token(token, self._hash_key), now + RESET_MS)
            self._audit.record(caller, action="auth.reset_request", target=user.id)
        return f"{self._dashboard_url}/?reset={token}"

    def reset_password(self, caller: Caller, token: str, new: str, now: int) -> None:
        """Set a new password with a reset token, and end every session of the person.

        Raises Unauthenticated (``token_spent``); an unfit password does not spend the token.
        """
        with self._transactions.transaction():
            user_id = self._people.take_reset(hash_token(token, self._hash_key), now)
            user = self._people.get(user_id) if user_id is not None else None
            if user is None or user.disabled_at is not None:
                raise Unauthenticated("this link was used, has expired or never existed", code="token_spent")
            check_password(new, user.email, user.name)
            self._people.set_password(user.id, self._passwords.hash(new), now)
            self._sessions.end_all(user.id)
            self._audit.record(caller, action="auth.password_reset", target=user.id)

    def accept_invitation(
        self, caller: Caller, token: str, password: str, name: str | None, now: int
    ) -> SignedIn:
        """Make the invited person a user with the invited role, and sign them in.

        Raises Unauthenticated (``token_spent``); an unfit password does not spend the invitation.
        """
        with self._transactions.transaction():
            invitation = self._people.take_invitation(hash_token(token, self._hash_key), now)
            if invitation is None:
                raise Unauthenticated(
                    "this invitation was used, has expired or never existed", code="token_spent"
                )
            user = User(new_id("user"), invitation.email, name or invitation.name, invitation.role, now)
            check_password(password, user.email, user.name)
            self._people.add(user, self._passwords.hash(password))
            self._audit.record(
                caller,
                action="auth.invitation_accept",
                target=user.id,
                after={"email": user.email, "role": str(user.role), "invitation": invitation.id},
            )
        return self._sign_in(caller, user, now, action="auth.login")

    def create_first_admin(self, caller: Caller, email: str, name: str, password: str, now: int) -> User:
        """Make the first user, an administrator; raises Conflict (``already_exists``) when there is any user.

        Only the machine itself may do this: no HTTP route leads here.
        """
        if caller.principal.kind is not PrincipalKind.SYSTEM:
            raise Conflict("the first administrator is made on the machine itself")
        email = normal_email(email)
        check_password(password, email, name)
        hashed = self._passwords.hash(password)
        with self._transactions.transaction():
            if self._people.count() > 0:
                raise Conflict("there are users already", code="already_exists")
            user = User(new_id("user"), email, name, Role.ADMIN, now)
            self._people.add(user, hashed)
            self._audit.record(
                caller, action="user.create", target=user.id, after={"email": email, "role": "admin"}
            )
        return user


def _differs(found: tuple[User, str | None], user: User, proof: str | None) -> bool:
    """Return whether the person is no longer who was let in: disabled, with another role, with another password."""
    current, stored = found
    changed = current.disabled_at is not None or current.role is not user.role
    return changed or (proof is not None and stored != proof)


def _facts(user: User) -> dict[str, object]:
    return {"email": user.email, "role": str(user.role), "identity": user.identity}
