"""Enrol: how a machine becomes a host, and stops being one. How it keeps its credential fresh is in ``renewal``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from farwatch.domain.clones import sounds_cloned
from farwatch.domain.credentials import Credential, CredentialKind, new_credential, parse_credential
from farwatch.domain.rbac import SYSTEM, Caller, Permission
from farwatch.errors import Conflict, NotFound, Unauthenticated, Unavailable
from farwatch.ids import new_id
from farwatch.observability import logger
from farwatch.ports.audit import AuditLog
from farwatch.ports.credentials import Agent, CredentialLookup, Credentials, EnrolmentToken, Machine, Speakers
from farwatch.ports.transactions import Transactions

TOKEN_MS = 3_600_000
PRESUMED_DEAD_MS = 5 * 60_000


@dataclass(frozen=True, slots=True)
class NewToken:
    """A new enrolment token in the clear, which is shown once."""

    token: EnrolmentToken
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A host and its new credential in the clear, which only the agent ever sees."""

    host_id: str
    credential: str = field(repr=False)


class Enrol:
    """The use cases behind ``/api/v1/agents``. ``hash_key`` is the key of the stored hashes."""

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

    # Tokens that enrol

    def create_enrolment_token(
        self,
        caller: Caller,
        now: int,
        *,
        name: str = "",
        lifetime_ms: int = TOKEN_MS,
        max_uses: int | None = 1,
        labels: Mapping[str, str] | None = None,
        host_id: str | None = None,
    ) -> NewToken:
        """Return a token that enrols ``max_uses`` machines (None: any number) within ``lifetime_ms``.

        With ``host_id`` it gives that host a new agent, and no other. Raises NotFound for an unknown host.
        """
        caller.principal.require(Permission.AGENTS_MANAGE)
        credential = new_credential(CredentialKind.ENROLMENT)
        token = EnrolmentToken(
            id=credential.id,
            name=name,
            created_by=caller.principal.id,
            created_at=now,
            expires_at=now + lifetime_ms,
            max_uses=1 if host_id is not None else max_uses,
            labels=dict(labels or {}),
            host_id=host_id,
        )
        with self._transactions.transaction():
            if host_id is not None and self._credentials.agent(host_id) is None:
                raise NotFound("there is no such host")
            self._credentials.add_enrolment_token(token, credential.hashed(self._hash_key))
            self._audit.record(
                caller,
                action="enrolment_token.create",
                target=token.id,
                after={
                    "name": name,
                    "max_uses": token.max_uses,
                    "labels": token.labels,
                    "host_id": host_id,
                    "expires_at": token.expires_at,
                },
            )
        return NewToken(token, credential.text())

    def enrolment_tokens(self, caller: Caller, now: int) -> Sequence[EnrolmentToken]:
        """Return the tokens that can still be used, newest first."""
        caller.principal.require(Permission.AGENTS_MANAGE)
        return self._credentials.enrolment_tokens(now)

    def revoke_enrolment_token(self, caller: Caller, token_id: str, now: int) -> None:
        """Make a token worthless; raises NotFound when there is none."""
        caller.principal.require(Permission.AGENTS_MANAGE)
        with self._transactions.transaction():
            if not self._credentials.revoke_enrolment_token(token_id, now):
                raise NotFound("there is no such enrolment token")
            self._audit.record(caller, action="enrolment_token.revoke", target=token_id)

    # Machines

    def enrol(self, caller: Caller, token: str, machine: Machine, now: int) -> Enrolled:
        """Return a host id and a credential for the machine that presents ``token``.

        A machine that was enrolled before, and has been silent for five minutes, keeps its host id and history; while
        the host still reports, the newcomer with the same machine id is a clone and becomes a host of its own.
        Raises Unauthenticated (``enrolment_refused``), the same for every reason.
        """
        presented = parse_credential(token)
        if presented is None or presented.kind is not CredentialKind.ENROLMENT:
            raise _refused()
        with self._transactions.transaction():
            found = self._credentials.lock_enrolment_token(presented.id)
            if (
                not presented.fits(found[1] if found is not None else bytes(32), self._hash_key)
                or found is None
            ):
                raise _refused()
            stored = found[0]
            spent = stored.max_uses is not None and stored.uses >= stored.max_uses
            if spent or stored.revoked_at is not None or now >= stored.expires_at:
                raise _refused()
            self._credentials.use_enrolment_token(stored.id)
            host_id, kind, ended = self._place(stored, machine, now)
            credential = self._issue(host_id, now)
            self._audit.record(
                caller,
                action="agent.enrol",
                target=host_id,
                after={"hostname": machine.hostname, "how": kind, "enrolment_token_id": stored.id},
            )
        self._lookup.forget("agent", ended)
        return Enrolled(host_id, credential.text())

    def _place(self, token: EnrolmentToken, machine: Machine, now: int) -> tuple[str, str, list[str]]:
        """Return the host id for the machine, how it was found, and the credentials that ended by it."""
        if token.host_id is not None:
            if not self._credentials.adopt_host(token.host_id, machine, now):
                raise _refused()
            return token.host_id, "re-enrolled", self._credentials.end_agent_credentials(token.host_id, now)
        kind = "new"
        earlier = self._credentials.host_of_machine(machine.machine_id) if machine.machine_id else None
        if earlier is not None:
            host_id, last_seen_at = earlier
            if last_seen_at is None or now - last_seen_at >= PRESUMED_DEAD_MS:
                self._credentials.adopt_host(host_id, machine, now)
                return host_id, "returned", self._credentials.end_agent_credentials(host_id, now)
            self._credentials.suspect_clone(host_id, now)
            kind = f"clone of {host_id}"
        host_id = new_id("host")
        self._credentials.add_host(host_id, machine, {**machine.labels, **token.labels}, now)
        return host_id, kind, []

    def _issue(self, host_id: str, now: int) -> Credential:
        credential = new_credential(CredentialKind.AGENT)
        self._credentials.add_agent_credential(credential.id, host_id, credential.hashed(self._hash_key), now)
        return credential

    # Administration

    def agents(
        self, caller: Caller, *, after_id: str | None, limit: int, retired: bool = False
    ) -> Sequence[Agent]:
        """Return hosts with the state of their credentials, by host id."""
        caller.principal.require(Permission.AGENTS_MANAGE)
        return self._credentials.agents(after_id=after_id, limit=limit, retired=retired)

    def agent(self, caller: Caller, host_id: str) -> Agent:
        """Return one of them; raises NotFound."""
        caller.principal.require(Permission.AGENTS_MANAGE)
        found = self._credentials.agent(host_id)
        if found is None:
            raise NotFound("there is no such host")
        return found

    def revoke(self, caller: Caller, host_id: str, now: int) -> None:
        """Make every credential of the host worthless; its history stays and it can be enrolled again."""
        self.agent(caller, host_id)
        with self._transactions.transaction():
            ended = self._credentials.end_agent_credentials(host_id, now)
            self._audit.record(caller, action="agent.revoke", target=host_id, detail={"ended": len(ended)})
        self._lookup.forget("agent", ended)

    def retire(self, caller: Caller, host_id: str, now: int) -> None:
        """Retire the host: no credential works, no rule watches it, its history stays. Raises NotFound, Conflict."""
        self.agent(caller, host_id)
        with self._transactions.transaction():
            if not self._credentials.retire_host(host_id, now):
                raise Conflict("this host is retired already", code="host_retired")
            ended = self._credentials.end_agent_credentials(host_id, now)
            self._audit.record(caller, action="agent.retire", target=host_id)
        self._lookup.forget("agent", ended)


class WatchForClones:
    """Notices when two machines use the credential of one host; ``ingest`` tells it of every batch."""

    def __init__(
        self, transactions: Transactions, credentials: Credentials, speakers: Speakers, audit: AuditLog
    ) -> None:
        self._transactions = transactions
        self._credentials = credentials
        self._speakers = speakers
        self._audit = audit

    def heard(self, host_id: str, spool_id: str, started_at: object, now: int) -> bool:
        """Return whether the batch gives a clone away; the host is then marked, for its administrators to see.

        With Redis down nothing is noticed: a clone will still be there when it is back.
        """
        try:
            speakers = self._speakers.heard(host_id, f"{spool_id} {started_at}")
            if not sounds_cloned(speakers):
                return False
            self._speakers.forget(host_id)
        except Unavailable as error:
            logger.warning("not listening for clones", extra={"reason": error.message})
            return False
        with self._transactions.transaction():
            self._credentials.suspect_clone(host_id, now)
            self._audit.record(
                Caller(SYSTEM), action="agent.clone_suspected", target=host_id, outcome="noticed"
            )
        return True


def _refused() -> Unauthenticated:
    return Unauthenticated(
        "this enrolment token was used, has expired or never existed", code="enrolment_refused"
    )
