"""``looks.fifo`` → detect: the slow detectors look at a host; and on demand, a named detector over samples sent along."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.batch import SqsFifoPartialProcessor, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from farwatch.adapters.sqs import retry_soon
from farwatch.bootstrap import container
from farwatch.observability import logger
from farwatch.wire.messages import decode_look
from functions.detect import on_demand

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

RESERVE_S = 15.0
"""What is kept of the time-out for the last series begun and for writing down what was found."""

processor = SqsFifoPartialProcessor(skip_group_on_error=True)
processor.raise_on_entire_batch_failure = False


def look_at(record: SQSRecord, budget_s: float) -> None:
    """Look at one host, for about ``budget_s``."""
    look, now, began = decode_look(record.body), time.time_ns() // 1_000_000, time.monotonic()
    watched = container().looks.handle(look, budget_s, now)
    if watched is None:
        logger.info("looked at nothing, the host is gone", extra={"host_id": look.host_id})
        return
    logger.info(
        "looked",
        extra={
            "host_id": look.host_id,
            "series": watched.series,
            "waiting": watched.waiting,
            "left_out": watched.left_out,
            "behind_s": (look.through - watched.through) / 1000,
            "waited_s": (now - look.asked_at) / 1000,
            "took_s": round(time.monotonic() - began, 3),
        },
    )


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> Any:
    """Return the records to deliver again (``batchItemFailures``) or, for a question, its answer."""
    if "Records" not in event:
        answer = on_demand.answer(event)
        logger.info(
            "detected", extra={"detector": event.get("detector"), "samples": len(answer.get("score", ()))}
        )
        return answer
    left = len(event["Records"])

    def record_handler(record: SQSRecord) -> None:
        nonlocal left
        # Each host gets an equal share of what is left; what one does not use, the next have.
        share = max(context.get_remaining_time_in_millis() / 1000 - RESERVE_S, 0.0) / max(left, 1)
        left -= 1
        look_at(record, share)

    failed = process_partial_response(
        event=event, record_handler=record_handler, processor=processor, context=context
    )
    retry_soon(container().adapters.sqs, event, failed)
    return failed
