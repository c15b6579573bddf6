"""``signals.fifo`` → incidents: each record is one signal, in order for its host."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.batch import SqsFifoPartialProcessor, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from farwatch.adapters.sqs import retry_soon
from farwatch.bootstrap import container
from farwatch.observability import logger
from farwatch.wire.messages import decode_signal

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

# After a failure the rest of that host's signals go back to the queue: order is kept.
processor = SqsFifoPartialProcessor(skip_group_on_error=True)
processor.raise_on_entire_batch_failure = False


def record_handler(record: SQSRecord) -> None:
    """Let one signal change its incident."""
    signal = decode_signal(record.body)
    change = container().incidents.receive(signal, time.time_ns() // 1_000_000)
    incident = change.group.incident if change is not None else None
    logger.info(
        "signal",
        extra={
            "fingerprint": signal.fingerprint,
            "host_id": signal.host_id,
            "state": signal.state,
            "incident_id": incident.id if incident is not None else None,
            "events": [event.kind for event in change.events] if change is not None else [],
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
