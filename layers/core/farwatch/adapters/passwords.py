"""argon2id, with the parameters of RFC 9106's second recommended option (64 MiB, 3 passes, 4 lanes)."""

from __future__ import annotations

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_NO_PASSWORD = "a password that nobody has, hashed to take as long as a real one"  # noqa: S105


class Argon2Passwords:
    """Implements ``farwatch.ports.proofs.Passwords``; tests pass a cheaper ``hasher``."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher if hasher is not None else PasswordHasher()
        self._dummy: str | None = None

    def hash(self, password: str) -> str:
        """Return the hash to store."""
        return self._hasher.hash(password)

    def fits(self, password: str, stored: str | None) -> bool:
        """Return whether the password fits; takes as long when there is nothing stored to compare with."""
        if stored is None:
            if self._dummy is None:
                self._dummy = self._hasher.hash(_NO_PASSWORD)
            self._verify(password, self._dummy)
            return False
        return self._verify(password, stored)

    def outdated(self, stored: str) -> bool:
        """Return whether the hash was made with weaker parameters than today's."""
        return self._hasher.check_needs_rehash(stored)

    def _verify(self, password: str, stored: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False
