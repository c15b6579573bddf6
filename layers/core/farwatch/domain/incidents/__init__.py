"""Incidents: a pure state machine driven by signals, people and the clock.

    (none) ──first firing signal──▶ open ◀──severity rises── acknowledged
                                     │  ╲────acknowledge────▶    │
                                     ╰── last signal over, or resolved by hand ──▶ resolved

All signals of one group (now: one host) belong to one incident, so a host in trouble is one page. Every function takes
the group as it stands and returns a ``Change`` holding the group as it becomes, what to write in the timeline and which
events to publish; None means that nothing changes. Times are epoch milliseconds of the server's clock unless said
otherwise.

Promises kept here, whatever arrives, in whatever order:

* a statement older than the last one heard of the same fingerprint changes nothing (``Signal`` explains the order);
* while the host is silent its other signals join but neither raise the severity nor page;
* an incident that people were told of ends with exactly one ``resolved`` event; one they were not told of, with none
  that pages;
* people are told again only when the severity rises above everything seen before.

``records`` are what is kept, ``step`` one change in the making, ``triage`` what signals and the clock bring about, and
``actions`` what people do.
"""

from farwatch.domain.incidents.actions import (
    acknowledge,
    assign,
    comment,
    open_by_hand,
    resolve_by_hand,
    set_severity,
)
from farwatch.domain.incidents.records import (
    Change,
    Group,
    Incident,
    IncidentStatus,
    Policy,
    TimelineEntry,
    TrackedSignal,
    Tracking,
)
from farwatch.domain.incidents.triage import announce, expire, group_key, receive

__all__ = [
    "Change",
    "Group",
    "Incident",
    "IncidentStatus",
    "Policy",
    "TimelineEntry",
    "TrackedSignal",
    "Tracking",
    "acknowledge",
    "announce",
    "assign",
    "comment",
    "expire",
    "group_key",
    "open_by_hand",
    "receive",
    "resolve_by_hand",
    "set_severity",
]
