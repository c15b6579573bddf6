"""Sign-in sessions, WebSocket tickets, spent identity tokens and the memory of failed sign-ins, in Redis.

A session is a hash ``session:<id>``; ``sessions_of:<user>`` lists a person's. Losing them means signing in again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, cast

from farwatch.adapters.redis.client import Redis, guarded
from farwatch.domain.credentials import new_one_time_token
from farwatch.domain.rbac import Role
from farwatch.ports.sessions import ReusedToken, Session

# Comparing and replacing in one step is what makes a refresh token single-use under concurrency.
_ROTATE = """
local s = redis.call('HMGET', KEYS[1], 'refresh', 'user_id', 'expires_at')
if not s[1] then return {0} end
if s[1] ~= ARGV[1] then
  local used = redis.call('SISMEMBER', KEYS[2], ARGV[1])
  if used == 1 then
    redis.call('DEL', KEYS[1], KEYS[2])
    return {2, s[2]}
  end
  return {0}
end
redis.call('HSET', KEYS[1], 'refresh', ARGV[2], 'refreshed_at', ARGV[3])
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('PEXPIREAT', KEYS[2], s[3])
return {1}
"""


class RedisSessions:
    """Implements ``farwatch.ports.sessions.Sessions``."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._rotate = redis.register_script(_ROTATE)

    def start(self, session: Session, refresh_hash: bytes) -> None:
        """Store a new session."""
        key = f"session:{session.id}"
        fields: dict[Any, Any] = {
            "user_id": session.user_id,
            "role": str(session.role),
            "created_at": session.created_at,
            "expires_at": session.expires_at,
            "refreshed_at": session.created_at,
            "address": session.address,
            "user_agent": session.user_agent,
            "refresh": refresh_hash,
        }
        with guarded(), self._redis.pipeline(transaction=True) as pipeline:
            pipeline.hset(key, mapping=fields)
            pipeline.pexpireat(key, session.expires_at)
            pipeline.sadd(f"sessions_of:{session.user_id}", session.id)
            pipeline.pexpireat(f"sessions_of:{session.user_id}", session.expires_at)
            pipeline.execute()

    def get(self, session_id: str) -> Session | None:
        """Return the session, or None when it was ended or has expired."""
        with guarded():
            found = cast(dict[bytes, bytes], self._redis.hgetall(f"session:{session_id}"))
        return _session(session_id, found)

    def rotate(self, session_id: str, presented: bytes, replacement: bytes, now: int) -> Session | None:
        """Exchange the refresh token in one step and return the session; see the port."""
        keys = [f"session:{session_id}", f"spent:{session_id}"]
        with guarded():
            result = cast(list[Any], self._rotate(keys=keys, args=[presented, replacement, now]))
        if result[0] == 2:
            raise ReusedToken(result[1].decode())
        return self.get(session_id) if result[0] == 1 else None

    def end(self, session_id: str) -> None:
        """End one session."""
        with guarded():
            user_id = cast(bytes | None, self._redis.hget(f"session:{session_id}", "user_id"))
            self._redis.delete(f"session:{session_id}", f"spent:{session_id}")
            if user_id is not None:
                self._redis.srem(f"sessions_of:{user_id.decode()}", session_id)

    def end_all(self, user_id: str, *, but: str | None = None) -> int:
        """End every session of a person except ``but``; return how many."""
        with guarded():
            found = cast(set[bytes], self._redis.smembers(f"sessions_of:{user_id}"))
            ended = [session_id.decode() for session_id in found if session_id.decode() != but]
            if ended:
                self._redis.delete(*(f"session:{i}" for i in ended), *(f"spent:{i}" for i in ended))
                self._redis.srem(f"sessions_of:{user_id}", *ended)
        return len(ended)

    def of_user(self, user_id: str) -> Sequence[Session]:
        """Return a person's live sessions, newest first."""
        with guarded():
            ids = sorted(cast(set[bytes], self._redis.smembers(f"sessions_of:{user_id}")))
            with self._redis.pipeline(transaction=False) as pipeline:
                for session_id in ids:
                    pipeline.hgetall(f"session:{session_id.decode()}")
                found = pipeline.execute()
        sessions = [_session(i.decode(), fields) for i, fields in zip(ids, found, strict=True)]
        return sorted((s for s in sessions if s is not None), key=lambda s: s.created_at, reverse=True)


def _session(session_id: str, fields: dict[bytes, bytes]) -> Session | None:
    if not fields:
        return None
    return Session(
        id=session_id,
        user_id=fields[b"user_id"].decode(),
        role=Role(fields[b"role"].decode()),
        created_at=int(fields[b"created_at"]),
        expires_at=int(fields[b"expires_at"]),
        refreshed_at=int(fields[b"refreshed_at"]),
        address=fields[b"address"].decode(),
        user_agent=fields[b"user_agent"].decode(),
    )


class RedisSpentIdentities:
    """Implements ``farwatch.ports.sessions.SpentIdentities``: ``spent_identity:<token id>``."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def spend(self, token_id: str, until: int) -> bool:
        """Return whether the token was not spent yet, and remember it until ``until`` (epoch ms), in one step."""
        with guarded():
            return bool(self._redis.set(f"spent_identity:{token_id}", 1, nx=True, pxat=until))


class RedisTickets:
    """Implements ``farwatch.ports.sessions.Tickets``: ``ticket:<SHA-256 of the ticket>`` → who it was issued to."""

    TTL_S = 60

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def issue(self, user_id: str, role: Role, session_id: str, now: int) -> tuple[str, int]:
        """Return a new ticket and for how many seconds it is good."""
        ticket = new_one_time_token()
        value = {
            "user_id": user_id,
            "role": str(role),
            "session_id": session_id,
            "expires": str(now + self.TTL_S * 1000),
        }
        with guarded():
            self._redis.set(_ticket_key(ticket), json.dumps(value), ex=self.TTL_S)
        return ticket, self.TTL_S

    def redeem(self, ticket: str) -> dict[str, str] | None:
        """Return who the ticket was issued to, once; None ever after."""
        with guarded():
            found = self._redis.getdel(_ticket_key(ticket))
        if not isinstance(found, bytes):
            return None
        value = json.loads(found)
        return {str(name): str(text) for name, text in value.items()}


def _ticket_key(ticket: str) -> str:
    return "ticket:" + hashlib.sha256(ticket.encode("utf-8", "surrogatepass")).hexdigest()


class RedisLoginGuard:
    """Implements ``farwatch.ports.sessions.LoginGuard``.

    Five failures on an account from one address are free; each one after that doubles the wait, up to five
    minutes. Over all addresses twenty are free and the wait stays at 30 s, so guessing from many addresses is
    slow while nobody can lock somebody else out for long. Failures are forgotten after 15 minutes without one.
    """

    MEMORY_S = 900
    FREE, LONGEST_S = 5, 300
    FREE_ANYWHERE, WAIT_ANYWHERE_S = 20, 30

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def wait_s(self, email: str, address: str, now: int) -> int:
        """Return for how many seconds no attempt on the account from the address is taken; 0: go ahead."""
        here, anywhere = _failure_keys(email, address)
        with guarded(), self._redis.pipeline(transaction=False) as pipeline:
            pipeline.hmget(here, "n", "at")
            pipeline.hmget(anywhere, "n", "at")
            (n_here, at_here), (n_anywhere, at_anywhere) = pipeline.execute()
        return max(
            _left(at_here, _doubling(int(n_here or 0) - self.FREE, self.LONGEST_S), now),
            _left(
                at_anywhere, self.WAIT_ANYWHERE_S if int(n_anywhere or 0) >= self.FREE_ANYWHERE else 0, now
            ),
        )

    def failed(self, email: str, address: str, now: int) -> None:
        """Count a failed attempt."""
        with guarded(), self._redis.pipeline(transaction=True) as pipeline:
            for key in _failure_keys(email, address):
                pipeline.hincrby(key, "n", 1)
                pipeline.hset(key, "at", str(now))
                pipeline.expire(key, self.MEMORY_S)
            pipeline.execute()

    def succeeded(self, email: str, address: str) -> None:
        """Forget the failures of this account from this address, and do not count this attempt elsewhere."""
        here, anywhere = _failure_keys(email, address)
        with guarded(), self._redis.pipeline(transaction=True) as pipeline:
            pipeline.delete(here)
            pipeline.hincrby(anywhere, "n", -1)  # the attempt that was counted before it was checked
            pipeline.expire(anywhere, self.MEMORY_S)
            pipeline.execute()


def _failure_keys(email: str, address: str) -> tuple[str, str]:
    account = hashlib.sha256(email.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"failed:{account}:{address}", f"failed:{account}"


def _doubling(over: int, longest: int) -> int:
    return 0 if over < 0 else min(longest, 2 ** min(over, 20))


def _left(last: bytes | None, wait_s: int, now: int) -> int:
    if last is None or wait_s == 0:
        return 0
    return max(0, -(-(int(last) + wait_s * 1000 - now) // 1000))
