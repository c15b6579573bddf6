"""Answers kept for idempotency keys, encrypted: some of them show a credential once, and Redis must not show it twice."""

from __future__ import annotations

import os

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from farwatch.adapters.redis.client import Redis, guarded
from farwatch.ports.http import Reply

KEPT_S = 86_400
CLAIM_S = 60


class RedisReplies:
    """Implements ``farwatch.ports.http.ReplyStore``; ``key`` is 32 bytes, derived from the pepper."""

    def __init__(self, redis: Redis, key: bytes) -> None:
        self._redis = redis
        self._cipher = AESGCM(key)

    def claim(self, key: str, body_hash: str) -> Reply | None:
        """Return None after reserving ``key`` for this request, or the reply (or reservation) that is there.

        A reservation lapses after a minute, longer than any function may run, should its holder die.
        """
        name = f"reply:{key}"
        with guarded():
            if self._redis.set(name, self._seal(name, Reply(body_hash)), ex=CLAIM_S, nx=True):
                return None
            found = self._redis.get(name)
        if not isinstance(found, bytes):
            return Reply(body_hash)  # it lapsed between the two calls: let the caller try again
        return self._open(name, found)

    def keep(self, key: str, reply: Reply) -> None:
        """Store the answer for a day."""
        name = f"reply:{key}"
        with guarded():
            self._redis.set(name, self._seal(name, reply), ex=KEPT_S)

    def release(self, key: str) -> None:
        """Give up the reservation: the request failed and may be tried again."""
        with guarded():
            self._redis.delete(f"reply:{key}")

    def _seal(self, name: str, reply: Reply) -> bytes:
        nonce = os.urandom(12)
        return nonce + self._cipher.encrypt(nonce, msgspec.json.encode(reply), name.encode())

    def _open(self, name: str, sealed: bytes) -> Reply | None:
        try:
            text = self._cipher.decrypt(sealed[:12], sealed[12:], name.encode())
        except InvalidTag:
            return None  # sealed under an earlier pepper: as good as forgotten
        return msgspec.json.decode(text, type=Reply)
