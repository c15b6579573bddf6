"""An agent renews its credential by itself: nothing that fails on the way locks it out, and a copy is noticed."""

from __future__ import annotations

import errno
import io
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collector_agent import state
from collector_agent.log import Log
from farwatch.domain.credentials import renewal_due
from farwatch.domain.rbac import Role
from farwatch.http.clock import now_ms
from infra.local.demo.feed import DemoAgent
from infra.local.demo.fleet import fleet
from infra.local.demo.trouble import Plan
from tests.functions.api.renewing import (
    NO_ANSWER,
    RenewingAgent,
    Wire,
    credentials_of,
    enrolled_agent,
    fail_with,
    forget_cached,
    grow_old,
    on_disk,
)
from tests.gateway import Gateway

HOUR, DAY = 3_600_000, 86_400_000


class Killed(BaseException):
    """The process ended here."""


class Queue:
    """Takes what ingest accepts; nothing is ever stored, so the agent keeps speaking."""

    def send(self, host_id: str, batch: bytes) -> None:
        pass


@pytest.fixture(autouse=True)
def _no_queue(gateway: Gateway) -> None:
    gateway.container.ingest._queue = Queue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def host_id(gateway: Gateway, folder: Path) -> str:
    return enrolled_agent(gateway, folder)


def rows_of(gateway: Gateway, action: str) -> list[dict[str, Any]]:
    admin = gateway.as_role(Role.ADMIN)
    found = gateway("GET", "/api/v1/audit", token=admin, query={"action": action}).body["items"]
    return list(found)


def shown(gateway: Gateway, host_id: str) -> dict[str, Any]:
    answer = gateway("GET", f"/api/v1/agents/{host_id}", token=gateway.as_role(Role.ADMIN))
    assert answer.status == 200, answer.raw
    return dict(answer.body)


def test_a_simulated_host_renews_its_credential_as_an_agent_does(gateway: Gateway, tmp_path: Path) -> None:
    hosts, now = fleet(7), now_ms()
    plan = Plan(hosts, now)
    host = next(one for one in hosts if not plan.of(one.name, now, now + HOUR))
    host_id = enrolled_agent(gateway, tmp_path, host.name)
    old = on_disk(tmp_path).credential
    grow_old(gateway, host_id)
    wire = Wire(gateway, lambda _: None)
    agent = DemoAgent(plan, host, tmp_path, wire, Log("error", stream=io.StringIO()), 0.0)
    for number in range(1, 5):
        agent.tick(now / 1000 + 60 * number)
        agent.sender.step(time.monotonic() + 1e6 * number)
    assert wire.renewals == 1
    renewed = on_disk(tmp_path)
    assert (renewed.host_id, renewed.previous) == (host_id, "")
    assert renewed.credential != old


def test_a_young_credential_is_left_alone(gateway: Gateway, folder: Path, host_id: str) -> None:
    before = on_disk(folder)
    agent = RenewingAgent(gateway, folder)
    agent.report(4)
    assert agent.accepted
    assert agent.wire.renewals == 0
    assert on_disk(folder) == before


def test_an_old_credential_is_replaced_and_ends_an_hour_after_the_new_one_is_used(
    gateway: Gateway, folder: Path, host_id: str
) -> None:
    old = on_disk(folder).credential
    grow_old(gateway, host_id)
    agent = RenewingAgent(gateway, folder)
    agent.report(4)
    assert agent.accepted
    assert agent.wire.renewals == 1
    new = on_disk(folder)
    assert (new.host_id, new.previous) == (host_id, "")
    assert new.credential != old
    assert "credential renewed" in agent.lines.getvalue()
    assert not [one for one in (old, new.credential) if one in agent.lines.getvalue() + repr(new)]
    access = gateway.container.access
    later = now_ms() + HOUR + 1000
    assert access.verdict(f"Bearer {old}", now_ms())["kind"] == "agent"
    assert access.verdict(f"Bearer {old}", later) == {"kind": "refused", "reason": "superseded"}
    assert access.verdict(f"Bearer {new.credential}", later)["kind"] == "agent"
    assert [row["target"] for row in rows_of(gateway, "agent.renew")] == [host_id]
    assert [row["target"] for row in rows_of(gateway, "agent.credential_first_used")] == [host_id]


def test_the_page_of_agents_shows_the_age_of_the_credential_in_use(
    gateway: Gateway, folder: Path, host_id: str
) -> None:
    grow_old(gateway, host_id, days=31)
    old = shown(gateway, host_id)
    assert old["credential_due_at"] < old["last_seen_at"] if old["last_seen_at"] else True
    pending = gateway("POST", "/api/v1/agents/credential", token=on_disk(folder).credential)
    assert pending.status == 200
    assert shown(gateway, host_id)["credential_id"] == old["credential_id"], "a pending one is not in use"
    RenewingAgent(gateway, folder).report(4)
    new = shown(gateway, host_id)
    assert new["credential_id"] != old["credential_id"]
    assert new["credential_due_at"] > old["credential_due_at"]


def test_a_fleet_enrolled_at_once_comes_back_over_a_fifth_of_the_time() -> None:
    ids = [f"{n * 0x0FFF_FFFF_FFFF_FFFF // 16:016x}" for n in range(256)]

    def share_due(days: float) -> float:
        return sum(renewal_due(i, 0, 30 * DAY, round(days * DAY)) for i in ids) / len(ids)

    assert share_due(23.9) == 0
    assert 0.4 < share_due(27) < 0.6
    assert share_due(30) == 1


def test_the_whole_fleet_told_at_once_asks_over_five_minutes(
    gateway: Gateway, folder: Path, host_id: str
) -> None:
    agent = RenewingAgent(gateway, folder)
    agent.renewal._uniform = lambda _low, high: high
    agent.renewal.told(1000.0, due=True)
    agent.renewal.step(1299.0)
    assert agent.wire.renewals == 0
    agent.renewal.step(1301.0)
    assert agent.wire.renewals == 1


# Whatever fails on the way


def counting(monkeypatch: pytest.MonkeyPatch, step: Callable[[str], None]) -> None:
    """Tell ``step`` before and after everything that changes the agent's files."""

    def watched(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            step(f"before {name}")
            result = original(*arguments, **named)
            step(f"after {name}")
            return result

        return call

    monkeypatch.setattr(state.os, "fsync", watched("fsync", os.fsync))
    monkeypatch.setattr(Path, "replace", watched("replace", Path.replace))


def test_an_agent_killed_anywhere_is_never_locked_out_and_renews_in_the_end(
    gateway: Gateway, tmp_path: Path
) -> None:
    gateway.container.__dict__["rate_limits"] = type("Unlimited", (), {"spend": lambda *_: []})()
    number = 0
    while True:
        number += 1
        folder = tmp_path / f"host-{number}"
        host_id = enrolled_agent(gateway, folder, f"web-{number}")
        original = on_disk(folder).credential
        grow_old(gateway, host_id)
        steps: list[str] = []

        def step(name: str, steps: list[str] = steps, number: int = number) -> None:
            steps.append(name)
            if len(steps) == number:
                raise Killed

        killed = False
        with pytest.MonkeyPatch.context() as patch:
            counting(patch, step)
            try:
                RenewingAgent(gateway, folder, step).report(5)
            except Killed:
                killed = True
        where = f"killed {steps[-1]} (step {number})"
        restarted = RenewingAgent(gateway, folder)
        for _ in range(5):
            restarted.report()
            assert restarted.accepted, where
        held = on_disk(folder)
        assert held.credential != original, where
        assert held.previous == "", where
        assert shown(gateway, host_id)["clone_suspected_at"] is None, where
        in_use = [row for row in credentials_of(gateway, host_id) if row["superseded_at"] is None]
        assert [row["id"] for row in in_use] == [held.credential.split("_")[1]], where
        if not killed:
            break
    assert number > 20, "a renewal has many steps; fewer means that nothing was in the way"


@pytest.mark.parametrize("lost", [1, 2, 5])
def test_a_lost_answer_is_given_again_and_no_credential_is_wasted(
    gateway: Gateway, folder: Path, host_id: str, lost: int
) -> None:
    grow_old(gateway, host_id)
    agent = RenewingAgent(gateway, folder, fail_with(NO_ANSWER, "after renew", lost))
    agent.report(lost + 4)
    assert agent.accepted
    assert len(credentials_of(gateway, host_id)) == 2, "the same answer came again, by its idempotency key"
    assert len(rows_of(gateway, "agent.renew")) == 1 + lost, "handing it out again is a row as well"


def test_an_answer_lost_before_a_long_absence_locks_nobody_out(
    gateway: Gateway, folder: Path, host_id: str
) -> None:
    grow_old(gateway, host_id)
    agent = RenewingAgent(gateway, folder, fail_with(NO_ANSWER, "after renew"))
    agent.report(2)
    held = on_disk(folder).credential
    a_month_later = now_ms() + 30 * DAY
    assert gateway.container.access.verdict(f"Bearer {held}", a_month_later)["kind"] == "agent"


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC])
def test_on_a_disk_that_cannot_be_written_the_old_credential_stays_and_status_says_so(
    gateway: Gateway, folder: Path, host_id: str, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    before = on_disk(folder)
    grow_old(gateway, host_id)
    agent = RenewingAgent(gateway, folder)
    with monkeypatch.context() as patch:
        patch.setattr(state, "_replace", _raise(OSError(number, os.strerror(number))))
        agent.report(4)
        assert agent.accepted
        assert agent.wire.renewals == 0, "nothing is asked for that could not be kept"
        assert on_disk(folder) == before
        assert "cannot be written" in agent.sender.learned.renewal_error
    agent.report(3)
    assert on_disk(folder).credential != before.credential
    assert agent.sender.learned.renewal_error == ""


def test_a_disk_that_fails_between_asking_and_keeping_costs_nothing(
    gateway: Gateway, folder: Path, host_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow_old(gateway, host_id)
    full = fail_with(OSError(errno.ENOSPC, "No space left on device"), "before fsync", 3)
    armed: list[str] = []

    def step(name: str) -> None:
        armed.append(name)
        if "after renew" in armed:
            full(name)

    with monkeypatch.context() as patch:
        counting(patch, step)
        agent = RenewingAgent(gateway, folder, step)
        agent.report(8)
    assert agent.accepted
    assert len(credentials_of(gateway, host_id)) == 2
    assert on_disk(folder).credential.split("_")[1] == credentials_of(gateway, host_id)[1]["id"]


def test_a_host_enrolled_anew_while_its_agent_runs_keeps_the_new_identity(
    gateway: Gateway, folder: Path, host_id: str
) -> None:
    grow_old(gateway, host_id)
    agent = RenewingAgent(gateway, folder)
    agent.report()
    enrolled_agent(gateway, folder, "web-2")
    anew = on_disk(folder)
    agent.report(2)
    assert on_disk(folder) == anew
    assert "restart it" in agent.renewal.error


@pytest.mark.parametrize(
    "body",
    [{}, {"host_id": "host_other", "credential": "fwa_x"}, {"host_id": None, "credential": 5}, []],
)
def test_an_answer_that_is_not_ours_replaces_nothing(
    gateway: Gateway, folder: Path, host_id: str, body: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = on_disk(folder)
    agent = RenewingAgent(gateway, folder)
    wrong = type("Answered", (), {"status": 200, "headers": {"Content-Type": "x"}, "raw": str(body)})
    monkeypatch.setattr(agent.wire, "_gateway", lambda *_, **__: wrong)
    agent.renewal.told(0.0, due=True)
    agent.renewal.step(1e6)
    assert on_disk(folder) == before


# Copies


def test_a_copy_used_after_the_renewal_is_noticed_marked_and_ends(
    gateway: Gateway, folder: Path, host_id: str
) -> None:
    copied = on_disk(folder).credential
    grow_old(gateway, host_id)
    RenewingAgent(gateway, folder).report(4)
    access = gateway.container.access
    soon, later = now_ms() + 120_000, now_ms() + 2 * HOUR
    forget_cached(gateway)
    assert access.verdict(f"Bearer {copied}", soon, "203.0.113.9")["kind"] == "agent", "for an hour"
    (row,) = rows_of(gateway, "agent.credential_reused")
    assert (row["target"], row["address"], row["outcome"]) == (host_id, "203.0.113.9", "noticed")
    assert shown(gateway, host_id)["clone_suspected_at"] is not None
    access.verdict(f"Bearer {copied}", soon + 1000)
    assert len(rows_of(gateway, "agent.credential_reused")) == 1, "once an hour is enough"
    assert access.verdict(f"Bearer {copied}", later)["reason"] == "superseded"
    assert len(rows_of(gateway, "agent.credential_reused")) == 2, "also when it is worth nothing any more"


def test_a_thief_who_renews_first_does_not_lock_the_agent_out_in_silence(
    gateway: Gateway, folder: Path, host_id: str
) -> None:
    stolen = on_disk(folder).credential
    taken = gateway("POST", "/api/v1/agents/credential", token=stolen).body["credential"]
    agent = RenewingAgent(gateway, folder)
    agent.report(2)
    assert agent.accepted, "until the thief uses it nothing has changed"
    assert gateway.verdict(taken)["host_id"] == host_id
    agent.report(2)
    assert agent.accepted, "and for an hour after"
    access = gateway.container.access
    access.verdict(f"Bearer {stolen}", now_ms() + 61_000)
    assert shown(gateway, host_id)["clone_suspected_at"] is not None, "but the host is marked within a minute"
    refused = gateway("POST", "/api/v1/agents/credential", token=stolen)
    assert (refused.status, refused.body["code"]) == (401, "credential_superseded")
    admin = gateway.as_role(Role.ADMIN)
    token = gateway("POST", f"/api/v1/agents/{host_id}/re-enrol", token=admin).body["token"]
    again = gateway("POST", "/api/v1/agents/enrol", {"token": token, "hostname": "web-1"})
    assert again.body["host_id"] == host_id
    for worthless in (stolen, taken):
        assert gateway.verdict(worthless)["kind"] == "refused", "re-enrolling ends every copy"


def test_renewing_over_and_over_ends_no_credential_in_use_and_leaves_few_behind(
    gateway: Gateway, folder: Path, host_id: str
) -> None:
    held = on_disk(folder).credential
    made = [gateway("POST", "/api/v1/agents/credential", token=held).body["credential"] for _ in range(12)]
    usable = [row for row in credentials_of(gateway, host_id) if row["superseded_at"] is None]
    assert len(usable) == 1 + 4
    assert gateway.verdict(held)["kind"] == "agent"
    assert gateway.verdict(made[0])["kind"] == "refused"
    assert gateway.verdict(made[-1])["kind"] == "agent"
    for sibling in made[:-1]:
        assert gateway.verdict(sibling) == {"kind": "refused", "reason": "superseded"}


def test_a_new_credential_that_is_refused_falls_back_to_the_one_kept_beside_it(
    gateway: Gateway, folder: Path, host_id: str
) -> None:
    held = on_disk(folder)
    untried = gateway("POST", "/api/v1/agents/credential", token=held.credential).body["credential"]
    for _ in range(4):
        gateway("POST", "/api/v1/agents/credential", token=held.credential)
    state.save_credentials(folder, held._replace(credential=untried, previous=held.credential))
    agent = RenewingAgent(gateway, folder)
    agent.report(3)
    assert agent.accepted
    assert on_disk(folder) == held


def _raise(error: OSError) -> Callable[..., None]:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    return fail
