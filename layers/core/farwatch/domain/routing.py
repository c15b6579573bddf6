"""Who is told of what, over which channel.

The coarse cut is made by SNS: an event carries the names of the channels it concerns and each channel's queue takes
only its own. The fine cut is made here from destinations and people's preferences. Whoever got news of trouble is told
of its end, whatever has been switched off since.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from farwatch.domain.events import EventKind, IncidentEvent
from farwatch.domain.severity import Severity


class Channel(StrEnum):
    """A way to reach people."""

    EMAIL = "email"
    SLACK = "slack"
    PAGERDUTY = "pagerduty"
    IN_APP = "in_app"

    @property
    def queue(self) -> str:
        """The channel's name in queue names and message attributes, where ``_`` is not used."""
        return self.value.replace("_", "")


_ALL = frozenset(Channel)
_IN_APP = frozenset({Channel.IN_APP})
# Acknowledging stops PagerDuty's escalation and tells the team's Slack channel who has it; nobody needs a mail.
_ACKNOWLEDGED = frozenset({Channel.SLACK, Channel.PAGERDUTY})


def channels_for(event: IncidentEvent) -> frozenset[Channel]:
    """Return the channels that carry an event to people; an empty set means that only live views are told."""
    if event.kind.firing or event.kind is EventKind.RESOLVED:
        return _ALL if event.pages else _IN_APP
    if event.kind is EventKind.ACKNOWLEDGED and event.pages:
        return _ACKNOWLEDGED
    if event.kind is EventKind.ASSIGNED and event.assignee is not None:
        return _IN_APP
    return frozenset()


@dataclass(frozen=True, slots=True)
class Preferences:
    """What one person wants. ``address`` empty means the address they log in with; ``personal`` names the channels
    for which they have a destination of their own (a Slack webhook, a PagerDuty routing key).
    """

    user_id: str
    name: str = ""
    address: str = ""
    enabled: frozenset[Channel] = _ALL
    personal: frozenset[Channel] = frozenset()
    min_severity: Severity = Severity.INFO
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Destination:
    """A configured channel of the whole team: a Slack webhook, a PagerDuty service, a mail server with mailing lists.

    ``recipients`` are the addresses a mail server row adds to people's own.
    """

    id: str
    channel: Channel
    name: str
    enabled: bool = True
    min_severity: Severity = Severity.INFO
    recipients: tuple[str, ...] = field(default=())


def recipients(
    event: IncidentEvent,
    channel: Channel,
    people: Iterable[Preferences],
    destinations: Iterable[Destination],
    told: Sequence[str],
) -> list[str]:
    """Return the recipients of an event on a channel, each once, in order.

    A recipient is a mail address (e-mail), a user id (in-app), or ``chan_…`` or ``user:<id>`` (Slack and PagerDuty).
    ``told`` are those who were sent news of this incident's trouble on this channel; the end and the
    acknowledgement go to exactly them.
    """
    if channel not in channels_for(event):
        return []
    if event.kind is EventKind.ASSIGNED:
        return [event.assignee] if event.assignee else []
    if not event.kind.firing:
        return list(dict.fromkeys(told))
    wanted = [
        person
        for person in people
        if channel in person.enabled and event.severity.rank >= person.min_severity.rank
    ]
    shared = [
        destination
        for destination in destinations
        if destination.channel is channel
        and destination.enabled
        and event.severity.rank >= destination.min_severity.rank
    ]
    if channel is Channel.IN_APP:
        found = [person.user_id for person in wanted]
    elif channel is Channel.EMAIL:
        found = [person.address.lower() for person in wanted if person.address]
        found += [address.lower() for destination in shared for address in destination.recipients]
    else:
        found = [destination.id for destination in shared]
        found += [f"user:{person.user_id}" for person in wanted if channel in person.personal]
    return list(dict.fromkeys(found))
