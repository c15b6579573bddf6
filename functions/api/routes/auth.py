"""``/api/v1/auth``: signing in and out, staying signed in, passwords, and who am I."""

from __future__ import annotations

from typing import Annotated

from aws_lambda_powertools.event_handler.api_gateway import Response, Router
from pydantic import Field, SecretStr

from farwatch.bootstrap import container
from farwatch.domain.people import User
from farwatch.domain.rbac import Permission, Role, permissions_of, scopes_of
from farwatch.http.access import public, signed_in
from farwatch.http.app import no_content
from farwatch.http.clock import now_ms
from farwatch.http.models import (
    Answer,
    Body,
    Email,
    Name,
    OneTimeToken,
    Password,
    Timestamp,
    moment,
    moment_or_none,
)
from farwatch.http.openapi import problems
from farwatch.http.principal import current_caller
from farwatch.services.auth import SignedIn

router = Router()
TAGS = ["auth"]


class UserOut(Answer):
    """A person; ``has_password`` is false for people who sign in through the identity provider only."""

    id: str
    email: str
    name: str
    role: Role
    created_at: Timestamp
    last_login_at: Timestamp | None
    disabled: bool
    has_password: bool
    version: int


class Me(UserOut):
    """The caller, everything the caller may do, and what of it an API token of the caller's could be given."""

    permissions: list[Permission]
    token_scopes: list[Permission]


class TokensOut(Answer):
    """A pair of tokens. ``expires_in`` is the access token's life in seconds; the refresh token works once."""

    access_token: str
    token_type: str = "Bearer"  # noqa: S105 - the scheme, not a secret
    expires_in: int
    refresh_token: str
    user: UserOut


class LoginIn(Body):
    """Credentials of a person."""

    email: Email
    password: Password


class RefreshIn(Body):
    """The refresh token from the last answer."""

    refresh_token: OneTimeToken


class IdentityIn(Body):
    """An identity token of the configured provider."""

    id_token: Annotated[SecretStr, Field(min_length=1, max_length=16_384)]


class InvitationIn(Body):
    """The token of an invitation link and the password chosen; ``name`` replaces the one in the invitation."""

    token: OneTimeToken
    password: Password
    name: Name | None = None


class PasswordChangeIn(Body):
    """The present password and the new one."""

    current_password: Password
    new_password: Password


class ResetRequestIn(Body):
    """Whose password is lost."""

    email: Email


class ResetIn(Body):
    """The token of a reset link and the new password."""

    token: OneTimeToken
    new_password: Password


class Ended(Answer):
    """How many sessions were ended."""

    sessions: int


class SessionOut(Answer):
    """One place where the caller is signed in."""

    current: bool
    created_at: Timestamp
    refreshed_at: Timestamp
    expires_at: Timestamp
    address: str
    user_agent: str


class SessionsOut(Answer):
    """Where the caller is signed in, newest first."""

    items: list[SessionOut]


def user_out(user: User) -> UserOut:
    """Return a person as the API shows people."""
    return UserOut.model_validate(_user_fields(user))


def _user_fields(user: User) -> dict[str, object]:
    return {
        "id": user.id,
        "email": user.email,
        "name": user.name,
        "role": user.role,
        "created_at": moment(user.created_at),
        "last_login_at": moment_or_none(user.last_login_at),
        "disabled": user.disabled_at is not None,
        "has_password": user.has_password,
        "version": user.version,
    }


def _tokens_out(signed_in: SignedIn) -> TokensOut:
    return TokensOut(
        access_token=signed_in.access_token,
        expires_in=signed_in.expires_in,
        refresh_token=signed_in.refresh_token,
        user=user_out(signed_in.user),
    )


@router.post("/api/v1/auth/login", summary="Sign in with a password", tags=TAGS, responses=problems(401))
@public("this is how one gets a credential", audit="auth.login", limit="sign-in")
def login(body: LoginIn) -> TokensOut:
    """Return tokens. After several failures the answer is 429 until Retry-After has passed."""
    auth = container().auth
    return _tokens_out(auth.login(current_caller(), body.email, body.password.get_secret_value(), now_ms()))


@router.post("/api/v1/auth/refresh", summary="Renew the access token", tags=TAGS, responses=problems(401))
@public("the refresh token is the credential", audit="auth.refresh", limit="sign-in")
def refresh(body: RefreshIn) -> TokensOut:
    """Return a new pair; the refresh token sent is spent. Sending it twice ends the session."""
    auth = container().auth
    return _tokens_out(auth.refresh(current_caller(), body.refresh_token.get_secret_value(), now_ms()))


@router.post(
    "/api/v1/auth/oidc",
    summary="Sign in through the identity provider",
    tags=TAGS,
    responses=problems(401, 409),
)
@public("the identity token is the credential", audit="auth.sso", limit="sign-in")
def login_with_identity(body: IdentityIn) -> TokensOut:
    """Exchange an OpenID Connect identity token for tokens; the role comes from the person's groups."""
    auth = container().auth
    return _tokens_out(auth.login_with_identity(current_caller(), body.id_token.get_secret_value(), now_ms()))


@router.post(
    "/api/v1/auth/invitations/accept",
    summary="Accept an invitation",
    tags=TAGS,
    responses=problems(401, 409),
)
@public("the invitation's token is the credential", audit="auth.invitation_accept", limit="sign-in")
def accept_invitation(body: InvitationIn) -> TokensOut:
    """Choose a password, become a user and sign in."""
    auth = container().auth
    return _tokens_out(
        auth.accept_invitation(
            current_caller(),
            body.token.get_secret_value(),
            body.password.get_secret_value(),
            body.name,
            now_ms(),
        )
    )


@router.post("/api/v1/auth/logout", summary="Sign out here", tags=TAGS, status_code=204)
@signed_in(audit="auth.logout")
def logout() -> Response[None]:
    """End the session of the access token; its refresh token stops working as well."""
    container().auth.logout(current_caller())
    return no_content()


@router.post("/api/v1/auth/logout-everywhere", summary="Sign out everywhere", tags=TAGS)
@signed_in(audit="auth.logout_everywhere")
def logout_everywhere() -> Ended:
    """End every session of the caller, this one included."""
    return Ended(sessions=container().auth.logout_everywhere(current_caller()))


@router.get("/api/v1/auth/me", summary="Who am I", tags=TAGS, responses=problems(404))
@signed_in()
def me() -> Me:
    """Return the caller and everything the caller may do."""
    user = container().auth.me(current_caller())
    allowed = sorted(permissions_of(user.role))
    scopes = sorted(scopes_of(user.role))
    return Me.model_validate({**_user_fields(user), "permissions": allowed, "token_scopes": scopes})


@router.get("/api/v1/auth/sessions", summary="Where am I signed in", tags=TAGS)
@signed_in()
def sessions() -> SessionsOut:
    """Return the caller's live sessions, newest first; their ids stay secret, since tokens name them."""
    principal = current_caller().principal
    found = container().adapters.sessions.of_user(principal.require_user())
    return SessionsOut(
        items=[
            SessionOut(
                current=session.id == principal.session_id,
                created_at=moment(session.created_at),
                refreshed_at=moment(session.refreshed_at),
                expires_at=moment(session.expires_at),
                address=session.address,
                user_agent=session.user_agent,
            )
            for session in found
        ]
    )


@router.put(
    "/api/v1/auth/password",
    summary="Change the password",
    tags=TAGS,
    status_code=204,
    responses=problems(404),
)
@signed_in(audit="auth.password_change", limit="sign-in")
def change_password(body: PasswordChangeIn) -> Response[None]:
    """Set a new password and end every other session of the caller."""
    container().auth.change_password(
        current_caller(),
        body.current_password.get_secret_value(),
        body.new_password.get_secret_value(),
        now_ms(),
    )
    return no_content()


@router.post("/api/v1/auth/password-reset", summary="Ask for a reset link", tags=TAGS, status_code=204)
@public("who lost the password has no credential", audit="auth.reset_request", limit="sign-in")
def request_reset(body: ResetRequestIn) -> Response[None]:
    """Mail a reset link when somebody has the address; the answer is the same when nobody has."""
    container().auth.request_reset(current_caller(), body.email, now_ms())
    return no_content()


@router.put(
    "/api/v1/auth/password-reset",
    summary="Choose a new password with a reset link",
    tags=TAGS,
    status_code=204,
    responses=problems(401),
)
@public("the reset link's token is the credential", audit="auth.password_reset", limit="sign-in")
def reset_password(body: ResetIn) -> Response[None]:
    """Set a new password and end every session of the person."""
    container().auth.reset_password(
        current_caller(), body.token.get_secret_value(), body.new_password.get_secret_value(), now_ms()
    )
    return no_content()
