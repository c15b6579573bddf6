"""What is kept of an incident, its signals and its history, and what one step changes. Times are epoch milliseconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from farwatch.domain.events import Evidence, IncidentEvent
from farwatch.domain.severity import Severity
from farwatch.domain.signals import SignalKind
from farwatch.errors import Conflict


class IncidentStatus(StrEnum):
    """Open: nobody has it. Acknowledged: somebody has. Resolved: over."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class Tracking(StrEnum):
    """What is known of a signal. ``dismissed``: its incident was resolved by hand while it still fired."""

    FIRING = "firing"
    RESOLVED = "resolved"
    DISMISSED = "dismissed"


@dataclass(frozen=True, slots=True)
class TrackedSignal:
    """The last statement heard about one fingerprint.

    ``started_at`` and ``last_at`` are the signal's own times (the host's clock, never taken to be in the future) and
    only order its statements; ``heard_at`` is when it was last heard, by the server's clock.
    """

    fingerprint: str
    kind: SignalKind
    host_id: str
    source: str
    title: str
    reason: str
    severity: Severity
    state: Tracking
    started_at: int
    last_at: int
    heard_at: int
    incident_id: str | None = None
    joined_at: int | None = None
    resolved_at: int | None = None
    metric: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    value: float | None = None
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class Incident:
    """One stretch of trouble of one group.

    ``severity`` is what people see and may set; ``peak`` the highest severity any uninhibited signal has had. ``lead`` is
    the fingerprint that title and reason speak of. ``announce_at`` is when people are told (``opened_at`` and the group
    wait), ``announced`` whether that has happened, ``paged`` whether any event went to the channels that interrupt.
    ``version`` rises with every change that shows; ``event_count`` is the ``seq`` of the last event.
    """

    id: str
    group_key: str
    status: IncidentStatus
    severity: Severity
    peak: Severity
    title: str
    reason: str
    host_id: str | None
    host_name: str
    opened_at: int
    announce_at: int
    host_labels: Mapping[str, str] = field(default_factory=dict)
    lead: str | None = None
    announced: bool = False
    paged: bool = False
    acknowledged_at: int | None = None
    acknowledged_by: str | None = None
    assignee: str | None = None
    resolved_at: int | None = None
    resolution: str = ""
    evidence: tuple[Evidence, ...] = ()
    version: int = 0
    event_count: int = 0

    @property
    def active(self) -> bool:
        """Whether it is open or acknowledged."""
        return self.status is not IncidentStatus.RESOLVED


@dataclass(frozen=True, slots=True)
class Group:
    """Everything that one decision needs: the active incident of a group, if any, and the signals known."""

    key: str
    incident: Incident | None = None
    signals: Mapping[str, TrackedSignal] = field(default_factory=dict)

    def firing(self) -> list[TrackedSignal]:
        """Return the signals that keep the incident open, most severe and oldest first."""
        incident = self.incident
        mine = [
            signal
            for signal in self.signals.values()
            if incident is not None and signal.incident_id == incident.id and signal.state is Tracking.FIRING
        ]
        return sorted(mine, key=lambda signal: (-signal.severity.rank, signal.started_at, signal.fingerprint))

    def silent(self) -> bool:
        """Whether the host is known to be silent, which inhibits its other signals."""
        return any(signal.kind is SignalKind.SILENCE for signal in self.firing())

    def present(self) -> Incident:
        """Return the active incident; raises Conflict when there is none any more."""
        if self.incident is None or not self.incident.active:
            raise Conflict("the incident is resolved", code="incident_resolved")
        return self.incident

    def knowing(self, *signals: TrackedSignal) -> Group:
        """Return the group with the last statements of these signals in place of earlier ones."""
        return replace(self, signals={**self.signals, **{signal.fingerprint: signal for signal in signals}})


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One line of an incident's history. ``actor`` is empty when Farwatch did it."""

    at: int
    kind: str
    text: str
    actor: str = ""
    fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What a step brought about. ``touched`` are the signals whose rows must be written."""

    group: Group
    timeline: tuple[TimelineEntry, ...] = ()
    events: tuple[IncidentEvent, ...] = ()
    touched: tuple[TrackedSignal, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """``group_wait_s``: how long a new incident waits for more signals before people are told; trouble that ends sooner
    is recorded and not sent. 0 tells people at once.
    """

    group_wait_s: float = 0.0
