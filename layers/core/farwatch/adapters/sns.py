"""The SNS topic of incident events; each channel's queue subscribes with a filter policy over the attributes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from farwatch.adapters.sqs import in_batches
from farwatch.domain.events import IncidentEvent
from farwatch.domain.routing import Channel, channels_for
from farwatch.observability import logger
from farwatch.wire.messages import encode_event


class SnsEventTopic:
    """The ``events`` topic."""

    def __init__(self, client: Any, arn: str) -> None:
        self._client = client
        self._arn = arn

    def publish(self, events: Sequence[IncidentEvent], only: Channel | None = None) -> list[str]:
        """Publish events and return the ids of those SNS took. What it did not take is logged and left to the outbox."""
        taken: list[str] = []
        for batch in in_batches(events, lambda event: len(encode_event(event).encode())):
            entries = [
                {
                    "Id": str(number),
                    "Message": encode_event(event),
                    "MessageAttributes": attributes(event, only),
                }
                for number, event in enumerate(batch)
            ]
            try:
                answer = self._client.publish_batch(TopicArn=self._arn, PublishBatchRequestEntries=entries)
            except (BotoCoreError, ClientError) as error:
                logger.warning("events not published", extra={"count": len(batch), "error": str(error)})
                continue
            taken += [batch[int(entry["Id"])].id for entry in answer.get("Successful", [])]
            for failure in answer.get("Failed", []):
                logger.warning("event not published", extra={"code": failure.get("Code")})
        return taken


def attributes(event: IncidentEvent, only: Channel | None = None) -> dict[str, dict[str, str]]:
    """Return the message attributes that filter policies may use.

    ``channels`` (String.Array of ``email``, ``slack``, ``pagerduty``, ``inapp``, and ``live``), ``kind``
    (``incident.opened`` …), ``severity`` and ``severity_rank`` (Number, 0 info … 3 critical), ``host`` (its id, or
    ``none``) and ``env`` (the host's label of that name, or ``none``).
    """
    text = {
        "kind": event.kind.value,
        "severity": event.severity.value,
        "host": event.host_id or "none",
        "env": event.host_labels.get("env") or "none",
    }
    result = {name: {"DataType": "String", "StringValue": value} for name, value in text.items()}
    names = [only.queue] if only else [*sorted(channel.queue for channel in channels_for(event)), "live"]
    result["channels"] = {"DataType": "String.Array", "StringValue": json.dumps(names)}
    result["severity_rank"] = {"DataType": "Number", "StringValue": str(event.severity.rank)}
    return result
