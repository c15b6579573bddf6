"""API tokens: credentials for programs, with scopes, an owner and an end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from farwatch.domain.credentials import CredentialKind, new_credential
from farwatch.domain.rbac import NEVER_A_SCOPE, Caller, Permission
from farwatch.errors import FieldError, Forbidden, InvalidInput, NotFound
from farwatch.ports.audit import AuditLog
from farwatch.ports.credentials import ApiToken, CredentialLookup, Credentials
from farwatch.ports.transactions import Transactions


@dataclass(frozen=True, slots=True)
class NewApiToken:
    """A new API token in the clear, which is shown once."""

    token: ApiToken
    text: str = field(repr=False)


class ApiTokens:
    """The use cases behind ``/api/v1/tokens``: one's own need ``tokens:own``, everybody's ``tokens:manage``."""

    def __init__(
        self,
        transactions: Transactions,
        credentials: Credentials,
        lookup: CredentialLookup,
        audit: AuditLog,
        *,
        hash_key: bytes,
    ) -> None:
        self._transactions = transactions
        self._credentials = credentials
        self._lookup = lookup
        self._audit = audit
        self._hash_key = hash_key

    def create(
        self, caller: Caller, name: str, scopes: Sequence[Permission], lifetime_ms: int, now: int
    ) -> NewApiToken:
        """Return a token of the caller's with ``scopes``.

        Raises InvalidInput for a scope that no token may have and Forbidden (``scope_too_wide``) for one the caller lacks.
        """
        caller.principal.require(Permission.TOKENS_OWN)
        owner_id = caller.principal.require_user()
        for index, scope in enumerate(scopes):
            if scope in NEVER_A_SCOPE:
                raise InvalidInput(
                    f"{scope} cannot be given to a token",
                    [FieldError(f"body.scopes[{index}]", "not a scope for tokens")],
                )
            if not caller.principal.may(scope):
                raise Forbidden(f"you do not hold {scope} yourself", code="scope_too_wide")
        credential = new_credential(CredentialKind.TOKEN)
        token = ApiToken(
            id=credential.id,
            name=name,
            owner_id=owner_id,
            scopes=tuple(dict.fromkeys(scopes)),
            created_at=now,
            expires_at=now + lifetime_ms,
        )
        with self._transactions.transaction():
            self._credentials.add_api_token(token, credential.hashed(self._hash_key))
            self._audit.record(
                caller,
                action="api_token.create",
                target=token.id,
                after={"name": name, "scopes": [str(s) for s in scopes], "expires_at": token.expires_at},
            )
        return NewApiToken(token, credential.text())

    def page(self, caller: Caller, *, mine: bool, after_id: str | None, limit: int) -> Sequence[ApiToken]:
        """Return tokens by id, revoked and expired ones included: everybody's to who manages them, else the caller's."""
        owner_id = self._owner(caller, mine=mine)
        return self._credentials.api_tokens(owner_id=owner_id, after_id=after_id, limit=limit)

    def revoke(self, caller: Caller, token_id: str, now: int) -> None:
        """Make a token worthless; raises NotFound when there is none that works, or it is somebody else's."""
        owner_id = self._owner(caller)
        with self._transactions.transaction():
            if not self._credentials.revoke_api_token(token_id, now, owner_id=owner_id):
                raise NotFound("there is no such token")
            self._audit.record(caller, action="api_token.revoke", target=token_id)
        self._lookup.forget("token", [token_id])

    @staticmethod
    def _owner(caller: Caller, *, mine: bool = False) -> str | None:
        """Return whose tokens the caller may look at: None for everybody's."""
        caller.principal.require(Permission.TOKENS_OWN)
        if caller.principal.may(Permission.TOKENS_MANAGE) and not mine:
            return None
        return caller.principal.require_user()
