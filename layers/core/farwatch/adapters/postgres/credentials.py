"""Enrolment tokens, agents' credentials and API tokens in PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import LiteralString

from psycopg.types.json import Jsonb

from farwatch.adapters.postgres.database import Database, Row
from farwatch.adapters.postgres.times import at_ms, ms
from farwatch.domain.rbac import Permission, Role
from farwatch.ports.credentials import Agent, ApiToken, EnrolmentToken, Machine, StoredCredential

_AGENTS: LiteralString = """
    SELECT h.id AS host_id, h.name, h.agent_version, h.enrolled_at, h.last_seen_at, h.retired_at, h.clone_suspected_at,
           c.id AS credential_id, c.issued_at, c.last_used_at
    FROM hosts h LEFT JOIN LATERAL (
        SELECT * FROM agent_credentials c WHERE c.host_id = h.id AND c.revoked_at IS NULL
        ORDER BY c.superseded_at IS NULL DESC, c.activated_at IS NOT NULL DESC, c.issued_at DESC LIMIT 1) c ON true"""


class PostgresCredentials:
    """Implements ``farwatch.ports.credentials.Credentials``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # What the authoriser looks up

    def find_agent(self, credential_id: str) -> StoredCredential | None:
        """Return an agent credential of a host that is not retired."""
        with self._database.transaction() as connection:
            row = connection.execute(
                """SELECT c.* FROM agent_credentials c JOIN hosts h ON h.id = c.host_id
                   WHERE c.id = %s AND h.retired_at IS NULL""",
                (credential_id,),
            ).fetchone()
        return None if row is None else _agent_credential(row)

    def find_token(self, token_id: str) -> StoredCredential | None:
        """Return an API token whose owner may still sign in."""
        with self._database.transaction() as connection:
            row = connection.execute(
                """SELECT t.*, u.role AS owner_role FROM api_tokens t JOIN users u ON u.id = t.owner_id
                   WHERE t.id = %s AND u.disabled_at IS NULL""",
                (token_id,),
            ).fetchone()
        if row is None:
            return None
        return StoredCredential(
            id=row["id"],
            secret_hash=row["secret_hash"],
            revoked=row["revoked_at"] is not None,
            expires_at=ms(row["expires_at"]),
            owner_id=row["owner_id"],
            owner_role=Role(row["owner_role"]),
            scopes=_scopes(row),
        )

    def note_use(self, table: str, credential_id: str, now: int) -> None:
        """Set ``last_used_at`` of a row of ``agent_credentials`` or ``api_tokens``."""
        statement: LiteralString = (
            "UPDATE agent_credentials SET last_used_at = %s WHERE id = %s"
            if table == "agent_credentials"
            else "UPDATE api_tokens SET last_used_at = %s WHERE id = %s"
        )
        with self._database.transaction() as connection:
            connection.execute(statement, (at_ms(now), credential_id))

    # Enrolment

    def add_enrolment_token(self, token: EnrolmentToken, secret_hash: bytes) -> None:
        """Insert a token."""
        with self._database.transaction() as connection:
            connection.execute(
                """INSERT INTO enrolment_tokens
                   (id, secret_hash, name, host_id, labels, max_uses, created_by, created_at, expires_at)
                   VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)""",
                (
                    token.id,
                    secret_hash,
                    token.name,
                    token.host_id,
                    Jsonb(dict(token.labels)),
                    token.max_uses,
                    token.created_by,
                    at_ms(token.created_at),
                    at_ms(token.expires_at),
                ),
            )

    def enrolment_tokens(self, now: int) -> Sequence[EnrolmentToken]:
        """Return the tokens that can still be used, newest first."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                """SELECT * FROM enrolment_tokens WHERE revoked_at IS NULL AND expires_at > %s
                   AND (max_uses IS NULL OR uses < max_uses) ORDER BY created_at DESC LIMIT 500""",
                (at_ms(now),),
            ).fetchall()
        return [_enrolment_token(row) for row in rows]

    def lock_enrolment_token(self, token_id: str) -> tuple[EnrolmentToken, bytes] | None:
        """Return the token and its hash, locked until the transaction ends."""
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT * FROM enrolment_tokens WHERE id = %s FOR UPDATE", (token_id,)
            ).fetchone()
        return None if row is None else (_enrolment_token(row), row["secret_hash"])

    def use_enrolment_token(self, token_id: str) -> None:
        """Count one use."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE enrolment_tokens SET uses = uses + 1 WHERE id = %s", (token_id,))

    def revoke_enrolment_token(self, token_id: str, now: int) -> bool:
        """Revoke the token; False when there is none that could be used."""
        with self._database.transaction() as connection:
            return (
                connection.execute(
                    "UPDATE enrolment_tokens SET revoked_at = %s WHERE id = %s AND revoked_at IS NULL",
                    (at_ms(now), token_id),
                ).rowcount
                == 1
            )

    # Hosts and their credentials

    def host_of_machine(self, machine_id: str) -> tuple[str, int | None] | None:
        """Return the live host enrolled with this machine id, and when it was last seen (epoch ms), locked."""
        with self._database.transaction() as connection:
            row = connection.execute(
                """SELECT id, last_seen_at FROM hosts WHERE machine_id = %s AND retired_at IS NULL
                   ORDER BY enrolled_at DESC LIMIT 1 FOR UPDATE""",
                (machine_id,),
            ).fetchone()
        return None if row is None else (str(row["id"]), ms(row["last_seen_at"]))

    def add_host(self, host_id: str, machine: Machine, labels: Mapping[str, str], now: int) -> None:
        """Insert a host."""
        with self._database.transaction() as connection:
            connection.execute(
                """INSERT INTO hosts (id, name, labels, os, agent_version, machine_id, facts, enrolled_at)
                   VALUES (%s, %s, %s, %s, %s, %s, %s, %s)""",
                (
                    host_id,
                    machine.hostname,
                    Jsonb(dict(labels)),
                    machine.os,
                    machine.agent_version,
                    machine.machine_id,
                    Jsonb(_facts(machine)),
                    at_ms(now),
                ),
            )

    def adopt_host(self, host_id: str, machine: Machine, now: int) -> bool:
        """Let an existing host live on with a new agent: facts renewed, no longer retired; False when it is unknown."""
        with self._database.transaction() as connection:
            return (
                connection.execute(
                    """UPDATE hosts SET os = %s, agent_version = %s, machine_id = %s, facts = %s, enrolled_at = %s,
                       retired_at = NULL, clone_suspected_at = NULL WHERE id = %s""",
                    (
                        machine.os,
                        machine.agent_version,
                        machine.machine_id,
                        Jsonb(_facts(machine)),
                        at_ms(now),
                        host_id,
                    ),
                ).rowcount
                == 1
            )

    def add_agent_credential(
        self, credential_id: str, host_id: str, secret_hash: bytes, now: int, *, pending: bool = False
    ) -> None:
        """Insert a credential of the host; a ``pending`` one changes nothing for the others until it is used."""
        with self._database.transaction() as connection:
            connection.execute(
                """INSERT INTO agent_credentials (id, host_id, secret_hash, issued_at, activated_at)
                   VALUES (%s, %s, %s, %s, %s)""",
                (credential_id, host_id, secret_hash, at_ms(now), None if pending else at_ms(now)),
            )

    def lock_agent_credential(self, credential_id: str) -> StoredCredential | None:
        """Return the credential, with its host locked until the transaction ends."""
        with self._database.transaction() as connection:
            connection.execute(
                """SELECT h.id FROM hosts h JOIN agent_credentials c ON c.host_id = h.id
                   WHERE c.id = %s FOR NO KEY UPDATE OF h""",
                (credential_id,),
            )
            # Read anew: whoever held the lock before may have changed it.
            return self.find_agent(credential_id)

    def end_pending_credentials(self, host_id: str, now: int, *, keep: int) -> list[str]:
        """Supersede the host's pending credentials but the newest ``keep``, at once; return their ids."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                """UPDATE agent_credentials SET superseded_at = %(now)s, expires_at = %(now)s WHERE id IN (
                     SELECT id FROM agent_credentials WHERE host_id = %(host)s AND activated_at IS NULL
                     AND superseded_at IS NULL AND revoked_at IS NULL
                     ORDER BY issued_at DESC, id OFFSET %(keep)s) RETURNING id""",
                {"now": at_ms(now), "host": host_id, "keep": keep},
            ).fetchall()
        return [str(row["id"]) for row in rows]

    def activate_agent_credential(self, credential_id: str, now: int, *, others_end_at: int) -> list[str]:
        """Note the first use of a pending credential, and supersede the host's others; return their ids."""
        with self._database.transaction() as connection:
            row = connection.execute(
                "UPDATE agent_credentials SET activated_at = %s WHERE id = %s RETURNING host_id",
                (at_ms(now), credential_id),
            ).fetchone()
            if row is None:
                return []
            rows = connection.execute(
                """UPDATE agent_credentials SET superseded_at = %(now)s,
                     expires_at = least(expires_at, CASE WHEN activated_at IS NULL THEN %(now)s ELSE %(end)s END)
                   WHERE host_id = %(host)s AND id <> %(id)s AND revoked_at IS NULL AND superseded_at IS NULL
                   RETURNING id""",
                {
                    "now": at_ms(now),
                    "end": at_ms(others_end_at),
                    "host": row["host_id"],
                    "id": credential_id,
                },
            ).fetchall()
        return [str(row["id"]) for row in rows]

    def note_reuse(self, credential_id: str, now: int) -> bool:
        """Remember that a superseded credential was used; False when that was remembered within the last hour."""
        with self._database.transaction() as connection:
            return (
                connection.execute(
                    """UPDATE agent_credentials SET reuse_noted_at = %(now)s WHERE id = %(id)s
                       AND (reuse_noted_at IS NULL OR reuse_noted_at < %(now)s::timestamptz - interval '1 hour')""",
                    {"now": at_ms(now), "id": credential_id},
                ).rowcount
                == 1
            )

    def end_agent_credentials(self, host_id: str, now: int) -> list[str]:
        """Revoke the host's credentials; return their ids."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                """UPDATE agent_credentials SET revoked_at = %s WHERE host_id = %s AND revoked_at IS NULL
                   RETURNING id""",
                (at_ms(now), host_id),
            ).fetchall()
        return [str(row["id"]) for row in rows]

    def retire_host(self, host_id: str, now: int) -> bool:
        """Retire the host; False when it is unknown or retired already."""
        with self._database.transaction() as connection:
            return (
                connection.execute(
                    "UPDATE hosts SET retired_at = %s WHERE id = %s AND retired_at IS NULL",
                    (at_ms(now), host_id),
                ).rowcount
                == 1
            )

    def suspect_clone(self, host_id: str, now: int | None) -> None:
        """Mark the host as cloned since ``now``, or clear the mark."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE hosts SET clone_suspected_at = %s WHERE id = %s", (at_ms(now), host_id)
            )

    def agents(self, *, after_id: str | None, limit: int, retired: bool) -> Sequence[Agent]:
        """Return hosts with the credential they use, by host id."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                _AGENTS + " WHERE h.id > %s AND (%s OR h.retired_at IS NULL) ORDER BY h.id LIMIT %s",
                (after_id or "", retired, limit),
            ).fetchall()
        return [_agent(row) for row in rows]

    def agent(self, host_id: str) -> Agent | None:
        """Return one of them."""
        with self._database.transaction() as connection:
            row = connection.execute(_AGENTS + " WHERE h.id = %s", (host_id,)).fetchone()
        return None if row is None else _agent(row)

    # API tokens

    def add_api_token(self, token: ApiToken, secret_hash: bytes) -> None:
        """Insert a token."""
        with self._database.transaction() as connection:
            connection.execute(
                """INSERT INTO api_tokens (id, secret_hash, name, owner_id, scopes, created_at, expires_at)
                   VALUES (%s, %s, %s, %s, %s, %s, %s)""",
                (
                    token.id,
                    secret_hash,
                    token.name,
                    token.owner_id,
                    [str(scope) for scope in token.scopes],
                    at_ms(token.created_at),
                    at_ms(token.expires_at),
                ),
            )

    def api_tokens(self, *, owner_id: str | None, after_id: str | None, limit: int) -> Sequence[ApiToken]:
        """Return tokens by id, all of them or one person's."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                """SELECT * FROM api_tokens WHERE id > %(after)s AND (%(owner)s::text IS NULL OR owner_id = %(owner)s)
                   ORDER BY id LIMIT %(limit)s""",
                {"after": after_id or "", "owner": owner_id, "limit": limit},
            ).fetchall()
        return [_api_token(row) for row in rows]

    def api_token(self, token_id: str) -> ApiToken | None:
        """Return one token."""
        with self._database.transaction() as connection:
            row = connection.execute("SELECT * FROM api_tokens WHERE id = %s", (token_id,)).fetchone()
        return None if row is None else _api_token(row)

    def revoke_api_token(self, token_id: str, now: int, *, owner_id: str | None = None) -> bool:
        """Revoke the token, if it is the owner's where one is named; False when there is none that works."""
        with self._database.transaction() as connection:
            return (
                connection.execute(
                    """UPDATE api_tokens SET revoked_at = %(now)s WHERE id = %(id)s AND revoked_at IS NULL
                       AND (%(owner)s::text IS NULL OR owner_id = %(owner)s)""",
                    {"now": at_ms(now), "id": token_id, "owner": owner_id},
                ).rowcount
                == 1
            )


def _facts(machine: Machine) -> dict[str, str | int]:
    return {"kernel": machine.kernel, "cpus": machine.cpus, "memory_bytes": machine.memory_bytes}


def _scopes(row: Row) -> tuple[Permission, ...]:
    # A permission that has been renamed or dropped since grants nothing.
    known = set(Permission)
    return tuple(Permission(scope) for scope in row["scopes"] if scope in known)


def _agent_credential(row: Row) -> StoredCredential:
    return StoredCredential(
        id=row["id"],
        secret_hash=row["secret_hash"],
        revoked=row["revoked_at"] is not None,
        expires_at=ms(row["expires_at"]),
        host_id=row["host_id"],
        issued_at=ms(row["issued_at"]),
        pending=row["activated_at"] is None,
        superseded_at=ms(row["superseded_at"]),
    )


def _enrolment_token(row: Row) -> EnrolmentToken:
    return EnrolmentToken(
        id=row["id"],
        name=row["name"],
        created_by=row["created_by"],
        created_at=ms(row["created_at"]),
        expires_at=ms(row["expires_at"]),
        max_uses=row["max_uses"],
        uses=row["uses"],
        labels=row["labels"],
        host_id=row["host_id"],
        revoked_at=ms(row["revoked_at"]),
    )


def _api_token(row: Row) -> ApiToken:
    return ApiToken(
        id=row["id"],
        name=row["name"],
        owner_id=row["owner_id"],
        scopes=_scopes(row),
        created_at=ms(row["created_at"]),
        expires_at=ms(row["expires_at"]),
        last_used_at=ms(row["last_used_at"]),
        revoked_at=ms(row["revoked_at"]),
    )


def _agent(row: Row) -> Agent:
    return Agent(
        host_id=row["host_id"],
        name=row["name"],
        agent_version=row["agent_version"],
        enrolled_at=ms(row["enrolled_at"]),
        last_seen_at=ms(row["last_seen_at"]),
        retired_at=ms(row["retired_at"]),
        clone_suspected_at=ms(row["clone_suspected_at"]),
        credential_id=row["credential_id"],
        credential_issued_at=ms(row["issued_at"]),
        credential_last_used_at=ms(row["last_used_at"]),
    )
