"""Agents, programs and tickets: enrolling, rotating, revoking, scopes."""

from __future__ import annotations

import re

import pytest

from farwatch.domain.rbac import COMMAND_LINE, Permission, Role
from farwatch.http.clock import now_ms
from tests.gateway import Answered, Gateway

HOUR = 3_600_000


@pytest.fixture
def admin(gateway: Gateway) -> str:
    return gateway.as_role(Role.ADMIN)


def enrol(gateway: Gateway, token: str, hostname: str = "web-1", **machine: object) -> Answered:
    return gateway("POST", "/api/v1/agents/enrol", {"token": token, "hostname": hostname, **machine})


def new_token(gateway: Gateway, admin: str, **wanted: object) -> Answered:
    return gateway("POST", "/api/v1/enrolment-tokens", wanted, token=admin)


def test_a_token_made_in_the_dashboard_enrols_one_machine_once(gateway: Gateway, admin: str) -> None:
    made = new_token(gateway, admin, name="rack 1", labels={"env": "prod"})
    assert made.status == 201
    assert made.body["token"] in made.body["install"]
    assert "https://farwatch.example" in made.body["install"]
    enrolled = enrol(gateway, made.body["token"], "web-3", labels={"env": "test", "rack": "1"}, cpus=4)
    assert enrolled.status == 201
    assert re.fullmatch(r"host_[0-9a-f]+", enrolled.body["host_id"])
    assert re.fullmatch(r"fwa_[0-9a-f]{16}_[0-9a-f]{64}", enrolled.body["credential"])
    host = gateway.container.adapters.hosts.get(enrolled.body["host_id"])
    assert host is not None
    assert (host.name, host.labels) == ("web-3", {"env": "prod", "rack": "1"}), (
        "the administrator's label wins"
    )
    assert enrol(gateway, made.body["token"], "web-4").body["code"] == "enrolment_refused"
    verdict = gateway.verdict(enrolled.body["credential"])
    assert (verdict["kind"], verdict["host_id"]) == ("agent", host.id)


def test_a_token_for_many_counts_its_uses_and_ends(gateway: Gateway, admin: str) -> None:
    token = new_token(gateway, admin, max_uses=2).body["token"]
    assert [enrol(gateway, token, f"web-{n}").status for n in range(3)] == [201, 201, 401]


def test_an_expired_revoked_or_made_up_token_enrols_nothing(gateway: Gateway, admin: str) -> None:
    expired = gateway.container.enrol.create_enrolment_token(COMMAND_LINE, now_ms() - 2 * HOUR)
    assert enrol(gateway, expired.text).status == 401
    revoked = new_token(gateway, admin)
    assert gateway("DELETE", revoked.headers["Location"], token=admin).status == 204
    assert enrol(gateway, revoked.body["token"]).status == 401
    real = new_token(gateway, admin).body["token"]
    for made_up in (real[:-1] + ("0" if real[-1] != "0" else "1"), "fwe_x", "", "fwa_" + real[4:]):
        assert enrol(gateway, made_up).status in {401, 422}
    assert gateway.container.adapters.credentials.agents(after_id=None, limit=10, retired=True) == []


def test_a_machine_that_comes_back_after_silence_keeps_its_host(gateway: Gateway, admin: str) -> None:
    first, old = gateway.enrolled("web-1", machine_id="m-1")
    again, new = gateway.enrolled("web-1", machine_id="m-1")
    assert again == first
    assert gateway.verdict(old) == {"kind": "refused", "reason": "revoked"}
    assert gateway.verdict(new)["host_id"] == first


def test_the_same_machine_id_while_the_host_still_reports_is_a_clone(gateway: Gateway, admin: str) -> None:
    first, credential = gateway.enrolled("web-1", machine_id="m-1")
    gateway.container.adapters.hosts.record_stored(first, "spool", 1, now_ms(), "0.1.0")
    clone, _ = gateway.enrolled("web-1", machine_id="m-1")
    assert clone != first
    assert gateway.verdict(credential)["kind"] == "agent", "the original goes on"
    shown = gateway("GET", f"/api/v1/agents/{first}", token=admin).body
    assert shown["clone_suspected_at"] is not None


def test_revoking_bites_at_once_and_the_host_can_be_enrolled_again(gateway: Gateway, admin: str) -> None:
    host_id, credential = gateway.enrolled()
    assert gateway.verdict(credential)["kind"] == "agent"
    assert gateway("POST", f"/api/v1/agents/{host_id}/revoke", token=admin).status == 204
    assert gateway.verdict(credential) == {"kind": "refused", "reason": "revoked"}
    token = gateway("POST", f"/api/v1/agents/{host_id}/re-enrol", token=admin)
    assert token.status == 201
    again = enrol(gateway, token.body["token"], "web-1")
    assert again.body["host_id"] == host_id
    assert gateway.verdict(again.body["credential"])["host_id"] == host_id


def test_a_retired_host_is_silent_for_good_unless_it_is_enrolled_again(gateway: Gateway, admin: str) -> None:
    host_id, credential = gateway.enrolled()
    assert gateway("POST", f"/api/v1/agents/{host_id}/retire", token=admin).status == 204
    assert gateway.verdict(credential)["kind"] == "refused"
    twice = gateway("POST", f"/api/v1/agents/{host_id}/retire", token=admin)
    assert (twice.status, twice.body["code"]) == (409, "host_retired")
    assert gateway("GET", "/api/v1/agents", token=admin).body["items"] == []
    shown = gateway("GET", "/api/v1/agents", token=admin, query={"retired": "true"}).body["items"]
    assert [agent["host_id"] for agent in shown] == [host_id]


def test_an_api_token_is_shown_once_scoped_dated_and_revocable(gateway: Gateway, admin: str) -> None:
    wanted = {"name": "grafana", "scopes": ["hosts:read", "metrics:read"], "expires_in_s": 3600}
    made = gateway("POST", "/api/v1/tokens", wanted, token=admin)
    assert made.status == 201
    secret = made.body["token"]
    verdict = gateway.verdict(secret)
    assert (verdict["kind"], verdict["scopes"]) == ("token", "hosts:read,metrics:read")
    listed = gateway("GET", "/api/v1/tokens", token=admin)
    assert secret.split("_")[2] not in listed.raw
    assert listed.body["items"][0]["last_used_at"] is not None
    late = gateway.container.access.verdict(f"Bearer {secret}", now_ms() + HOUR)
    assert late == {"kind": "refused", "reason": "expired"}
    assert gateway("DELETE", made.headers["Location"], token=admin).status == 204
    assert gateway.verdict(secret) == {"kind": "refused", "reason": "revoked"}


def test_everybody_but_guests_has_tokens_of_their_own_and_knows_of_no_others(
    gateway: Gateway, admin: str
) -> None:
    viewer, operator = gateway.as_role(Role.VIEWER), gateway.as_role(Role.OPERATOR)
    wanted = {"name": "mine", "scopes": ["metrics:read"]}
    made = gateway("POST", "/api/v1/tokens", wanted, token=viewer)
    assert made.status == 201
    gateway("POST", "/api/v1/tokens", {**wanted, "name": "other"}, token=operator)
    listed = [
        gateway("GET", "/api/v1/tokens", token=token).body["items"] for token in (viewer, operator, admin)
    ]
    assert [[one["name"] for one in items] for items in listed[:2]] == [["mine"], ["other"]]
    assert {one["name"] for one in listed[2]} == {"mine", "other"}
    assert gateway("GET", "/api/v1/tokens", token=admin, query={"mine": "true"}).body["items"] == []
    foreign = gateway("DELETE", made.headers["Location"], token=operator)
    assert (foreign.status, foreign.body["code"]) == (404, "not_found")
    assert gateway.verdict(made.body["token"])["kind"] == "token"
    assert gateway("DELETE", made.headers["Location"], token=viewer).status == 204
    assert gateway("GET", "/api/v1/tokens", token=gateway.as_role(Role.GUEST)).status == 403


def test_nobody_makes_a_token_that_may_more_than_they_do(gateway: Gateway) -> None:
    viewer = gateway.as_role(Role.VIEWER)
    me = gateway("GET", "/api/v1/auth/me", token=viewer).body
    assert "tokens:own" in me["permissions"]
    assert set(me["token_scopes"]) < set(me["permissions"])
    assert (
        gateway("POST", "/api/v1/tokens", {"name": "x", "scopes": me["token_scopes"]}, token=viewer).status
        == 201
    )
    wide = gateway("POST", "/api/v1/tokens", {"name": "x", "scopes": ["rules:write"]}, token=viewer)
    assert (wide.status, wide.body["code"]) == (403, "scope_too_wide")


@pytest.mark.parametrize("scope", ["users:manage", "tokens:manage", "metrics:ingest", "notifications:own"])
def test_some_permissions_are_never_given_to_a_token(gateway: Gateway, admin: str, scope: str) -> None:
    answer = gateway("POST", "/api/v1/tokens", {"name": "x", "scopes": [scope]}, token=admin)
    assert answer.status in {403, 422}


def test_a_token_loses_what_its_owner_loses(gateway: Gateway, admin: str) -> None:
    owner = gateway.add_user(Role.ADMIN, "owner@example.com")
    signed_in = gateway.sign_in("owner@example.com").body["access_token"]
    wanted = {"name": "x", "scopes": ["rules:write", "hosts:read"]}
    token = gateway("POST", "/api/v1/tokens", wanted, token=signed_in).body["token"]
    assert gateway.verdict(token)["role"] == "admin"
    gateway("PATCH", f"/api/v1/users/{owner}", {"role": "guest"}, token=admin)
    from farwatch.http.principal import caller_of
    from tests.api_events import http_event

    caller = caller_of(http_event("GET", "/", verdict=gateway.verdict(token)))
    assert caller.principal.permissions == {Permission.HOSTS_READ}
    gateway("PATCH", f"/api/v1/users/{owner}", {"disabled": True}, token=admin)
    assert gateway.verdict(token)["kind"] == "refused"


def test_a_ticket_carries_a_person_to_the_websocket_once(gateway: Gateway) -> None:
    token = gateway.as_role(Role.VIEWER)
    made = gateway("POST", "/api/v1/ws-tickets", token=token)
    assert (made.status, made.body["expires_in"], made.body["url"]) == (
        201,
        60,
        "wss://live.farwatch.example",
    )
    who = gateway.container.adapters.tickets.redeem(made.body["ticket"])
    assert who is not None
    assert who["role"] == "viewer"
    assert gateway.container.adapters.tickets.redeem(made.body["ticket"]) is None
    assert gateway.container.adapters.tickets.redeem("made up") is None


def test_with_redis_down_machines_go_on_and_people_are_told_to_wait(
    gateway: Gateway, admin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host_id, credential = gateway.enrolled()
    pool = gateway.container.adapters.redis.connection_pool
    monkeypatch.setitem(pool.connection_kwargs, "port", 1)
    pool.disconnect()
    pool.reset()
    assert gateway.verdict(credential)["host_id"] == host_id
    assert gateway.verdict(admin) == {"kind": "refused", "reason": "unavailable"}
    answer = gateway("GET", "/api/v1/auth/me", token=admin)
    assert (answer.status, answer.body["code"]) == (503, "dependency_unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    assert gateway.sign_in("a@example.com").status == 503
