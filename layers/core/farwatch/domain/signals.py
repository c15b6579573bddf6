"""Signals: what ``process`` and ``sweep`` tell ``incidents``.

A signal is one rule, detector or watchdog saying that one series (or one host) is in trouble, or no longer is. It is
level-triggered: while the trouble lasts the same signal is sent again every minute, so a lost message heals itself
and nothing depends on a message arriving exactly once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from farwatch.domain.samples import TopProcess
from farwatch.domain.severity import Severity


class SignalKind(StrEnum):
    """Where a signal comes from."""

    RULE = "rule"
    ANOMALY = "anomaly"
    SILENCE = "silence"
    FORECAST = "forecast"


class SignalState(StrEnum):
    """Whether the trouble is there (``firing``) or over (``resolved``)."""

    FIRING = "firing"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Signal:
    """One statement about one host. Times are epoch milliseconds.

    ``fingerprint`` is the identity: (source, host, grouping labels), never the value. ``started_at`` tells one firing
    episode of the same fingerprint from the next. ``reason`` is a full sentence for people; ``evidence`` holds numbers.
    """

    fingerprint: str
    kind: SignalKind
    state: SignalState
    host_id: str
    host_name: str
    source: str
    title: str
    severity: Severity
    started_at: int
    at: int
    reason: str
    metric: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    value: float | None = None
    unit: str | None = None
    evidence: Mapping[str, float | str | None] = field(default_factory=dict)
    top_processes: tuple[TopProcess, ...] = ()
    host_labels: Mapping[str, str] = field(default_factory=dict)


def fingerprint(source: str, host_id: str, labels: Mapping[str, str]) -> str:
    """Return 24 hex digits identifying what is in trouble: the source (rule or detector), the host, the labels."""
    text = "\x1f".join([source, host_id, *(f"{k}\x1e{v}" for k, v in sorted(labels.items()))])
    return hashlib.sha256(text.encode()).hexdigest()[:24]
