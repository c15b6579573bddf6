"""Makers of signals and incidents with sensible defaults, for the tests of this folder."""

from __future__ import annotations

from typing import Any

from farwatch.domain.samples import TopProcess
from farwatch.domain.severity import Severity
from farwatch.domain.signals import Signal, SignalKind, SignalState, fingerprint

NOW = 1_790_000_000_000
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
