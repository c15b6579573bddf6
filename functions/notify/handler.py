"""``notify-<channel>`` queues → notify: each record rings for one incident event on the queue's channel."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from farwatch.adapters.sqs import channel_of, come_back_in
from farwatch.bootstrap import container
from farwatch.errors import Unavailable
from farwatch.observability import logger
from farwatch.services.notify import Round
from farwatch.wire.messages import decode_event

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

# What is still undelivered after so many receives stays with the sweep, which rings again when it is due. The
# dead-letter queue is for messages that could not even be recorded.
LAST_RECEIVE = 4

processor = BatchProcessor(event_type=EventType.SQS)
processor.raise_on_entire_batch_failure = False


def record_handler(record: SQSRecord, current: Round) -> None:
    """Deliver what is due; raises Unavailable to have the record back when the rest is."""
    channel = channel_of(record.event_source_arn)
    event = decode_event(record.body)
    again_at = container().notify.handle(event, channel, current)
    received = int(record.attributes.approximate_receive_count)
    if again_at is None or received >= LAST_RECEIVE:
        return
    wait_s = max(1, round(again_at / 1000 - time.time()))
    come_back_in(container().adapters.sqs, record.event_source_arn, record.receipt_handle, wait_s)
    raise Unavailable(channel, f"{event.id} is not delivered everywhere; again in {wait_s} s")


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> Any:
    """Return the records to deliver again (``batchItemFailures``)."""
    current = Round()
    return process_partial_response(
        event=event,
        record_handler=lambda record: record_handler(record, current),
        processor=processor,
        context=context,
    )
