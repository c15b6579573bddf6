"""A container over real stores and moto's queues, as the handlers find it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from farwatch import bootstrap


@pytest.fixture
def made(
    tmp_path: Path, postgres_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[bootstrap.Container]:
    """The process's container, with a host ``host_a`` enrolled."""
    secrets = {
        "database_url": postgres_url,
        "redis_url": redis_url,
        "jwt_keys": {"k1": base64.b64encode(bytes(32)).decode()},
        "jwt_active_kid": "k1",
        "pepper": "p" * 32,
    }
    (tmp_path / "secrets.json").write_text(json.dumps(secrets))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("SECRETS_FILE", str(tmp_path / "secrets.json"))
    with mock_aws():
        queue: Any = boto3.client("sqs").create_queue(
            QueueName="samples.fifo", Attributes={"FifoQueue": "true"}
        )
        monkeypatch.setenv("SAMPLES_QUEUE_URL", queue["QueueUrl"])
        bootstrap.container.cache_clear()
        container = bootstrap.container()
        with container.adapters.database.transaction() as connection:
            connection.execute("INSERT INTO hosts (id, name) VALUES ('host_a', 'web-1')")
        yield container
        container.adapters.database.close()
        bootstrap.container.cache_clear()
