"""Builds what a function needs, once per container, at first use and never at import.

A handler asks ``container()`` for its use case; tests build a ``Container`` of their own from other settings.
"""

from __future__ import annotations

from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from farwatch.adapters.postgres.database import Database
from farwatch.observability import start_error_tracking
from farwatch.settings import Secrets, Settings, load_secrets

if TYPE_CHECKING:
    from farwatch.adapters.redis.client import Redis


class Container:
    """Everything one process shares. Each property is made when it is first asked for."""

    def __init__(self, settings: Settings, secrets: Secrets | None = None) -> None:
        self.settings = settings
        self._secrets = secrets

    @cached_property
    def secrets(self) -> Secrets:
        """The secrets document."""
        return self._secrets if self._secrets is not None else load_secrets(self.settings)

    @cached_property
    def database(self) -> Database:
        """The PostgreSQL connection."""
        return Database(self.secrets.database_url)

    @cached_property
    def redis(self) -> Redis:
        """The Redis connection."""
        from farwatch.adapters.redis.client import connect

        return connect(self.secrets.redis_url)

    @cached_property
    def sqs(self) -> Any:
        """The boto3 SQS client."""
        import boto3

        return boto3.client("sqs")

    @cached_property
    def sns(self) -> Any:
        """The boto3 SNS client."""
        import boto3

        return boto3.client("sns")


@cache
def container() -> Container:
    """Return this process's container, reading settings from the environment the first time."""
    settings = Settings()
    start_error_tracking(settings.sentry_dsn, settings.environment)
    return Container(settings)
