"""``samples.fifo`` → process: each record is one packed batch of one host, in order for that host."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.batch import SqsFifoPartialProcessor, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from farwatch.adapters.sqs import retry_soon
from farwatch.bootstrap import container
from farwatch.observability import logger
from farwatch.wire.batch import to_samples, unpack

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

# After a failure the rest of that host's records go back to the queue: order is kept.
processor = SqsFifoPartialProcessor(skip_group_on_error=True)
processor.raise_on_entire_batch_failure = False


def record_handler(record: SQSRecord) -> None:
    """Store and evaluate one batch."""
    batch = to_samples(unpack(record.body))
    received_at = int(record.attributes.sent_timestamp)
    standing = container().process.handle(batch, time.time_ns() // 1_000_000, received_at)
    logger.info(
        "batch",
        extra={
            "host_id": batch.host_id,
            "seq": batch.seq,
            "samples": batch.samples.count(),
            "standing": standing,
        },
    )


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> Any:
    """Return the records to deliver again (``batchItemFailures``)."""
    answer = process_partial_response(
        event=event, record_handler=record_handler, processor=processor, context=context
    )
    retry_soon(container().adapters.sqs, event, answer)
    return answer
