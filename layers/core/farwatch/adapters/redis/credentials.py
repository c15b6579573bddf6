"""The authoriser's view of machine credentials: PostgreSQL's rows, kept in Redis for half a minute.

With Redis down every look-up goes to PostgreSQL: slower, and never wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from farwatch.adapters.postgres.credentials import PostgresCredentials
from farwatch.adapters.redis.client import Redis, guarded
from farwatch.errors import Unavailable
from farwatch.observability import logger
from farwatch.ports.credentials import StoredCredential

CACHE_S = 30
NOTE_USE_S = 60
_TABLES = {"agent": "agent_credentials", "token": "api_tokens"}


class CachedCredentials:
    """Implements ``farwatch.ports.credentials.CredentialLookup``."""

    def __init__(self, redis: Redis, stored: PostgresCredentials) -> None:
        self._redis = redis
        self._stored = stored
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(StoredCredential).decode

    def agent(self, credential_id: str) -> StoredCredential | None:
        """Return an agent credential of a host that is not retired."""
        return self._find("agent", credential_id, self._stored.find_agent)

    def token(self, token_id: str) -> StoredCredential | None:
        """Return an API token whose owner may still sign in."""
        return self._find("token", token_id, self._stored.find_token)

    def note_use(self, kind: str, credential_id: str, now: int) -> None:
        """Remember that the credential was used, at most once a minute; a cache that is down costs the remark only."""
        try:
            with guarded():
                first = self._redis.set(f"used:{kind}:{credential_id}", b"1", ex=NOTE_USE_S, nx=True)
        except Unavailable:
            return
        if first:
            self._stored.note_use(_TABLES[kind], credential_id, now)

    def forget(self, kind: str, credential_ids: Sequence[str]) -> None:
        """Drop the credentials from the cache; should that fail, they are forgotten within half a minute anyway."""
        if not credential_ids:
            return
        try:
            with guarded():
                self._redis.delete(
                    *(f"credential:{kind}:{credential_id}" for credential_id in credential_ids)
                )
        except Unavailable as error:
            logger.warning("credential cache not cleared", extra={"reason": error.message})

    def _find(
        self, kind: str, credential_id: str, find: Callable[[str], StoredCredential | None]
    ) -> StoredCredential | None:
        key = f"credential:{kind}:{credential_id}"
        try:
            with guarded():
                cached = self._redis.get(key)
            if isinstance(cached, bytes):
                return self._decode(cached)
            cache_is_up = True
        except (Unavailable, msgspec.DecodeError) as error:
            logger.warning("credential cache not usable, reading the database", extra={"reason": str(error)})
            cache_is_up = False
        found = find(credential_id)
        if found is not None and cache_is_up:
            try:
                with guarded():
                    self._redis.set(key, self._encode(found), ex=CACHE_S)
            except Unavailable as error:
                logger.warning("credential not cached", extra={"reason": error.message})
        return found
