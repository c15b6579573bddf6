"""The SQS queues: samples, signals and looks (FIFO, in order for each host), and pushes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from farwatch.domain.looks import LOOK_EVERY_S, Look
from farwatch.domain.pushes import Push
from farwatch.domain.routing import Channel
from farwatch.domain.signals import Signal
from farwatch.errors import Misconfigured, Unavailable
from farwatch.ids import new_id
from farwatch.observability import logger
from farwatch.wire.messages import encode_look, encode_push, encode_signal

BATCH = 10
BATCH_BYTES = 240_000  # SQS takes 256 KiB per request; the difference is room for attributes and ids
_T = TypeVar("_T")


class SqsSignalQueue:
    """``signals.fifo``: grouped by host, so that one host's incident is changed by one container at a time."""

    def __init__(self, client: Any, url: str) -> None:
        self._client = client
        self._url = url

    def send(self, signals: Sequence[Signal]) -> None:
        """Queue all signals; a signal sent twice within five minutes is dropped by SQS itself."""

        def entry(signal: Signal) -> dict[str, str]:
            identity = f"{signal.fingerprint}|{signal.state}|{signal.started_at}|{signal.at}"
            return {
                "MessageBody": encode_signal(signal),
                "MessageGroupId": signal.host_id,
                "MessageDeduplicationId": hashlib.sha256(identity.encode()).hexdigest(),
            }

        _send_all(self._client, self._url, [entry(signal) for signal in signals])


class SqsPushQueue:
    """``pushes``: a standard queue; the receiver puts a sequence number on each push of a topic."""

    def __init__(self, client: Any, url: str) -> None:
        self._client = client
        self._url = url

    def send(self, pushes: Sequence[Push]) -> None:
        """Queue all pushes."""
        _send_all(self._client, self._url, [{"MessageBody": encode_push(push)} for push in pushes])


class SqsSampleQueue:
    """``samples.fifo``: grouped by host, so that one host's batches are processed in order and hosts in parallel."""

    def __init__(self, client: Any, url: str) -> None:
        self._client = client
        self._url = url

    def send(self, host_id: str, message: str) -> None:
        """Queue one packed batch.

        Each send has an identity of its own: a batch that was dropped as out of order must get through when the agent
        sends it again, within SQS's five minutes of deduplication too. ``process`` tells duplicates by their number.
        """
        try:
            self._client.send_message(
                QueueUrl=self._url,
                MessageBody=message,
                MessageGroupId=host_id,
                MessageDeduplicationId=new_id("send"),
            )
        except (BotoCoreError, ClientError) as error:
            raise Unavailable("sqs", f"{type(error).__name__} from {self._url.rsplit('/', 1)[-1]}") from error


class SqsLookQueue:
    """``looks.fifo``: grouped by host, so that one container at a time changes what the slow detectors know of a host."""

    def __init__(self, client: Any, url: str) -> None:
        self._client = client
        self._url = url

    def send(self, look: Look) -> None:
        """Queue the look; of several for one host within ``LOOK_EVERY_S`` SQS itself keeps the first."""
        try:
            self._client.send_message(
                QueueUrl=self._url,
                MessageBody=encode_look(look),
                MessageGroupId=look.host_id,
                MessageDeduplicationId=f"{look.host_id}-{look.asked_at // (LOOK_EVERY_S * 1000)}",
            )
        except (BotoCoreError, ClientError) as error:
            raise Unavailable("sqs", f"{type(error).__name__} from {self._url.rsplit('/', 1)[-1]}") from error


_SAMPLES = "samples.fifo"
DEAD_LETTERS = (
    "samples-dead.fifo",
    "signals-dead.fifo",
    "looks-dead.fifo",
    "pushes-dead",
    "live-dead",
    *(f"notify-{channel.queue}-dead" for channel in Channel),
    "failed-invocations",
)
"""Names of the dead-letter queues after the installation's own, as the template gives them."""


class SqsDeadLetters:
    """Implements ``farwatch.ports.queues.DeadLetters``; the queues lie beside ``samples_queue_url``."""

    def __init__(self, client: Any, samples_queue_url: str) -> None:
        self._client = client
        self._samples = samples_queue_url

    def counts(self) -> dict[str, int]:
        """Return about how many messages each of the dead-letter queues holds."""
        if not self._samples.endswith(_SAMPLES):
            raise Misconfigured(
                f"SAMPLES_QUEUE_URL must end in {_SAMPLES}, for example …/farwatch-{_SAMPLES}"
            )
        base = self._samples.removesuffix(_SAMPLES)
        try:
            return {name: self._count(base + name) for name in DEAD_LETTERS}
        except (BotoCoreError, ClientError) as error:
            raise Unavailable("sqs", f"{type(error).__name__}: dead letters cannot be counted") from error

    def _count(self, url: str) -> int:
        wanted = "ApproximateNumberOfMessages"
        found = self._client.get_queue_attributes(QueueUrl=url, AttributeNames=[wanted])
        return int(found["Attributes"][wanted])


def _send_all(client: Any, url: str, entries: list[dict[str, str]]) -> None:
    for batch in in_batches(entries, lambda entry: len(entry["MessageBody"].encode())):
        numbered = [{"Id": str(number), **entry} for number, entry in enumerate(batch)]
        try:
            answer = client.send_message_batch(QueueUrl=url, Entries=numbered)
        except (BotoCoreError, ClientError) as error:
            raise Unavailable("sqs", f"{type(error).__name__} from {url.rsplit('/', 1)[-1]}") from error
        if failed := answer.get("Failed"):
            raise Unavailable(
                "sqs",
                f"{len(failed)} of {len(batch)} messages refused by {url.rsplit('/', 1)[-1]}: "
                f"{failed[0].get('Code')}",
            )


def in_batches(items: Sequence[_T], size: Callable[[_T], int]) -> Iterator[list[_T]]:
    """Yield the items in order, at most ten and at most ``BATCH_BYTES`` together; ``size`` gives one item's bytes."""
    batch: list[_T] = []
    total = 0
    for item in items:
        weight = size(item)
        if batch and (len(batch) == BATCH or total + weight > BATCH_BYTES):
            yield batch
            batch, total = [], 0
        batch.append(item)
        total += weight
    if batch:
        yield batch


def channel_of(queue_arn: str) -> Channel:
    """Return the channel a ``…notify-<channel>`` queue belongs to. Raises Misconfigured for any other queue."""
    name = queue_arn.rsplit(":", 1)[-1]
    for channel in Channel:
        if name.endswith(f"notify-{channel.queue}"):
            return channel
    raise Misconfigured(f"queue {name} is not named after a channel; expected …notify-email or the like")


def come_back_in(client: Any, queue_arn: str, receipt_handle: str, seconds: int) -> None:
    """Let a received message reappear after ``seconds`` (at most 12 h) instead of the queue's own time-out.

    A failure is logged: the message then comes back when the queue thinks fit.
    """
    account, name = queue_arn.split(":")[-2:]
    try:
        client.change_message_visibility(
            QueueUrl=f"{client.meta.endpoint_url.rstrip('/')}/{account}/{name}",
            ReceiptHandle=receipt_handle,
            VisibilityTimeout=min(seconds, 43_000),
        )
    except (BotoCoreError, ClientError) as error:
        logger.warning("visibility not changed", extra={"queue": name, "error": str(error)})


LONGEST_RETRY_S = 30


def retry_soon(client: Any, event: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
    """Let the records of ``event`` that ``answer`` reports as failed reappear after 1, 2, 4 … 30 s, by their receives.

    Without it they would wait for the queue's time-out, and a FIFO group waits for all of them: a store that was away for
    a moment would hold up a host for half a minute.
    """
    failed = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
    for record in event["Records"]:
        if record["messageId"] in failed:
            received = int(record["attributes"]["ApproximateReceiveCount"])
            wait_s = min(2 ** min(received - 1, 10), LONGEST_RETRY_S)
            come_back_in(client, record["eventSourceARN"], record["receiptHandle"], wait_s)
