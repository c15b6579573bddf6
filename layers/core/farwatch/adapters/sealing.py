"""Secrets at rest: AES-256-GCM under a key derived from the installation's pepper."""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from farwatch.domain.credentials import derive_key
from farwatch.errors import Misconfigured

_NONCE = 12
_VERSION = b"\x01"


class Sealer:
    """Seals bytes for one owner. A sealed value copied to another owner's row does not open there.

    The stored form is a version byte, a random 96-bit nonce, then ciphertext and tag (NIST SP 800-38D).
    """

    def __init__(self, pepper: str) -> None:
        self._cipher = AESGCM(derive_key(pepper, "sealed columns v1"))

    def seal(self, plain: bytes, owner: str) -> bytes:
        """Return ``plain`` sealed for ``owner`` (the id of its row)."""
        nonce = os.urandom(_NONCE)
        return _VERSION + nonce + self._cipher.encrypt(nonce, plain, _VERSION + owner.encode())

    def open(self, sealed: bytes, owner: str) -> bytes:
        """Return what was sealed. Raises Misconfigured when it was sealed under another pepper or for another owner."""
        nonce, body = sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :]
        try:
            return self._cipher.decrypt(nonce, body, sealed[:1] + owner.encode())
        except (InvalidTag, ValueError):
            raise Misconfigured(
                f"the stored secret of {owner} does not open with this installation's pepper; "
                "enter it again, or restore the secrets document it was stored under",
                code="sealed_elsewhere",
            ) from None
