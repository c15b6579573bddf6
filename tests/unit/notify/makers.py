"""Makers of signals and incidents with sensible defaults, for the tests of this folder."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from farwatch.domain import incidents
from farwatch.domain.events import EventKind, IncidentEvent
from farwatch.domain.incidents import Group, Policy
from farwatch.domain.samples import TopProcess
from farwatch.domain.severity import Severity
from farwatch.domain.signals import Signal, SignalKind, SignalState, fingerprint
from farwatch.errors import Unavailable

NOW = 1_790_000_000_000


class _Context:
    """What Lambda passes beside the event, as far as Powertools looks at it."""

    function_name = "function"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:function"
    aws_request_id = "request-1"

    @staticmethod
    def get_remaining_time_in_millis() -> int:
        return 30_000


CONTEXT: Any = _Context()
STRESS = TopProcess(pid=4242, name="stress", cpu_percent=93.0, rss_bytes=12_000_000)


def a_signal(**changes: Any) -> Signal:
    """Return a firing CPU signal of host web-3, with ``changes``; its fingerprint follows from source and host."""
    values: dict[str, Any] = {
        "kind": SignalKind.RULE,
        "state": SignalState.FIRING,
        "host_id": "host_1",
        "host_name": "web-3",
        "source": "rule_cpu",
        "title": "CPU is busy",
        "severity": Severity.HIGH,
        "started_at": NOW - 120_000,
        "at": NOW,
        "reason": "CPU has been above 90 % for 2 min.",
        "metric": "cpu.percent",
        "value": 97.2,
        "unit": "percent",
        "top_processes": (STRESS,),
        "host_labels": {"env": "prod"},
    }
    values.update(changes)
    values.setdefault("fingerprint", fingerprint(values["source"], values["host_id"], {}))
    return Signal(**values)


def an_event(
    kind: EventKind = EventKind.OPENED, *, signal: Signal | None = None, **changes: Any
) -> IncidentEvent:
    """Return an event of an incident that ``signal`` opened (``a_signal()`` by default), with ``changes``."""
    change = incidents.receive(
        Group("host=host_1"),
        signal or a_signal(),
        now=NOW,
        new_id="inc_0199b2d1c2f3a4b5c6d7e8",
        policy=Policy(),
    )
    assert change is not None
    [event] = change.events
    return replace(event, kind=kind, **changes)


class Dead:
    """Dead-letter queues that hold so many messages; None: they do not answer."""

    def __init__(self, held: dict[str, int] | None) -> None:
        self.held = held

    def counts(self) -> dict[str, int]:
        if self.held is None:
            raise Unavailable("sqs", "away for the test")
        return self.held
