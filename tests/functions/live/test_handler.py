"""The live function's door: WebSocket events through Chalice, and queue records."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from farwatch.bootstrap import container
from farwatch.domain.pushes import Push
from farwatch.domain.rbac import Role
from farwatch.http.clock import now_ms
from farwatch.wire.messages import encode_event, encode_push, encode_signal
from tests.gateway import secrets_document
from tests.unit.notify.makers import CONTEXT, a_signal, an_event


def socket(kind: str, body: str | None = None, query: dict[str, str] | None = None) -> dict[str, Any]:
    event: dict[str, Any] = {
        "requestContext": {
            "eventType": kind,
            "routeKey": {"CONNECT": "$connect", "DISCONNECT": "$disconnect"}.get(kind, "$default"),
            "connectionId": "c1",
            "domainName": "ws.example",
            "stage": "live",
            "apiId": "farwatchws",
        },
        "isBase64Encoded": False,
    }
    if body is not None:
        event["body"] = body
    if query is not None:
        event["queryStringParameters"] = query
    return event


def records(*bodies: str) -> dict[str, Any]:
    return {
        "Records": [
            {
                "messageId": str(number),
                "receiptHandle": "r",
                "body": body,
                "attributes": {"ApproximateReceiveCount": "1"},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:farwatch-pushes",
                "awsRegion": "eu-west-1",
            }
            for number, body in enumerate(bodies)
        ]
    }


@pytest.fixture
def sent(
    postgres_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[dict[str, Any]]]:
    """What was posted to connections, the network taken away just above boto3's client."""
    document = tmp_path / "secrets.json"
    document.write_text(json.dumps(secrets_document(postgres_url, redis_url)))
    for name, value in {
        "SECRETS_FILE": str(document),
        "WEBSOCKET_ENDPOINT": "http://127.0.0.1:9/live",
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
    }.items():
        monkeypatch.setenv(name, value)
    container.cache_clear()
    posted: list[dict[str, Any]] = []

    def post(self: Any, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        assert operation == "PostToConnection"
        assert self.meta.endpoint_url == "http://127.0.0.1:9/live"
        posted.append({"to": arguments["ConnectionId"], **json.loads(arguments["Data"])})
        return {}

    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", post)
    from functions.live.app import app, live

    live.cache_clear()
    app.websocket_api._endpoint = None
    app.websocket_api._client = None
    yield posted
    live.cache_clear()
    container.cache_clear()


def test_connect_subscribe_push_disconnect(sent: list[dict[str, Any]]) -> None:
    from functions.live.handler import handler

    assert handler(socket("CONNECT", query={"ticket": "nonsense"}), CONTEXT)["statusCode"] == 401
    assert handler(socket("CONNECT"), CONTEXT)["statusCode"] == 401
    made = container()
    made.adapters.redis.hset("session:s1", "user_id", "user_1")
    ticket, _ = made.adapters.tickets.issue("user_1", Role.VIEWER, "s1", now_ms())
    assert handler(socket("CONNECT", query={"ticket": ticket}), CONTEXT)["statusCode"] == 200
    subscribe = json.dumps({"action": "subscribe", "topics": ["incidents", "fleet"]})
    assert handler(socket("MESSAGE", subscribe), CONTEXT)["statusCode"] == 200
    assert [message["type"] for message in sent] == ["subscribed", "subscribed"]
    event = an_event()
    push = Push("fleet", "samples", "b1", 1, {"host_id": "host_1", "times": [], "series": []})
    answer = handler(
        records(encode_event(event), encode_push(push), encode_signal(a_signal()), "garbage"), CONTEXT
    )
    assert [item["itemIdentifier"] for item in answer["batchItemFailures"]] == ["2", "3"]
    assert [(m["type"], m["topic"], m["id"]) for m in sent[2:]] == [
        ("incident.opened", "incidents", event.id),
        ("samples", "fleet", "b1"),
    ]
    assert sent[2]["data"]["title"] == event.title
    assert handler(socket("DISCONNECT"), CONTEXT)["statusCode"] == 200
    handler(records(encode_push(push)), CONTEXT)
    assert len(sent) == 4
