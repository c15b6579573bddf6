"""Token buckets: the quota holds, it refills, all or nothing, and without Redis each process counts alone."""

from __future__ import annotations

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from farwatch.adapters.redis.client import connect
from farwatch.adapters.redis.rate_limits import RedisBuckets
from farwatch.domain.rbac import Caller, Role, agent_principal, user_principal
from farwatch.http.limits import rate_limit_headers
from farwatch.services.rate_limits import POLICIES, Policy, SpendRateLimits

SMALL = Policy("small", 5, 60)
WIDE = Policy("wide", 100, 60)
NOBODY_LISTENS = "redis://127.0.0.1:1/0"


class Clock:
    """A clock that is moved by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["redis", "alone"])
def buckets(request: pytest.FixtureRequest) -> RedisBuckets:
    url = request.getfixturevalue("redis_url") if request.param == "redis" else NOBODY_LISTENS
    return RedisBuckets(connect(url), Clock())


def test_the_quota_may_be_spent_at_once_and_no_more(buckets: RedisBuckets) -> None:
    found = [buckets.spend([("a", SMALL)])[0] for _ in range(7)]
    assert [a.refused for a in found] == [False] * 5 + [True] * 2
    assert [a.remaining for a in found[:5]] == [4, 3, 2, 1, 0]
    assert 1 <= found[5].retry_after_s <= 12
    assert not buckets.spend([("b", SMALL)])[0].refused, "another key has its own quota"


def test_a_refused_request_takes_nothing_from_any_bucket(buckets: RedisBuckets) -> None:
    for _ in range(5):
        buckets.spend([("a", SMALL), ("w", WIDE)])
    for _ in range(10):
        small, wide = buckets.spend([("a", SMALL), ("w", WIDE)])
        assert (small.refused, wide.refused) == (True, False)
    assert buckets.spend([("w", WIDE)])[0].remaining >= 94


def test_what_was_spent_comes_back_evenly() -> None:
    clock = Clock()
    buckets = RedisBuckets(connect(NOBODY_LISTENS), clock)
    for _ in range(6):
        last = buckets.spend([("a", SMALL)])[0]
    assert last.retry_after_s == 12
    clock.now = 11.0
    assert buckets.spend([("a", SMALL)])[0].refused
    clock.now = 12.5
    assert not buckets.spend([("a", SMALL)])[0].refused
    assert buckets.spend([("a", SMALL)])[0].refused


@given(st.lists(st.floats(0, 30), max_size=40))
def test_no_window_ever_lets_more_through_than_quota_plus_refill(pauses: list[float]) -> None:
    clock = Clock()
    buckets = RedisBuckets(connect(NOBODY_LISTENS), clock)
    let_through = 0
    for pause in pauses:
        clock.now += pause
        let_through += not buckets.spend([("a", SMALL)])[0].refused
    assert let_through <= SMALL.quota + clock.now * SMALL.quota / SMALL.window_s + 1e-6


def test_two_containers_share_one_quota(redis_url: str) -> None:
    both = [RedisBuckets(connect(redis_url)), RedisBuckets(connect(redis_url))]
    found = [both[n % 2].spend([("a", SMALL)])[0].refused for n in range(6)]
    assert found == [False] * 5 + [True]


def test_buckets_do_not_stay_in_redis_for_ever(redis_url: str) -> None:
    RedisBuckets(connect(redis_url)).spend([("a", SMALL)])
    with redis.Redis.from_url(redis_url) as client:
        assert 0 < int(str(client.ttl("limit:a"))) <= 61


def test_a_caller_spends_its_own_its_addresss_and_the_routes_limit(redis_url: str) -> None:
    limits = SpendRateLimits(RedisBuckets(connect(redis_url)))
    person = Caller(user_principal("user_1", Role.VIEWER, "s"), address="192.0.2.1")
    found = limits.spend(person, "heavy")
    assert [a.policy for a in found] == ["user", "address", "heavy"]
    agent = Caller(agent_principal("c", "host_1"), address="192.0.2.1")
    assert [a.policy for a in limits.spend(agent, None)] == ["agent", "address"]
    headers = rate_limit_headers(found)
    quota = POLICIES["user"].quota
    assert headers["RateLimit-Policy"].startswith(f'"user";q={quota};w=60, "address"')
    assert headers["RateLimit"].startswith(f'"user";r={quota - 1};t=')
