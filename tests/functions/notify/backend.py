"""The functions around incidents wired as template.yaml wires them, with SNS and SQS from moto and everything else real."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from moto import mock_aws

from farwatch.bootstrap import Container, container
from farwatch.domain.signals import Signal
from tests.functions.notify.far_sides import Mailbox, Vendor
from tests.gateway import Gateway, quick_passwords, secrets_document
from tests.unit.notify.makers import CONTEXT

TEMPLATE = Path(__file__).parents[3] / "template.yaml"
REGION = "eu-central-1"
KEY = "k" * 32
"""The routing key of the channels of `make_channels`."""
CHANNEL_QUEUES = ("notify-email", "notify-slack", "notify-pagerduty", "notify-inapp")


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's short tags as ``{"tag": value}``."""


def _tagged(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        return {suffix: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {suffix: loader.construct_sequence(node, deep=True)}
    assert isinstance(node, yaml.MappingNode)
    return {suffix: loader.construct_mapping(node, deep=True)}


_Loader.add_multi_constructor("!", _tagged)


@cache
def subscriptions() -> dict[str, Any]:
    """Return the filter policy of each queue subscribed to the events topic, from the template."""
    resources = yaml.load(TEMPLATE.read_text(), Loader=_Loader)["Resources"]
    found = {}
    for resource in resources.values():
        if resource["Type"] == "AWS::SNS::Subscription":
            endpoint = resource["Properties"]["Endpoint"]["GetAtt"].split(".")[0]
            name = resources[endpoint]["Properties"]["QueueName"]["Sub"].replace("${AWS::StackName}-", "")
            assert resource["Properties"]["RawMessageDelivery"] is True
            found[name] = resource["Properties"]["FilterPolicy"]
    return found


class Backend:
    """Queues, topic and handlers. ``pump`` plays Lambda's part until the queues are empty."""

    def __init__(
        self, made: Container, queues: dict[str, str], handlers: dict[str, Callable[..., Any]]
    ) -> None:
        self.container = made
        self._queues = queues
        self._handlers = handlers
        self._sqs = boto3.client("sqs")

    def send(self, signal: Signal) -> None:
        """Queue a signal as ``process`` does."""
        self.container.adapters.signals.send([signal])

    def pump(self) -> None:
        """Deliver messages to functions until none is visible."""
        while sum(self.pump_queue(name) for name in self._handlers):
            pass

    def pump_queue(self, name: str) -> int:
        """Give one batch of a queue to its function; return how many messages there were."""
        url = self._queues[name]
        messages = self._sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["All"]
        ).get("Messages", [])
        if not messages:
            return 0
        records = [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": message["Attributes"],
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": f"arn:aws:sqs:{REGION}:123456789012:farwatch-{name}",
                "awsRegion": REGION,
            }
            for message in messages
        ]
        answer = self._handlers[name]({"Records": records}, CONTEXT)
        failed = {item["itemIdentifier"] for item in answer["batchItemFailures"]}
        for message in messages:
            if message["MessageId"] not in failed:
                self._sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return len(messages)

    def waiting(self, name: str) -> tuple[int, int]:
        """Return how many messages of a queue are visible, and how many are not."""
        found = self._sqs.get_queue_attributes(QueueUrl=self._queues[name], AttributeNames=["All"])[
            "Attributes"
        ]
        return int(found["ApproximateNumberOfMessages"]), int(found["ApproximateNumberOfMessagesNotVisible"])

    def bodies(self, name: str) -> list[dict[str, Any]]:
        """Return and remove what is in a queue that no function reads in this test."""
        found = []
        while messages := self._sqs.receive_message(QueueUrl=self._queues[name], MaxNumberOfMessages=10).get(
            "Messages", []
        ):
            for message in messages:
                found.append(json.loads(message["Body"]))
                self._sqs.delete_message(QueueUrl=self._queues[name], ReceiptHandle=message["ReceiptHandle"])
        return found


@contextmanager
def running_backend(
    postgres_url: str, redis_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Backend]:
    """Wire everything up on a fresh database, and point this process's container at it."""
    for name, value in {
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "DASHBOARD_URL": "https://dash.farwatch.example",
        "ENVIRONMENT": "tests",
    }.items():
        monkeypatch.setenv(name, value)
    document = folder / "backend-secrets.json"
    document.write_text(json.dumps(secrets_document(postgres_url, redis_url)))
    monkeypatch.setenv("SECRETS_FILE", str(document))
    with mock_aws():
        sqs, sns = boto3.client("sqs"), boto3.client("sns")
        topic = sns.create_topic(Name="farwatch-events")["TopicArn"]
        urls = {
            "signals.fifo": sqs.create_queue(
                QueueName="farwatch-signals.fifo", Attributes={"FifoQueue": "true"}
            )["QueueUrl"],
            "pushes": sqs.create_queue(QueueName="farwatch-pushes")["QueueUrl"],
        }
        for name, filter_policy in subscriptions().items():
            urls[name] = sqs.create_queue(QueueName=f"farwatch-{name}")["QueueUrl"]
            sns.subscribe(
                TopicArn=topic,
                Protocol="sqs",
                Endpoint=f"arn:aws:sqs:{REGION}:123456789012:farwatch-{name}",
                Attributes={"RawMessageDelivery": "true", "FilterPolicy": json.dumps(filter_policy)},
            )
        monkeypatch.setenv("SIGNALS_QUEUE_URL", urls["signals.fifo"])
        monkeypatch.setenv("PUSHES_QUEUE_URL", urls["pushes"])
        monkeypatch.setenv("EVENTS_TOPIC_ARN", topic)
        container.cache_clear()
        made = container()
        made.adapters.passwords = quick_passwords()
        try:
            from functions.incidents.handler import handler as take_signals
            from functions.notify.handler import handler as deliver

            handlers: dict[str, Callable[..., Any]] = dict.fromkeys(CHANNEL_QUEUES, deliver)
            handlers["signals.fifo"] = take_signals
            yield Backend(made, urls, handlers)
        finally:
            made.adapters.database.close()
            made.adapters.redis.close()
            container.cache_clear()


def make_channels(
    api: Gateway, admin: str, mailbox: Mailbox, slack: Vendor, pagerduty: Vendor
) -> dict[str, str]:
    """Make a channel of each kind through the API; return their ids by kind."""
    made = {}
    for body in (
        {
            "kind": "email",
            "name": "Mail",
            "email": {
                "host": "127.0.0.1",
                "port": mailbox.port,
                "security": "none",
                "sender": "Farwatch <farwatch@example.com>",
            },
        },
        {
            "kind": "slack",
            "name": "#ops",
            "slack": {"webhook_url": f"{slack.url}/services/T0/B0/secretsecret"},
        },
        {
            "kind": "pagerduty",
            "name": "On call",
            "pagerduty": {"routing_key": KEY, "url": f"{pagerduty.url}/v2/enqueue"},
        },
    ):
        answer = api("POST", "/api/v1/channels", body, token=admin)
        assert answer.status == 201, answer.raw
        made[str(body["kind"])] = answer.body["id"]
    return made
