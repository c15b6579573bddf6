"""WebSocket events, and the queues of pushes and incident events → live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from farwatch.domain.events import IncidentEvent
from farwatch.domain.pushes import Push
from farwatch.errors import InvalidInput
from farwatch.observability import logger
from farwatch.services.live import event_push
from farwatch.wire.messages import decode
from functions.live.app import connect, disconnect, live, message

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

processor = BatchProcessor(event_type=EventType.SQS)
processor.raise_on_entire_batch_failure = False
_SOCKET = {"CONNECT": connect, "MESSAGE": message, "DISCONNECT": disconnect}


def record_handler(record: SQSRecord) -> None:
    """Push what one record asks for."""
    found = decode(record.body)
    if isinstance(found, Push):
        reached = live().push(found)
    elif isinstance(found, IncidentEvent):
        reached = live().push(event_push(found))
    else:
        raise InvalidInput("signals do not belong into this queue", code="unknown_message")
    logger.info("pushed", extra={"message_id": found.id, "reached": reached})


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> Any:
    """Return the answer to a WebSocket event, or the records to deliver again."""
    if "Records" in event:
        return process_partial_response(
            event=event, record_handler=record_handler, processor=processor, context=context
        )
    logger.info("websocket", extra={"event_type": event["requestContext"]["eventType"]})
    return _SOCKET[event["requestContext"]["eventType"]](event, context)
