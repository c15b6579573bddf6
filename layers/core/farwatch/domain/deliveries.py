"""Deliveries: one message about one event to one recipient over one channel, and what became of it.

    pending ──claim──▶ sending ──sent──▶ delivered
       ▲                  ├──passing fault──▶ pending, with a time before which it is not tried
       │                  ├──refused for good──▶ failed
       │                  ╰──tried for a day──▶ dead ──redrive──▶ pending
       ╰──lease over (the worker died)──╯            suppressed: nothing to say to this recipient any more

Deliveries of one incident to one recipient are sent in the order of its events, so nobody reads that something is
over before reading that it began.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from farwatch.domain.events import EventKind
from farwatch.domain.routing import Channel

GIVE_UP_AFTER_S = 24 * 3600.0  # a mail server that is down over night still delivers in the morning
LEASE_S = 90.0  # longer than any sender may take, so that two never send the same delivery at once
FIRST_RETRY_S = 5.0
LONGEST_RETRY_S = 900.0


class DeliveryState(StrEnum):
    """Where a delivery stands; see the module's picture."""

    PENDING = "pending"
    SENDING = "sending"
    DELIVERED = "delivered"
    FAILED = "failed"
    DEAD = "dead"
    SUPPRESSED = "suppressed"

    @property
    def settled(self) -> bool:
        """Whether nothing more will happen unless somebody asks for it."""
        return self not in {DeliveryState.PENDING, DeliveryState.SENDING}


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery. Times are epoch milliseconds; ``event_seq`` is the event's number within its incident."""

    id: str
    event_id: str
    event_kind: EventKind
    event_seq: int
    incident_id: str
    channel: Channel
    recipient: str
    state: DeliveryState
    attempts: int
    next_attempt_at: int
    created_at: int
    lease_until: int | None = None
    delivered_at: int | None = None
    provider_id: str = ""
    last_error: str = ""


def delivery_id(event: str, channel: Channel, recipient: str) -> str:
    """Return the id that follows from what makes a delivery unique; mail uses it as Message-ID."""
    return "dlv_" + hashlib.sha256(f"{event}\x1f{channel}\x1f{recipient}".encode()).hexdigest()[:22]


class Next(StrEnum):
    """What to do with the next delivery of a recipient."""

    SEND = "send"
    WAIT = "wait"
    SUPPRESS = "suppress"


def next_step(delivery: Delivery, earlier: Sequence[Delivery], *, now: int) -> Next:
    """Return what to do with a delivery, given the earlier ones of the same incident, channel and recipient.

    It waits while an earlier one is unsettled or its own time has not come. News of the end is suppressed when no news
    of trouble reached the recipient.
    """
    if any(not other.state.settled for other in earlier):
        return Next.WAIT
    # An assignment is addressed to one person who need not have been told of the trouble before.
    follows = not delivery.event_kind.firing and delivery.event_kind is not EventKind.ASSIGNED
    reached = any(other.event_kind.firing and other.state is DeliveryState.DELIVERED for other in earlier)
    if follows and not reached:
        return Next.SUPPRESS
    if delivery.state is DeliveryState.SENDING and (delivery.lease_until or 0) > now:
        return Next.WAIT
    if delivery.next_attempt_at > now:
        return Next.WAIT
    return Next.SEND


def retry_after_s(attempts: int, wished_s: float | None, chance: float) -> float:
    """Return how long to wait before the next attempt, in seconds, after ``attempts`` that failed.

    Doubles from ``FIRST_RETRY_S`` to ``LONGEST_RETRY_S`` with equal jitter (``chance`` is uniform in [0, 1)), and is never
    shorter than what the far side wished for (its Retry-After, capped at an hour).
    """
    full = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2.0 ** (max(1, attempts) - 1))
    own = full / 2 + chance * full / 2
    return max(own, min(wished_s or 0.0, 3600.0))
