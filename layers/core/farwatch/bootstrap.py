"""Builds what a function needs, once per container, at first use and never at import.

A handler asks ``container()`` for its use case; tests build a ``Container`` of their own from other settings.
"""

from __future__ import annotations

from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from farwatch.adapters.postgres.database import Database
from farwatch.domain.credentials import derive_key
from farwatch.observability import start_error_tracking
from farwatch.settings import Secrets, Settings, load_secrets

if TYPE_CHECKING:
    from farwatch.adapters.postgres.hosts import PostgresHosts
    from farwatch.adapters.postgres.rules import PostgresRules
    from farwatch.adapters.redis.agents import RedisAgentCache, RedisHostMemory
    from farwatch.adapters.redis.client import Redis
    from farwatch.adapters.sqs import SqsPushQueue, SqsSignalQueue
    from farwatch.http.cursors import Cursors
    from farwatch.ports.metric_store import MetricStore
    from farwatch.services.ingest import Ingest
    from farwatch.services.process import Process


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

    def redis_ping(self) -> None:
        """Return when Redis answers; raises Unavailable when it does not."""
        from farwatch.adapters.redis.client import guarded

        with guarded():
            self.redis.ping()

    @cached_property
    def cursors(self) -> Cursors:
        """Signs and reads page cursors."""
        from farwatch.http.cursors import Cursors

        return Cursors(derive_key(self.secrets.pepper, "cursors"))

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

    @cached_property
    def metric_store(self) -> MetricStore:
        """Where samples are kept, as ``METRIC_STORE`` says."""
        if self.settings.metric_store == "influx":
            from farwatch.adapters.influx import InfluxMetricStore

            settings = self.settings
            return InfluxMetricStore(
                settings.influx_url, self.secrets.influx_token, settings.influx_org, settings.influx_bucket
            )
        from farwatch.adapters.postgres.samples import PostgresMetricStore

        return PostgresMetricStore(self.database)

    @cached_property
    def hosts(self) -> PostgresHosts:
        """The register of hosts."""
        from farwatch.adapters.postgres.hosts import PostgresHosts

        return PostgresHosts(self.database, self.settings.default_interval_s)

    @cached_property
    def rules(self) -> PostgresRules:
        """The rules."""
        from farwatch.adapters.postgres.rules import PostgresRules

        return PostgresRules(self.database)

    @cached_property
    def agent_cache(self) -> RedisAgentCache:
        """Quick answers for agents."""
        from farwatch.adapters.redis.agents import RedisAgentCache

        return RedisAgentCache(self.redis)

    @cached_property
    def host_memory(self) -> RedisHostMemory:
        """What process remembers of each host, and its newest values."""
        from farwatch.adapters.redis.agents import RedisHostMemory

        return RedisHostMemory(self.redis)

    @cached_property
    def signals(self) -> SqsSignalQueue:
        """The queue to incidents."""
        from farwatch.adapters.sqs import SqsSignalQueue

        return SqsSignalQueue(self.sqs, self.settings.signals_queue_url)

    @cached_property
    def pushes(self) -> SqsPushQueue:
        """The queue to live."""
        from farwatch.adapters.sqs import SqsPushQueue

        return SqsPushQueue(self.sqs, self.settings.pushes_queue_url)

    @cached_property
    def ingest(self) -> Ingest:
        """The use case behind ``POST /api/v1/metrics/batches``."""
        from farwatch.adapters.sqs import SqsSampleQueue
        from farwatch.services.ingest import Ingest

        queue = SqsSampleQueue(self.sqs, self.settings.samples_queue_url)
        return Ingest(self.hosts, self.agent_cache, queue)

    @cached_property
    def process(self) -> Process:
        """The use case behind ``samples.fifo``."""
        from farwatch.adapters.postgres.anomalies import PostgresAnomalies
        from farwatch.services.process import Process

        return Process(
            self.metric_store,
            self.hosts,
            self.rules,
            self.agent_cache,
            self.host_memory,
            PostgresAnomalies(self.database),
            self.signals,
            self.pushes,
        )


@cache
def container() -> Container:
    """Return this process's container, reading settings from the environment the first time."""
    settings = Settings()
    start_error_tracking(settings.sentry_dsn, settings.environment)
    return Container(settings)
