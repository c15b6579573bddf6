"""Publish incident events: right after the change that caused them, and again until every channel has taken note."""

from __future__ import annotations

from collections.abc import Sequence

from farwatch.domain.events import IncidentEvent
from farwatch.errors import Unavailable
from farwatch.ports.incidents import Outbox
from farwatch.ports.messaging import EventTopic

RECEIPT_AFTER_MS = 60_000  # how long a channel may take before it is told again
LONGEST_WAIT_MS = 900_000
GIVE_UP_AFTER_MS = 24 * 3_600_000
REFUSALS = 3  # so many are an outage and not a bad message
_SWEEP_LIMIT = 500


class Publisher:
    """Carries events from the outbox to the topic. A loss on the way only costs time: receipts tell what arrived."""

    def __init__(self, outbox: Outbox, topic: EventTopic) -> None:
        self._outbox = outbox
        self._topic = topic

    def publish(self, events: Sequence[IncidentEvent], now: int) -> int:
        """Publish events just written and return how many the topic took; the sweep sees to the others."""
        if not events:
            return 0
        taken = self._topic.publish(events)
        if taken:
            self._outbox.published(taken, now + RECEIPT_AFTER_MS)
        return len(taken)

    def publish_again(self, now: int) -> int:
        """Publish what was never published or has no receipt from some channel; return how many were published.

        The wait between two publications of an event doubles up to a quarter of an hour, and ends after a day: a
        channel that has been deaf for so long is shown on the health page, and news that old wakes nobody.

        Raises Unavailable when some could not be published: after ``REFUSALS`` the others are not tried, for each
        takes seconds to fail and the sweep has more to do.
        """
        self._outbox.settle()
        due = self._outbox.due(now, _SWEEP_LIMIT)
        published = refused = 0
        for event, count in due:
            wait = min(LONGEST_WAIT_MS, RECEIPT_AFTER_MS * 2 ** min(count, 10))
            if now - event.at > GIVE_UP_AFTER_MS and count > 0:
                wait = GIVE_UP_AFTER_MS * 365
            if self._topic.publish([event]):
                self._outbox.published([event.id], now + wait)
                published += 1
            else:
                refused += 1
                if refused == REFUSALS:
                    break
        if refused:
            raise Unavailable("sns", f"{len(due) - published} events could not be published")
        return published
