"""``/api/v1/tokens``: API tokens, for programs."""

from __future__ import annotations

from typing import Annotated

from aws_lambda_powertools.event_handler.api_gateway import Response, Router
from aws_lambda_powertools.event_handler.openapi.params import Path, Query
from pydantic import Field

from farwatch.bootstrap import container
from farwatch.domain.rbac import SCOPES, Permission
from farwatch.http.access import requires
from farwatch.http.app import created, no_content
from farwatch.http.clock import now_ms
from farwatch.http.models import Answer, Body, Limit, Name, Page, Timestamp, moment, moment_or_none
from farwatch.http.openapi import problems
from farwatch.http.principal import current_caller
from farwatch.ports.credentials import ApiToken

router = Router()
TAGS = ["tokens"]
TokenId = Annotated[str, Path(pattern="^[0-9a-f]{16}$")]


class TokenIn(Body):
    """A token to make; its scopes must be permissions that you hold yourself."""

    name: Name
    scopes: Annotated[list[Permission], Field(min_length=1, max_length=len(SCOPES))]
    expires_in_s: Annotated[int, Field(ge=60, le=366 * 86_400)] = 90 * 86_400


class TokenOut(Answer):
    """An API token, without its secret."""

    id: str
    name: str
    owner_id: str
    scopes: list[Permission]
    created_at: Timestamp
    expires_at: Timestamp
    last_used_at: Timestamp | None
    revoked_at: Timestamp | None


class TokenCreated(TokenOut):
    """A new API token; ``token`` is shown this once."""

    token: str


def _fields(token: ApiToken) -> dict[str, object]:
    return {
        "id": token.id,
        "name": token.name,
        "owner_id": token.owner_id,
        "scopes": list(token.scopes),
        "created_at": moment(token.created_at),
        "expires_at": moment(token.expires_at),
        "last_used_at": moment_or_none(token.last_used_at),
        "revoked_at": moment_or_none(token.revoked_at),
    }


@router.get("/api/v1/tokens", summary="API tokens", tags=TAGS)
@requires(Permission.TOKENS_OWN, audit="api_token.list")
def list_tokens(
    limit: Annotated[Limit, Query()] = 50,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
    mine: Annotated[bool, Query()] = False,
) -> Page[TokenOut]:
    """Return tokens by id, revoked and expired ones included.

    Who holds ``tokens:manage`` sees everybody's, or with ``mine`` only their own; everybody else sees their own.
    """
    made = container()
    bound = {"list": "tokens", "mine": mine}
    after = str(made.adapters.cursors.decode(cursor, bound)[0]) if cursor else None
    found = made.api_tokens.page(current_caller(), mine=mine, after_id=after, limit=limit + 1)
    return Page(
        items=[TokenOut.model_validate(_fields(token)) for token in found[:limit]],
        next_cursor=made.adapters.cursors.encode([found[limit - 1].id], bound)
        if len(found) > limit
        else None,
    )


@router.post("/api/v1/tokens", summary="Make an API token", tags=TAGS, status_code=201)
@requires(Permission.TOKENS_OWN, audit="api_token.create")
def create_token(body: TokenIn) -> Response[TokenCreated]:
    """Return a token of your own, shown this once."""
    made = container().api_tokens.create(
        current_caller(), body.name, body.scopes, body.expires_in_s * 1000, now_ms()
    )
    answer = TokenCreated.model_validate({**_fields(made.token), "token": made.text})
    return created(f"/api/v1/tokens/{made.token.id}", answer)


@router.delete(
    "/api/v1/tokens/<token_id>",
    summary="Revoke an API token",
    tags=TAGS,
    status_code=204,
    responses=problems(404),
)
@requires(Permission.TOKENS_OWN, audit="api_token.revoke")
def revoke_token(token_id: TokenId) -> Response[None]:
    """Make a token worthless, within a minute everywhere; somebody else's only with ``tokens:manage``."""
    container().api_tokens.revoke(current_caller(), token_id, now_ms())
    return no_content()
