"""Renewal: how an agent's credential is replaced without a moment in which the agent has none.

A renewed credential is *pending* until it is first used; only then is the earlier one *superseded*, and it ends an hour
later. An answer that is lost on the way therefore costs nothing, however long the agent then stays away.

Whoever uses a superseded credential holds a copy: an agent stores the new one before it uses it, and never goes back.
Nobody can tell which of the two is the thief, so the one who renewed first goes on, the other is refused with a code of
its own, the host is marked as cloned and the audit log says when and from where.
"""

from __future__ import annotations

from farwatch.domain.credentials import CredentialKind, new_credential, renewal_due
from farwatch.domain.rbac import SYSTEM, Caller, PrincipalKind
from farwatch.errors import Forbidden, Unauthenticated
from farwatch.ports.audit import AuditLog
from farwatch.ports.credentials import CredentialLookup, Credentials, StoredCredential
from farwatch.ports.transactions import Transactions
from farwatch.services.enrol import Enrolled

OVERLAP_MS = 3_600_000
GRACE_MS = 60_000
PENDING = 4


class Renewal:
    """The use cases around a credential's age. ``lifetime_ms`` is the age at which agents have renewed theirs."""

    def __init__(
        self,
        transactions: Transactions,
        credentials: Credentials,
        lookup: CredentialLookup,
        audit: AuditLog,
        *,
        hash_key: bytes,
        lifetime_ms: int,
    ) -> None:
        self._transactions = transactions
        self._credentials = credentials
        self._lookup = lookup
        self._audit = audit
        self._hash_key = hash_key
        self._lifetime_ms = lifetime_ms

    def renew(self, caller: Caller, now: int) -> Enrolled:
        """Return another credential for the agent that asks. Nothing changes for its present one until that is used.

        Raises Forbidden for anybody but an agent, Unauthenticated (``credential_superseded``) when the credential
        presented was renewed before and the new one has been used.
        """
        principal = caller.principal
        if principal.kind is not PrincipalKind.AGENT:
            raise Forbidden("only an agent can renew its credential", code="agents_only")
        credential = new_credential(CredentialKind.AGENT)
        with self._transactions.transaction():
            held = self._credentials.lock_agent_credential(principal.id)
            if held is None or held.revoked:
                raise Unauthenticated("the credential has been revoked", code="credential_revoked")
            if held.superseded_at is not None:
                raise _superseded()
            hashed = credential.hashed(self._hash_key)
            self._credentials.add_agent_credential(credential.id, held.host_id, hashed, now, pending=True)
            # Bounded, so that whoever asks again and again fills no table.
            ended = self._credentials.end_pending_credentials(held.host_id, now, keep=PENDING)
            self._audit.record(
                caller,
                action="agent.renew",
                target=held.host_id,
                detail={"credential_id": credential.id, "replaces_id": held.id},
            )
        self._lookup.forget("agent", ended)
        return Enrolled(held.host_id, credential.text())

    def is_due(self, held: StoredCredential, now: int) -> bool:
        """Return whether the agent should be told to renew the credential it used."""
        if held.superseded_at is not None or not held.issued_at:
            return False
        return renewal_due(held.id, held.issued_at, self._lifetime_ms, now)

    def first_used(self, held: StoredCredential, address: str, now: int) -> bool:
        """Make a pending credential the host's own, and return whether it is; False when another one was quicker."""
        with self._transactions.transaction():
            current = self._credentials.lock_agent_credential(held.id)
            if current is None or current.revoked or current.superseded_at is not None:
                return False
            if not current.pending:
                return True
            others = self._credentials.activate_agent_credential(held.id, now, others_end_at=now + OVERLAP_MS)
            self._audit.record(
                Caller(SYSTEM, address=address),
                action="agent.credential_first_used",
                target=held.host_id,
                detail={"credential_id": held.id, "superseded": len(others)},
            )
        self._lookup.forget("agent", [held.id, *others])
        return True

    def superseded_used(self, held: StoredCredential, address: str, now: int) -> None:
        """Mark the host when a superseded credential turns up, at most once an hour for each.

        A minute of grace is for requests that were under way when the new credential was first used.
        """
        if held.superseded_at is None or now - held.superseded_at < GRACE_MS:
            return
        with self._transactions.transaction():
            if not self._credentials.note_reuse(held.id, now):
                return
            self._credentials.suspect_clone(held.host_id, now)
            self._audit.record(
                Caller(SYSTEM, address=address),
                action="agent.credential_reused",
                target=held.host_id,
                outcome="noticed",
                detail={"credential_id": held.id, "superseded_at": held.superseded_at},
            )


def _superseded() -> Unauthenticated:
    return Unauthenticated(
        "another holder of this credential has renewed it: enrol this machine again, and find out who that was",
        code="credential_superseded",
    )
