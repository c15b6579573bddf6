"""``/api/v1/users`` and ``/api/v1/invitations``: people, as administrators manage them."""

from __future__ import annotations

from typing import Annotated

from aws_lambda_powertools.event_handler.api_gateway import Response, Router
from aws_lambda_powertools.event_handler.openapi.params import Path, Query

from farwatch.bootstrap import container
from farwatch.domain.rbac import Permission, Role
from farwatch.http.access import requires
from farwatch.http.app import created, no_content
from farwatch.http.clock import now_ms
from farwatch.http.etags import IfMatch, check_if_match, tagged
from farwatch.http.models import Answer, Body, Email, Limit, Name, Page, Timestamp, moment
from farwatch.http.openapi import problems
from farwatch.http.principal import current_caller
from farwatch.ports.people import Invitation
from functions.api.routes.auth import Ended, UserOut, user_out

router = Router()
TAGS = ["users"]
UserId = Annotated[str, Path(pattern="^[a-z]+_[0-9a-zA-Z_]{1,60}$")]


class UserChangeIn(Body):
    """What to change; what is left out stays."""

    name: Name | None = None
    role: Role | None = None
    disabled: bool | None = None


class InvitationCreateIn(Body):
    """Whom to invite, and as what."""

    email: Email
    name: Name
    role: Role


class InvitationOut(Answer):
    """An open invitation."""

    id: str
    email: str
    name: str
    role: Role
    invited_by: str
    created_at: Timestamp
    expires_at: Timestamp


class InvitationCreated(InvitationOut):
    """A new invitation; ``link`` is shown this once, ``mailed`` says whether it was sent as well."""

    link: str
    mailed: bool


class Invitations(Answer):
    """The open invitations, newest first."""

    items: list[InvitationOut]


class Link(Answer):
    """A link that works once."""

    link: str


def _invitation_fields(invitation: Invitation) -> dict[str, object]:
    return {
        "id": invitation.id,
        "email": invitation.email,
        "name": invitation.name,
        "role": invitation.role,
        "invited_by": invitation.invited_by,
        "created_at": moment(invitation.created_at),
        "expires_at": moment(invitation.expires_at),
    }


@router.get("/api/v1/users", summary="People", tags=TAGS)
@requires(Permission.USERS_MANAGE, audit="user.list")
def list_users(
    limit: Annotated[Limit, Query()] = 50,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> Page[UserOut]:
    """Return everybody, disabled people included, by id."""
    made = container()
    bound = {"list": "users"}
    after = str(made.adapters.cursors.decode(cursor, bound)[0]) if cursor else None
    found = made.manage_people.page(current_caller(), after_id=after, limit=limit + 1)
    return Page(
        items=[user_out(user) for user in found[:limit]],
        next_cursor=made.adapters.cursors.encode([found[limit - 1].id], bound)
        if len(found) > limit
        else None,
    )


@router.get("/api/v1/users/<user_id>", summary="One person", tags=TAGS, responses=problems(404))
@requires(Permission.USERS_MANAGE, audit="user.read")
def get_user(user_id: UserId) -> Response[UserOut]:
    """Return one person, with an ETag for changing them."""
    user = container().manage_people.get(current_caller(), user_id)
    return tagged(user_out(user), user.version)


@router.patch(
    "/api/v1/users/<user_id>", summary="Change a person", tags=TAGS, responses=problems(404, 409, 412)
)
@requires(Permission.USERS_MANAGE, audit="user.change")
def change_user(
    user_id: UserId,
    body: UserChangeIn,
    if_match: IfMatch = None,
) -> Response[UserOut]:
    """Change name, role or whether the person may sign in. A new role or a disabled account ends their sessions."""
    made = container()
    version = made.manage_people.get(current_caller(), user_id).version
    user = made.manage_people.change(
        current_caller(),
        user_id,
        now_ms(),
        expected_version=check_if_match(if_match, version),
        name=body.name,
        role=body.role,
        disabled=body.disabled,
    )
    return tagged(user_out(user), user.version)


@router.post(
    "/api/v1/users/<user_id>/sign-out", summary="Sign a person out", tags=TAGS, responses=problems(404)
)
@requires(Permission.USERS_MANAGE, audit="user.sign_out")
def sign_out_user(user_id: UserId) -> Ended:
    """End every session of the person."""
    return Ended(sessions=container().manage_people.sign_out(current_caller(), user_id))


@router.post(
    "/api/v1/users/<user_id>/password-reset",
    summary="Make a reset link for a person",
    tags=TAGS,
    responses=problems(404),
)
@requires(Permission.USERS_MANAGE, audit="auth.reset_request")
def make_reset_link(user_id: UserId) -> Link:
    """Return a link with which the person can choose a new password, once and within an hour."""
    return Link(link=container().manage_people.reset_link(current_caller(), user_id, now_ms()))


@router.get("/api/v1/invitations", summary="Open invitations", tags=TAGS)
@requires(Permission.USERS_MANAGE, audit="user.invitation_list")
def list_invitations() -> Invitations:
    """Return the invitations that can still be accepted."""
    found = container().manage_people.invitations(current_caller(), now_ms())
    return Invitations(items=[InvitationOut.model_validate(_invitation_fields(i)) for i in found])


@router.post(
    "/api/v1/invitations", summary="Invite a person", tags=TAGS, status_code=201, responses=problems(409)
)
@requires(Permission.USERS_MANAGE, audit="user.invite")
def invite(body: InvitationCreateIn) -> Response[InvitationCreated]:
    """Make an invitation link, and mail it when a mail server is configured."""
    made = container().manage_people.invite(current_caller(), body.email, body.name, body.role, now_ms())
    answer = InvitationCreated.model_validate(
        {**_invitation_fields(made.invitation), "link": made.link, "mailed": made.mailed}
    )
    return created(f"/api/v1/invitations/{made.invitation.id}", answer)


@router.delete(
    "/api/v1/invitations/<invitation_id>",
    summary="Revoke an invitation",
    tags=TAGS,
    status_code=204,
    responses=problems(404),
)
@requires(Permission.USERS_MANAGE, audit="user.invitation_revoke")
def revoke_invitation(invitation_id: UserId) -> Response[None]:
    """Make an open invitation worthless."""
    container().manage_people.revoke_invitation(current_caller(), invitation_id, now_ms())
    return no_content()
