"""Where the credentials of machines are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from farwatch.domain.rbac import Permission, Role


@dataclass(frozen=True, slots=True)
class StoredCredential:
    """What the authoriser needs to know of an agent credential or API token; times are epoch ms.

    ``host_id`` and the two after it are set for agents; ``owner_id``, ``owner_role`` and ``scopes`` for API tokens.
    ``pending``: renewed, and never used so far; ``superseded_at``: another credential of the host is used in its place.
    """

    id: str
    secret_hash: bytes
    revoked: bool
    expires_at: int | None = None
    host_id: str = ""
    issued_at: int = 0
    pending: bool = False
    superseded_at: int | None = None
    owner_id: str = ""
    owner_role: Role = Role.GUEST
    scopes: tuple[Permission, ...] = ()


@dataclass(frozen=True, slots=True)
class EnrolmentToken:
    """A token that turns a machine into a host; times are epoch ms. ``host_id``: re-enrols that host and no other."""

    id: str
    name: str
    created_by: str
    created_at: int
    expires_at: int
    max_uses: int | None = 1
    uses: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    host_id: str | None = None
    revoked_at: int | None = None


@dataclass(frozen=True, slots=True)
class ApiToken:
    """An API token as its owner and administrators see it; times are epoch ms."""

    id: str
    name: str
    owner_id: str
    scopes: tuple[Permission, ...]
    created_at: int
    expires_at: int
    last_used_at: int | None = None
    revoked_at: int | None = None


@dataclass(frozen=True, slots=True)
class Agent:
    """A host as the agents page shows it: who it is, whether and when its credential was used; times are epoch ms."""

    host_id: str
    name: str
    agent_version: str
    enrolled_at: int
    last_seen_at: int | None
    retired_at: int | None
    clone_suspected_at: int | None
    credential_id: str | None
    credential_issued_at: int | None
    credential_last_used_at: int | None


@dataclass(frozen=True, slots=True)
class Machine:
    """What a machine says about itself when it enrols. All of it is hostile text."""

    hostname: str
    machine_id: str = ""
    os: str = ""
    kernel: str = ""
    cpus: int = 0
    memory_bytes: int = 0
    agent_version: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


class CredentialLookup(Protocol):
    """What the authoriser reads. Changes bite within the cache's 30 s, and at once where ``forget`` is called."""

    def agent(self, credential_id: str) -> StoredCredential | None:
        """Return an agent credential of a host that is not retired."""
        ...

    def token(self, token_id: str) -> StoredCredential | None:
        """Return an API token whose owner may still sign in."""
        ...

    def note_use(self, kind: str, credential_id: str, now: int) -> None:
        """Remember that the credential was used, at most once a minute."""
        ...

    def forget(self, kind: str, credential_ids: Sequence[str]) -> None:
        """Drop the credentials from the cache."""
        ...


class Speakers(Protocol):
    """Remembers who has lately spoken for each host."""

    def heard(self, host_id: str, speaker: str) -> Sequence[str]:
        """Note the speaker and return the latest ones, newest first; nothing when it is the same as before."""
        ...

    def forget(self, host_id: str) -> None:
        """Start listening anew."""
        ...


class Credentials(Protocol):
    """Enrolment tokens, agents' credentials and API tokens."""

    def add_enrolment_token(self, token: EnrolmentToken, secret_hash: bytes) -> None:
        """Insert a token."""
        ...

    def enrolment_tokens(self, now: int) -> Sequence[EnrolmentToken]:
        """Return the tokens that can still be used, newest first."""
        ...

    def lock_enrolment_token(self, token_id: str) -> tuple[EnrolmentToken, bytes] | None:
        """Return the token and its hash, locked until the transaction ends."""
        ...

    def use_enrolment_token(self, token_id: str) -> None:
        """Count one use."""
        ...

    def revoke_enrolment_token(self, token_id: str, now: int) -> bool:
        """Revoke the token; False when there is none that could be used."""
        ...

    def host_of_machine(self, machine_id: str) -> tuple[str, int | None] | None:
        """Return the live host enrolled with this machine id, and when it was last seen (epoch ms), locked."""
        ...

    def add_host(self, host_id: str, machine: Machine, labels: Mapping[str, str], now: int) -> None:
        """Insert a host."""
        ...

    def adopt_host(self, host_id: str, machine: Machine, now: int) -> bool:
        """Let an existing host live on with a new agent: facts renewed, no longer retired; False when it is unknown."""
        ...

    def add_agent_credential(
        self, credential_id: str, host_id: str, secret_hash: bytes, now: int, *, pending: bool = False
    ) -> None:
        """Insert a credential of the host; a ``pending`` one changes nothing for the others until it is used."""
        ...

    def lock_agent_credential(self, credential_id: str) -> StoredCredential | None:
        """Return the credential, with its host locked until the transaction ends."""
        ...

    def end_pending_credentials(self, host_id: str, now: int, *, keep: int) -> list[str]:
        """Supersede the host's pending credentials but the newest ``keep``, at once; return their ids."""
        ...

    def activate_agent_credential(self, credential_id: str, now: int, *, others_end_at: int) -> list[str]:
        """Note the first use of a pending credential, and supersede the host's others; return their ids.

        Those that were in use go on until ``others_end_at``, other pending ones end at once.
        """
        ...

    def note_reuse(self, credential_id: str, now: int) -> bool:
        """Remember that a superseded credential was used; False when that was remembered within the last hour."""
        ...

    def end_agent_credentials(self, host_id: str, now: int) -> list[str]:
        """Revoke the host's credentials; return their ids."""
        ...

    def retire_host(self, host_id: str, now: int) -> bool:
        """Retire the host; False when it is unknown or retired already."""
        ...

    def suspect_clone(self, host_id: str, now: int | None) -> None:
        """Mark the host as cloned since ``now``, or clear the mark."""
        ...

    def agents(self, *, after_id: str | None, limit: int, retired: bool) -> Sequence[Agent]:
        """Return hosts with the credential they use, by host id."""
        ...

    def agent(self, host_id: str) -> Agent | None:
        """Return one of them."""
        ...

    def add_api_token(self, token: ApiToken, secret_hash: bytes) -> None:
        """Insert a token."""
        ...

    def api_tokens(self, *, owner_id: str | None, after_id: str | None, limit: int) -> Sequence[ApiToken]:
        """Return tokens by id, all of them or one person's."""
        ...

    def api_token(self, token_id: str) -> ApiToken | None:
        """Return one token."""
        ...

    def revoke_api_token(self, token_id: str, now: int, *, owner_id: str | None = None) -> bool:
        """Revoke the token, if it is the owner's where one is named; False when there is none that works."""
        ...
