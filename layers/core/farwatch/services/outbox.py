"""Publish incident events: right after the change that caused them, and again until every channel has taken note."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from farwatch.domain.events import IncidentEvent
from farwatch.domain.routing import Channel
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

        Raises Unavailable when some could not be published (see `publish_each`).
        """
        self._outbox.settle()
        due = self._outbox.due(now, _SWEEP_LIMIT)
        published = 0
        for place in publish_each(self._topic, "events", [(event, None) for event, _ in due]):
            event, count = due[place]
            wait = min(LONGEST_WAIT_MS, RECEIPT_AFTER_MS * 2 ** min(count, 10))
            if now - event.at > GIVE_UP_AFTER_MS and count > 0:
                wait = GIVE_UP_AFTER_MS * 365
            self._outbox.published([event.id], now + wait)
            published += 1
        return published


def publish_each(
    topic: EventTopic, what: str, wanted: Sequence[tuple[IncidentEvent, Channel | None]]
) -> Iterator[int]:
    """Publish events one by one, each for a channel or for all; yield the places of those that were taken.

    Raises Unavailable in the end, saying ``what`` they are, when some were not: after ``REFUSALS`` the others are not
    tried, for each takes seconds to fail and the sweep has more to do.
    """
    count = refused = 0
    for place, (event, channel) in enumerate(wanted):
        if topic.publish([event], channel):
            count += 1
            yield place
        else:
            refused += 1
            if refused == REFUSALS:
                break
    if refused:
        raise Unavailable("sns", f"{len(wanted) - count} of {len(wanted)} {what} could not be published")
