"""Machine credentials: ``<kind>_<id>_<secret>``, and the keyed hash under which they are stored.

The prefix says what it is (and lets secret scanners find a leaked one), the id is looked up, the secret is 256 random
bits. Secrets with that much entropy need no slow hash: HMAC-SHA256 under the installation's pepper makes a stolen table
worthless without the pepper, and costs microseconds. Passwords are another matter (argon2id, in the adapters).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from enum import StrEnum


class CredentialKind(StrEnum):
    """The prefix of a credential."""

    AGENT = "fwa"
    TOKEN = "fwt"  # noqa: S105 - a prefix, not a secret
    ENROLMENT = "fwe"


_FORM = re.compile(r"(fwa|fwt|fwe)_([0-9a-f]{16})_([0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential in the clear; ``str()`` of it never shows the secret."""

    kind: CredentialKind
    id: str
    secret: str = field(repr=False)

    def text(self) -> str:
        """Return the credential as its holder presents it."""
        return f"{self.kind}_{self.id}_{self.secret}"

    def hashed(self, key: bytes) -> bytes:
        """Return what is stored: HMAC-SHA256 under ``key`` over the whole credential, so no row fits another's secret."""
        return hmac.digest(key, self.text().encode(), hashlib.sha256)

    def fits(self, stored: bytes, key: bytes) -> bool:
        """Return whether ``stored`` is the hash of this credential; takes the same time either way."""
        return hmac.compare_digest(stored, self.hashed(key))


def new_credential(kind: CredentialKind) -> Credential:
    """Return a fresh random credential."""
    return Credential(kind, secrets.token_hex(8), secrets.token_hex(32))


def parse_credential(text: str) -> Credential | None:
    """Return the credential in ``text``, or None when it does not have the form of one."""
    found = _FORM.fullmatch(text)
    return Credential(CredentialKind(found[1]), found[2], found[3]) if found else None


def renewal_due(credential_id: str, issued_at: int, lifetime_ms: int, now: int) -> bool:
    """Return whether an agent should replace its credential; times are epoch ms, ``lifetime_ms`` the age it may reach.

    Due between 80 and 100 % of that age, by the credential's own random id: agents enrolled in one afternoon do not
    come back in one afternoon.
    """
    share = int(credential_id, 16) / (1 << 4 * len(credential_id))
    return now >= issued_at + round(lifetime_ms * (0.8 + 0.2 * share))


def new_one_time_token() -> str:
    """Return 256 random bits, URL-safe, for invitations, password resets, refresh tokens and WebSocket tickets."""
    return secrets.token_urlsafe(32)


def hash_token(token: str, key: bytes) -> bytes:
    """Return the keyed hash under which a one-time token is stored and looked up."""
    return hmac.digest(key, token.encode("utf-8", "surrogatepass"), hashlib.sha256)


def derive_key(pepper: str, purpose: str) -> bytes:
    """Return 32 bytes for one purpose (HKDF-SHA256, RFC 5869, one block), so no two uses share a key."""
    extracted = hmac.digest(b"farwatch", pepper.encode(), hashlib.sha256)
    return hmac.digest(extracted, purpose.encode() + b"\x01", hashlib.sha256)
