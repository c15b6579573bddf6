"""The main job, end to end: load on this host becomes one incident, told once on every channel, and its end told once."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from typing import Any

import psutil
import pytest
from websockets.sync.client import connect

from tests.e2e.endpoints import FarEnds, far_ends
from tests.stack.running import RunningStack

pytestmark = pytest.mark.stack


SERVER_SET = {"id", "stock"}

CROWD = 300
"""Idle processes that come and go with the load: by them its end shows even on a host that other work keeps busy."""


@contextmanager
def load() -> Iterator[None]:
    """Keep every processor of this host busy, amid a crowd of idle processes."""
    workers = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(os.cpu_count() or 1)]
    crowd = [subprocess.Popen(["sleep", "600"]) for _ in range(CROWD)]
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        for worker in workers:
            worker.kill()
            worker.join()
        for idle in crowd:
            idle.kill()
            idle.wait()


def _spin() -> None:
    os.nice(19)  # busy for the agent's eyes, and still polite to whatever else has work to do
    while True:
        pass


def until(condition: Callable[[], Any], patience: float, what: str) -> Any:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.2)
    raise AssertionError(f"not within {patience:.0f} s: {what}")


def must(answer: tuple[int, Any]) -> Any:
    status, body = answer
    assert status < 300, (status, body)
    return body


class Told:
    """What each far end was told about one incident: whatever else is told meanwhile is not counted."""

    def __init__(self, ends: FarEnds, incident_id: str) -> None:
        self.mails: dict[str, list[Message]] = defaultdict(list)
        for mail in ends.mailbox.mails:
            if mail["X-Farwatch-Incident"] == incident_id:
                self.mails[mail["To"]].append(mail)
        self.pagerduty = [event for event in ends.pagerduty if event["dedup_key"] == incident_id]
        self.slack = [message for message in ends.slack if incident_id in json.dumps(message)]


class Listener:
    """A WebSocket client subscribed to incidents, reading in the background."""

    def __init__(self, stack: RunningStack) -> None:
        ticket = must(stack.call("POST", "/api/v1/ws-tickets"))["ticket"]
        self.socket = connect(f"{stack.ws_url}?ticket={ticket}", open_timeout=15, legacy=True)
        self.socket.send(json.dumps({"action": "subscribe", "topics": ["incidents"]}))
        self.messages: list[dict[str, Any]] = []

    def types(self, incident_id: str) -> list[str]:
        """What was pushed about an incident so far."""
        try:
            while True:
                self.messages.append(json.loads(self.socket.recv(timeout=0.05)))
        except TimeoutError:
            return [m["type"] for m in self.messages if m.get("data", {}).get("id") == incident_id]


@pytest.fixture
def ends(stack: RunningStack) -> Iterator[FarEnds]:
    """Channels of every kind, pointed at servers of this test, and removed after it."""
    with far_ends() as found:
        local = f"http://127.0.0.1:{found.http_port}"
        settings: list[dict[str, Any]] = [
            {"kind": "slack", "name": "team", "slack": {"webhook_url": f"{local}/services/T/B/x"}},
            {
                "kind": "pagerduty",
                "name": "on call",
                "pagerduty": {"routing_key": "R" * 32, "url": f"{local}/v2/enqueue"},
            },
            {
                "kind": "email",
                "name": "mail",
                "email": {
                    "host": "127.0.0.1",
                    "port": found.smtp_port,
                    "security": "none",
                    "sender": "Farwatch <farwatch@example.com>",
                },
            },
        ]
        made = [must(stack.call("POST", "/api/v1/channels", body)) for body in settings]
        yield found
        for channel in made:
            stack.call("DELETE", f"/api/v1/channels/{channel['id']}")


@pytest.fixture
def stock_rules_off(stack: RunningStack) -> Iterator[None]:
    """Without the stock rules: what else this host is busy with would join, and outlast, the incident."""
    rules = [rule for rule in must(stack.call("GET", "/api/v1/rules"))["items"] if rule["stock"]]
    assert rules
    for rule in rules:
        _enable(stack, rule, enabled=False)
    yield
    for rule in rules:
        _enable(stack, rule, enabled=rule["enabled"])


def _enable(stack: RunningStack, rule: dict[str, Any], *, enabled: bool) -> None:
    body = {name: value for name, value in rule.items() if name not in SERVER_SET} | {"enabled": enabled}
    must(stack.call("PUT", f"/api/v1/rules/{rule['id']}", body))


@pytest.fixture
def rule(stack: RunningStack) -> Iterator[dict[str, Any]]:
    """A rule on this host's load that fires within seconds; the stock rules wait minutes."""
    usual = len(psutil.pids())
    body = {
        "name": "CPU is saturated (test)",
        "severity": "high",
        "conditions": [
            {"metric": "cpu.percent", "comparison": "above", "enter": 90, "leave": 50},
            {
                "metric": "processes.count",
                "comparison": "above",
                "enter": usual + CROWD * 2 // 3,
                "leave": usual + CROWD // 2,
            },
        ],
        "for_s": 5,
        "keep_firing_for_s": 5,
    }
    made = must(stack.call("POST", "/api/v1/rules", body))
    yield made
    stack.call("DELETE", f"/api/v1/rules/{made['id']}")


def incidents_of(stack: RunningStack, host_id: str, more: str = "") -> list[dict[str, Any]]:
    return list(must(stack.call("GET", f"/api/v1/incidents?host_id={host_id}{more}"))["items"])


@pytest.mark.usefixtures("stock_rules_off")
def test_load_opens_one_incident_told_once_everywhere_and_its_end_is_told_once(
    stack: RunningStack, ends: FarEnds, rule: dict[str, Any]
) -> None:
    host_id = stack.own_host["id"]
    until(
        lambda: not incidents_of(stack, host_id, "&state=open"), 120, "the end of what was done to this host"
    )
    earlier = {incident["id"] for incident in incidents_of(stack, host_id)}
    listener = Listener(stack)
    with load():
        [incident] = until(lambda: incidents_of(stack, host_id, "&state=open"), 180, "an incident")

        def told() -> Told:
            return Told(ends, incident["id"])

        until(lambda: told().mails and told().slack and told().pagerduty, 120, "the alert on every channel")

    def whole() -> dict[str, Any]:
        return dict(must(stack.call("GET", f"/api/v1/incidents/{incident['id']}")))

    until(lambda: whole()["state"] == "resolved", 180, "the end")
    until(lambda: delivered(whole()), 120, "everybody to be told")  # after which nothing more is to come
    until(lambda: "incident.resolved" in listener.types(incident["id"]), 60, "the end, pushed")

    assert {one["id"] for one in incidents_of(stack, host_id)} == earlier | {incident["id"]}
    people = must(stack.call("GET", "/api/v1/users"))["items"]
    assert set(told().mails) == {person["email"] for person in people}
    for reader, mails in told().mails.items():
        assert len(mails) == 2, (reader, [mail["Subject"] for mail in mails])
        assert mails[0]["Subject"].startswith("[HIGH]")
        assert mails[1]["Subject"].startswith("[RESOLVED]")
        assert {part.get_content_type() for part in mails[0].walk()} >= {"text/plain", "text/html"}
    assert [event["event_action"] for event in told().pagerduty] == ["trigger", "resolve"]
    assert told().pagerduty[0]["routing_key"] == "R" * 32
    assert told().pagerduty[0]["payload"]["severity"] == "error"
    assert len(told().slack) == 2
    assert all(message["text"] for message in told().slack)
    types = listener.types(incident["id"])
    assert types.count("incident.opened") == 1
    assert types.count("incident.resolved") == 1
    assert "cpu" in json.dumps(whole()).lower()


def delivered(incident: dict[str, Any]) -> bool:
    """Whether the start and the end were told, and nobody is still to be told anything."""
    told = incident["deliveries"]
    return {"incident.opened", "incident.resolved"} <= {one["event_kind"] for one in told} and all(
        one["status"] in {"delivered", "suppressed"} for one in told
    )
