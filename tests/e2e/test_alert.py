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

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]


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
    os.nice(5)  # busy for the agent's eyes, and still polite to the other processes of this test
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


def by_reader(ends: FarEnds) -> dict[str, list[Message]]:
    """The mails that arrived, by whom they went to: other tests leave people on the installation, and all are told."""
    found: dict[str, list[Message]] = defaultdict(list)
    for mail in ends.mailbox.mails:
        found[mail["To"]].append(mail)
    return found


class Listener:
    """A WebSocket client subscribed to incidents, reading in the background."""

    def __init__(self, stack: RunningStack) -> None:
        ticket = must(stack.call("POST", "/api/v1/ws-tickets"))["ticket"]
        self.socket = connect(f"{stack.ws_url}?ticket={ticket}", open_timeout=15, legacy=True)
        self.socket.send(json.dumps({"action": "subscribe", "topics": ["incidents"]}))
        self.messages: list[dict[str, Any]] = []

    def types(self) -> list[str]:
        try:
            while True:
                self.messages.append(json.loads(self.socket.recv(timeout=0.05)))
        except TimeoutError:
            return [message["type"] for message in self.messages]


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
    """A rule on this host's load that fires within seconds; the stock rules wait minutes, longer than this test."""
    interval = {"default_interval_s": 5}
    must(stack.call("PATCH", "/api/v1/config", interval))
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


@pytest.mark.usefixtures("stock_rules_off")
def test_load_opens_one_incident_told_once_everywhere_and_its_end_is_told_once(
    stack: RunningStack, ends: FarEnds, rule: dict[str, Any]
) -> None:
    listener = Listener(stack)
    with load():
        until(
            lambda: len(ends.mailbox.mails) and ends.slack and ends.pagerduty, 90, "an alert on every channel"
        )
    opened = must(stack.call("GET", "/api/v1/incidents?state=open"))["items"]
    assert len(opened) == 1, [i["title"] for i in opened]
    incident = opened[0]
    until(
        lambda: (
            all(len(mails) >= 2 for mails in by_reader(ends).values())
            and len(ends.slack) >= 2
            and len(ends.pagerduty) >= 2
        ),
        120,
        "the end",
    )
    until(lambda: "incident.resolved" in listener.types(), 20, "the end, pushed")

    # Whatever else would still come, comes within a few seconds; then each was told exactly twice: the start and the end.
    time.sleep(5)
    people = must(stack.call("GET", "/api/v1/users"))["items"]
    assert set(by_reader(ends)) == {person["email"] for person in people}
    for reader, mails in by_reader(ends).items():
        assert len(mails) == 2, (reader, [mail["Subject"] for mail in mails])
        assert mails[0]["Subject"].startswith("[HIGH]")
        assert mails[1]["Subject"].startswith("[RESOLVED]")
        assert incident["id"] in str(mails[0])
        assert {part.get_content_type() for part in mails[0].walk()} >= {"text/plain", "text/html"}
    assert [event["event_action"] for event in ends.pagerduty] == ["trigger", "resolve"]
    assert len({event["dedup_key"] for event in ends.pagerduty}) == 1
    assert ends.pagerduty[0]["routing_key"] == "R" * 32
    assert ends.pagerduty[0]["payload"]["severity"] == "error"
    assert len(ends.slack) == 2
    assert all(message["text"] for message in ends.slack)
    types = listener.types()
    assert types.count("incident.opened") == 1
    assert types.count("incident.resolved") == 1

    whole = must(stack.call("GET", f"/api/v1/incidents/{incident['id']}"))
    assert whole["state"] == "resolved"
    assert "cpu" in json.dumps(whole).lower()
