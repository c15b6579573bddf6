"""Records that failed come back soon, and each time a little later."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from farwatch.adapters.sqs import retry_soon


class Sqs:
    """Notes what was asked of it."""

    meta = SimpleNamespace(endpoint_url="http://engine/")

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def change_message_visibility(self, **call: Any) -> None:
        self.calls.append(call)


def record(name: str, received: int) -> dict[str, Any]:
    return {
        "messageId": name,
        "receiptHandle": f"handle of {name}",
        "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:farwatch-samples.fifo",
        "attributes": {"ApproximateReceiveCount": str(received)},
    }


@pytest.mark.parametrize(("received", "seconds"), [(1, 1), (2, 2), (3, 4), (5, 16), (6, 30), (5000, 30)])
def test_a_failed_record_waits_twice_as_long_each_time_up_to_half_a_minute(
    received: int, seconds: int
) -> None:
    sqs = Sqs()
    retry_soon(sqs, {"Records": [record("a", received)]}, {"batchItemFailures": [{"itemIdentifier": "a"}]})
    assert sqs.calls == [
        {
            "QueueUrl": "http://engine/123456789012/farwatch-samples.fifo",
            "ReceiptHandle": "handle of a",
            "VisibilityTimeout": seconds,
        }
    ]


def test_records_that_succeeded_are_left_to_be_deleted() -> None:
    sqs = Sqs()
    batch = {"Records": [record("a", 1), record("b", 1), record("c", 1)]}
    retry_soon(sqs, batch, {"batchItemFailures": [{"itemIdentifier": "b"}]})
    assert [call["ReceiptHandle"] for call in sqs.calls] == ["handle of b"]
