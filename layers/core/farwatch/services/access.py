"""Access: from an ``Authorization`` header to a verdict about who is asking.

The verdict is a flat dictionary of strings, because that is what an authoriser may pass on; ``farwatch.http.principal``
reads it at the other end.
"""

from __future__ import annotations

from farwatch.domain.credentials import Credential, CredentialKind, parse_credential
from farwatch.errors import DependencyError
from farwatch.observability import logger
from farwatch.ports.credentials import CredentialLookup, StoredCredential
from farwatch.ports.proofs import AccessTokens, CredentialRefused
from farwatch.ports.sessions import Sessions
from farwatch.services.renewal import Renewal

Verdict = dict[str, str]


class Access:
    """The use case behind the authoriser. ``hash_key`` is the key of the stored hashes of machine credentials."""

    def __init__(
        self,
        tokens: AccessTokens,
        sessions: Sessions,
        credentials: CredentialLookup,
        renewal: Renewal,
        hash_key: bytes,
    ) -> None:
        self._tokens = tokens
        self._sessions = sessions
        self._credentials = credentials
        self._renewal = renewal
        self._hash_key = hash_key

    def verdict(self, authorization: str | None, now: int, address: str = "") -> Verdict:
        """Return who is asking at ``now`` (epoch ms) from ``address``.

        ``kind`` is ``anonymous`` without a header; ``refused`` with a ``reason`` for a credential that proves nothing, or
        that cannot be checked because a store is down (``unavailable``): sessions are in Redis, and when Redis is
        down people have to wait, while machines' credentials are read from PostgreSQL.
        """
        if not authorization:
            return {"kind": "anonymous"}
        scheme, _, presented = authorization.partition(" ")
        presented = presented.strip()
        if scheme.lower() != "bearer" or not presented:
            return {"kind": "refused", "reason": "malformed"}
        try:
            credential = parse_credential(presented)
            if credential is not None:
                return self._machine(credential, now, address)
            return self._person(presented, now)
        except CredentialRefused as refused:
            return {"kind": "refused", "reason": refused.reason}
        except DependencyError as error:
            logger.warning("a credential could not be checked", extra={"reason": error.message})
            return {"kind": "refused", "reason": "unavailable"}

    def _person(self, token: str, now: int) -> Verdict:
        claims = self._tokens.read(token, now)
        session = self._sessions.get(claims.session_id)
        if session is None or session.user_id != claims.user_id:
            raise CredentialRefused("revoked")
        return {"kind": "user", "id": session.user_id, "role": str(session.role), "session_id": session.id}

    def _machine(self, credential: Credential, now: int, address: str) -> Verdict:
        if credential.kind is CredentialKind.AGENT:
            return self._agent(self._proven(credential, self._credentials.agent(credential.id)), now, address)
        if credential.kind is CredentialKind.TOKEN:
            stored = self._proven(credential, self._credentials.token(credential.id))
            _check_dates(stored, now)
            self._credentials.note_use("token", stored.id, now)
            return {
                "kind": "token",
                "id": stored.id,
                "role": str(stored.owner_role),
                "owner_id": stored.owner_id,
                "scopes": ",".join(stored.scopes),
            }
        raise CredentialRefused("malformed")  # an enrolment token is sent in a body, to one route

    def _agent(self, stored: StoredCredential, now: int, address: str) -> Verdict:
        if stored.superseded_at is not None and not stored.revoked:
            self._renewal.superseded_used(stored, address, now)
        _check_dates(stored, now)
        if stored.pending and not self._renewal.first_used(stored, address, now):
            raise CredentialRefused("superseded")
        self._credentials.note_use("agent", stored.id, now)
        verdict = {"kind": "agent", "id": stored.id, "host_id": stored.host_id}
        return {**verdict, "renew": "due"} if self._renewal.is_due(stored, now) else verdict

    def _proven(self, credential: Credential, stored: StoredCredential | None) -> StoredCredential:
        # The hash is computed in either case: that an id exists must not show in the time it takes to refuse it.
        fits = credential.fits(stored.secret_hash if stored is not None else bytes(32), self._hash_key)
        if stored is None or not fits:
            raise CredentialRefused("invalid")
        return stored


def _check_dates(stored: StoredCredential, now: int) -> None:
    if stored.revoked:
        raise CredentialRefused("revoked")
    if stored.expires_at is not None and now >= stored.expires_at:
        raise CredentialRefused("expired" if stored.superseded_at is None else "superseded")
