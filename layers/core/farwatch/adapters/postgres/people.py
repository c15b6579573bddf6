"""People, invitations and password resets in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg

from farwatch.adapters.postgres.database import Database, Row
from farwatch.adapters.postgres.times import at_ms, ms
from farwatch.domain.people import User
from farwatch.domain.rbac import Role
from farwatch.errors import Conflict, PreconditionFailed
from farwatch.ports.people import Invitation


class PostgresPeople:
    """Implements ``farwatch.ports.people.People``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, user_id: str) -> User | None:
        """Return the user, disabled ones included."""
        with self._database.transaction() as connection:
            row = connection.execute("SELECT * FROM users WHERE id = %s", (user_id,)).fetchone()
        return None if row is None else _user(row)

    def lock(self, user_id: str) -> tuple[User, str | None] | None:
        """Return the user and the password hash, and keep others from changing them until the transaction ends."""
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT * FROM users WHERE id = %s FOR NO KEY UPDATE", (user_id,)
            ).fetchone()
        return None if row is None else (_user(row), row["password_hash"])

    def by_email(self, email: str) -> tuple[User, str | None] | None:
        """Return the user with the address, and the password hash when there is one."""
        with self._database.transaction() as connection:
            row = connection.execute("SELECT * FROM users WHERE lower(email) = %s", (email,)).fetchone()
        return None if row is None else (_user(row), row["password_hash"])

    def by_identity(self, identity: str) -> User | None:
        """Return the user linked to an identity at the identity provider."""
        with self._database.transaction() as connection:
            row = connection.execute("SELECT * FROM users WHERE identity = %s", (identity,)).fetchone()
        return None if row is None else _user(row)

    def page(self, *, after_id: str | None, limit: int) -> Sequence[User]:
        """Return up to ``limit`` users by id, after ``after_id``."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                "SELECT * FROM users WHERE id > %s ORDER BY id LIMIT %s", (after_id or "", limit)
            ).fetchall()
        return [_user(row) for row in rows]

    def add(self, user: User, password_hash: str | None) -> None:
        """Insert the user; raises Conflict (``already_exists``) when the address is taken."""
        try:
            with self._database.transaction() as connection:
                connection.execute(
                    """INSERT INTO users (id, email, name, role, password_hash, identity, created_at, password_changed_at)
                       VALUES (%s, %s, %s, %s, %s, %s, %s, %s)""",
                    (
                        user.id,
                        user.email,
                        user.name,
                        str(user.role),
                        password_hash,
                        user.identity,
                        at_ms(user.created_at),
                        at_ms(user.created_at) if password_hash else None,
                    ),
                )
        except psycopg.errors.UniqueViolation as error:
            raise Conflict("somebody has this e-mail address already", code="already_exists") from error

    def save(self, user: User, expected_version: int) -> None:
        """Store name, role, identity and disabled_at; raises PreconditionFailed when the version has moved on."""
        with self._database.transaction() as connection:
            changed = connection.execute(
                """UPDATE users SET name = %s, role = %s, identity = %s, disabled_at = %s, version = version + 1
                   WHERE id = %s AND version = %s""",
                (
                    user.name,
                    str(user.role),
                    user.identity,
                    at_ms(user.disabled_at),
                    user.id,
                    expected_version,
                ),
            ).rowcount
        if changed != 1:
            raise PreconditionFailed("somebody changed this user first: read it again")

    def set_password(self, user_id: str, password_hash: str, now: int) -> None:
        """Replace the password hash."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE users SET password_hash = %s, password_changed_at = %s WHERE id = %s",
                (password_hash, at_ms(now), user_id),
            )

    def note_login(self, user_id: str, now: int) -> None:
        """Remember when the user last signed in."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE users SET last_login_at = %s WHERE id = %s", (at_ms(now), user_id))

    def lock_admins(self) -> int:
        """Lock every active administrator's row until the transaction ends; return how many there are."""
        with self._database.transaction() as connection:
            return len(
                connection.execute(
                    "SELECT id FROM users WHERE role = 'admin' AND disabled_at IS NULL ORDER BY id FOR UPDATE"
                ).fetchall()
            )

    def count(self) -> int:
        """Return how many users there are, disabled ones included."""
        with self._database.transaction() as connection:
            row = connection.execute("SELECT count(*) AS n FROM users").fetchone()
        return int(row["n"]) if row is not None else 0

    def add_invitation(self, invitation: Invitation, token_hash: bytes) -> None:
        """Insert an invitation; an open one for the same address is revoked."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE invitations SET revoked_at = now() WHERE lower(email) = %s AND accepted_at IS NULL",
                (invitation.email,),
            )
            connection.execute(
                """INSERT INTO invitations (id, email, name, role, token_hash, invited_by, created_at, expires_at)
                   VALUES (%s, %s, %s, %s, %s, %s, %s, %s)""",
                (
                    invitation.id,
                    invitation.email,
                    invitation.name,
                    str(invitation.role),
                    token_hash,
                    invitation.invited_by,
                    at_ms(invitation.created_at),
                    at_ms(invitation.expires_at),
                ),
            )

    def open_invitations(self, now: int) -> Sequence[Invitation]:
        """Return the invitations that can still be accepted, newest first."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                """SELECT * FROM invitations WHERE accepted_at IS NULL AND revoked_at IS NULL AND expires_at > %s
                   ORDER BY id DESC LIMIT 500""",
                (at_ms(now),),
            ).fetchall()
        return [_invitation(row) for row in rows]

    def take_invitation(self, token_hash: bytes, now: int) -> Invitation | None:
        """Mark the invitation accepted and return it, or None when it was used, revoked, has expired or never was."""
        with self._database.transaction() as connection:
            row = connection.execute(
                """UPDATE invitations SET accepted_at = %(now)s WHERE token_hash = %(hash)s AND accepted_at IS NULL
                   AND revoked_at IS NULL AND expires_at > %(now)s RETURNING *""",
                {"now": at_ms(now), "hash": token_hash},
            ).fetchone()
        return None if row is None else _invitation(row)

    def revoke_invitation(self, invitation_id: str, now: int) -> bool:
        """Revoke an open invitation; False when there is none."""
        with self._database.transaction() as connection:
            return (
                connection.execute(
                    """UPDATE invitations SET revoked_at = %s
                       WHERE id = %s AND accepted_at IS NULL AND revoked_at IS NULL""",
                    (at_ms(now), invitation_id),
                ).rowcount
                == 1
            )

    def add_reset(self, user_id: str, token_hash: bytes, expires_at: int) -> None:
        """Insert a password reset; earlier ones of the same user stop working."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM password_resets WHERE user_id = %s", (user_id,))
            connection.execute(
                "INSERT INTO password_resets (token_hash, user_id, expires_at) VALUES (%s, %s, %s)",
                (token_hash, user_id, at_ms(expires_at)),
            )

    def take_reset(self, token_hash: bytes, now: int) -> str | None:
        """Mark the reset used and return the user's id, or None when it cannot be used."""
        with self._database.transaction() as connection:
            row = connection.execute(
                """UPDATE password_resets SET used_at = %(now)s
                   WHERE token_hash = %(hash)s AND used_at IS NULL AND expires_at > %(now)s RETURNING user_id""",
                {"now": at_ms(now), "hash": token_hash},
            ).fetchone()
        return None if row is None else str(row["user_id"])


def _user(row: Row) -> User:
    return User(
        id=row["id"],
        email=row["email"],
        name=row["name"],
        role=Role(row["role"]),
        created_at=ms(row["created_at"]),
        last_login_at=ms(row["last_login_at"]),
        disabled_at=ms(row["disabled_at"]),
        has_password=row["password_hash"] is not None,
        identity=row["identity"],
        version=row["version"],
    )


def _invitation(row: Row) -> Invitation:
    return Invitation(
        id=row["id"],
        email=row["email"],
        name=row["name"],
        role=Role(row["role"]),
        invited_by=row["invited_by"],
        created_at=ms(row["created_at"]),
        expires_at=ms(row["expires_at"]),
    )
