"""Token buckets in Redis, spent in one atomic script; in the process itself while Redis is down.

The fallback is the documented safe choice for an outage: limits do not vanish, they hold per container instead of for
the whole installation.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import cast

from farwatch.adapters.redis.client import Redis, guarded
from farwatch.errors import Unavailable
from farwatch.observability import logger
from farwatch.ports.http import Allowance
from farwatch.services.rate_limits import Policy

# For each bucket: refill by the time gone by, and take one only if every bucket has one. Returns what each has left,
# in thousandths. Redis' own clock is used, so containers whose clocks differ share one truth.
_SPEND = """
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
local left, enough = {}, 1
for i, key in ipairs(KEYS) do
  local quota, window = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i]) * 1000
  local b = redis.call('HMGET', key, 'n', 'at')
  local n = quota
  if b[1] then n = math.min(quota, tonumber(b[1]) + (now - tonumber(b[2])) * quota / window) end
  left[i] = n
  if n < 1 then enough = 0 end
end
local out = {enough}
for i, key in ipairs(KEYS) do
  local n = left[i] - enough
  redis.call('HSET', key, 'n', tostring(n), 'at', tostring(now))
  redis.call('EXPIRE', key, tonumber(ARGV[2 * i]) + 1)
  out[i + 1] = math.floor(n * 1000)
end
return out
"""


class RedisBuckets:
    """Implements ``farwatch.services.rate_limits.Buckets``."""

    def __init__(self, redis: Redis, clock: Callable[[], float] = time.monotonic) -> None:
        self._script = redis.register_script(_SPEND)
        self._own = _OwnBuckets(clock)

    def spend(self, wanted: Sequence[tuple[str, Policy]]) -> Sequence[Allowance]:
        """Take one from every bucket in one step, or from none when any of them is empty."""
        policies = [policy for _, policy in wanted]
        arguments = [number for policy in policies for number in (policy.quota, policy.window_s)]
        try:
            with guarded():
                found = cast(
                    list[int], self._script(keys=[f"limit:{name}" for name, _ in wanted], args=arguments)
                )
        except Unavailable as error:
            logger.warning("rate limits hold per container only", extra={"reason": error.message})
            found = self._own.spend(wanted)
        refused = found[0] == 0
        return [
            _allowance(policy, left / 1000, refused=refused)
            for policy, left in zip(policies, found[1:], strict=True)
        ]


class _OwnBuckets:
    """The same buckets in this process; forgets everything when it holds too many, which only refills them."""

    MOST = 10_000

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def spend(self, wanted: Sequence[tuple[str, Policy]]) -> list[int]:
        now = self._clock()
        if len(self._buckets) > self.MOST:
            self._buckets.clear()
        left = []
        for name, policy in wanted:
            n, at = self._buckets.get(name, (float(policy.quota), now))
            left.append(min(float(policy.quota), n + (now - at) * policy.quota / policy.window_s))
        enough = int(all(n >= 1 for n in left))
        for (name, _), n in zip(wanted, left, strict=True):
            self._buckets[name] = (n - enough, now)
        return [enough, *(math.floor((n - enough) * 1000) for n in left)]


def _allowance(policy: Policy, left: float, *, refused: bool) -> Allowance:
    per_second = policy.quota / policy.window_s
    empty = refused and left < 1
    return Allowance(
        policy=policy.name,
        quota=policy.quota,
        window_s=policy.window_s,
        remaining=max(0, math.floor(left)),
        reset_s=math.ceil((policy.quota - left) / per_second),
        retry_after_s=max(1, math.ceil((1 - left) / per_second)) if empty else 0,
    )
