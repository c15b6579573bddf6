"""The adapters of one process: stores, queues and far sides, each made when it is first asked for."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from farwatch.adapters.postgres.database import Database
from farwatch.domain.credentials import derive_key
from farwatch.settings import Secrets, Settings, load_secrets

if TYPE_CHECKING:
    from farwatch.adapters.access_tokens import JwtAccessTokens
    from farwatch.adapters.channels.book import Book
    from farwatch.adapters.mail import SmtpMail
    from farwatch.adapters.passwords import Argon2Passwords
    from farwatch.adapters.postgres.anomalies import PostgresAnomalies
    from farwatch.adapters.postgres.audit import PostgresAuditLog
    from farwatch.adapters.postgres.channels import PostgresChannels
    from farwatch.adapters.postgres.credentials import PostgresCredentials
    from farwatch.adapters.postgres.deliveries import PostgresDeliveries
    from farwatch.adapters.postgres.forecasts import PostgresForecasts
    from farwatch.adapters.postgres.hosts import PostgresHosts
    from farwatch.adapters.postgres.incidents import PostgresIncidents
    from farwatch.adapters.postgres.people import PostgresPeople
    from farwatch.adapters.postgres.preferences import PostgresAudience, PostgresInbox
    from farwatch.adapters.postgres.rules import PostgresRules
    from farwatch.adapters.postgres.sweep import PostgresSweepLog
    from farwatch.adapters.redis.agents import RedisAgentCache, RedisHostMemory
    from farwatch.adapters.redis.client import Redis
    from farwatch.adapters.redis.connections import RedisConnections, RedisPushed
    from farwatch.adapters.redis.credentials import CachedCredentials
    from farwatch.adapters.redis.looks import RedisLookMemory
    from farwatch.adapters.redis.replies import RedisReplies
    from farwatch.adapters.redis.sessions import RedisSessions, RedisTickets
    from farwatch.adapters.sealing import Sealer
    from farwatch.adapters.sns import SnsEventTopic
    from farwatch.adapters.sqs import SqsLookQueue, SqsPushQueue, SqsSignalQueue
    from farwatch.http.cursors import Cursors
    from farwatch.ports.anomalies import RunsDetectors
    from farwatch.ports.metric_store import MetricStore


class Adapters:
    """Everything that one process reaches the outside through, as its settings and secrets say."""

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
    def hash_key(self) -> bytes:
        """Key of the stored hashes of machine credentials and one-time tokens."""
        return derive_key(self.secrets.pepper, "credentials")

    @cached_property
    def audit(self) -> PostgresAuditLog:
        """The audit log."""
        from farwatch.adapters.postgres.audit import PostgresAuditLog

        return PostgresAuditLog(self.database)

    @cached_property
    def replies(self) -> RedisReplies:
        """Answers kept for idempotency keys."""
        from farwatch.adapters.redis.replies import RedisReplies

        return RedisReplies(self.redis, derive_key(self.secrets.pepper, "replies"))

    @cached_property
    def sessions(self) -> RedisSessions:
        """Sign-in sessions."""
        from farwatch.adapters.redis.sessions import RedisSessions

        return RedisSessions(self.redis)

    @cached_property
    def tickets(self) -> RedisTickets:
        """One-time WebSocket tickets."""
        from farwatch.adapters.redis.sessions import RedisTickets

        return RedisTickets(self.redis)

    @cached_property
    def access_tokens(self) -> JwtAccessTokens:
        """Access tokens of people."""
        from farwatch.adapters.access_tokens import JwtAccessTokens

        return JwtAccessTokens(self.secrets.jwt_keys, self.secrets.jwt_active_kid)

    @cached_property
    def credentials(self) -> PostgresCredentials:
        """Enrolment tokens, agents' credentials and API tokens."""
        from farwatch.adapters.postgres.credentials import PostgresCredentials

        return PostgresCredentials(self.database)

    @cached_property
    def credential_lookup(self) -> CachedCredentials:
        """Machine credentials as the authoriser looks them up."""
        from farwatch.adapters.redis.credentials import CachedCredentials

        return CachedCredentials(self.redis, self.credentials)

    @cached_property
    def people(self) -> PostgresPeople:
        """Users, invitations and password resets."""
        from farwatch.adapters.postgres.people import PostgresPeople

        return PostgresPeople(self.database)

    @cached_property
    def mail(self) -> SmtpMail:
        """The installation's mail server, or none."""
        from farwatch.adapters.mail import SmtpMail

        return SmtpMail(self.book.mail_server)

    @cached_property
    def passwords(self) -> Argon2Passwords:
        """Password hashes."""
        from farwatch.adapters.passwords import Argon2Passwords

        return Argon2Passwords()

    @cached_property
    def sqs(self) -> Any:
        """The boto3 SQS client."""
        import boto3

        return boto3.client("sqs")

    @cached_property
    def sns(self) -> Any:
        """The boto3 SNS client. It gives up soon: what it did not publish is in the outbox."""
        import boto3
        from botocore.config import Config

        patience = Config(connect_timeout=2, read_timeout=5, retries={"max_attempts": 2, "mode": "standard"})
        return boto3.client("sns", config=patience)

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
    def look_queue(self) -> SqsLookQueue:
        """The queue from process to detect."""
        from farwatch.adapters.sqs import SqsLookQueue

        return SqsLookQueue(self.sqs, self.settings.looks_queue_url)

    @cached_property
    def look_memory(self) -> RedisLookMemory:
        """What the slow detectors remember of each host."""
        from farwatch.adapters.redis.looks import RedisLookMemory

        return RedisLookMemory(self.redis)

    @cached_property
    def anomaly_log(self) -> PostgresAnomalies:
        """Anomalies and what people say of them."""
        from farwatch.adapters.postgres.anomalies import PostgresAnomalies

        return PostgresAnomalies(self.database)

    @cached_property
    def detect_function(self) -> RunsDetectors:
        """Runs a named detector over a range."""
        import boto3

        from farwatch.adapters.functions import DetectFunction

        return DetectFunction(boto3.client("lambda"), self.settings.detect_function)

    @cached_property
    def sealer(self) -> Sealer:
        """Seals the secrets that are kept in the database."""
        from farwatch.adapters.sealing import Sealer

        return Sealer(self.secrets.pepper)

    @cached_property
    def topic(self) -> SnsEventTopic:
        """The topic of incident events."""
        from farwatch.adapters.sns import SnsEventTopic

        return SnsEventTopic(self.sns, self.settings.events_topic_arn)

    @cached_property
    def incident_store(self) -> PostgresIncidents:
        """Incidents, their signals and timeline."""
        from farwatch.adapters.postgres.incidents import PostgresIncidents

        return PostgresIncidents(self.database)

    @cached_property
    def channels(self) -> PostgresChannels:
        """The configured channels."""
        from farwatch.adapters.postgres.channels import PostgresChannels

        return PostgresChannels(self.database, self.sealer)

    @cached_property
    def audience(self) -> PostgresAudience:
        """Who may be told, and how they want it."""
        from farwatch.adapters.postgres.preferences import PostgresAudience

        return PostgresAudience(self.database, self.sealer)

    @cached_property
    def inbox(self) -> PostgresInbox:
        """In-app notifications."""
        from farwatch.adapters.postgres.preferences import PostgresInbox

        return PostgresInbox(self.database)

    @cached_property
    def deliveries(self) -> PostgresDeliveries:
        """Deliveries and what became of them."""
        from farwatch.adapters.postgres.deliveries import PostgresDeliveries

        return PostgresDeliveries(self.database)

    @cached_property
    def book(self) -> Book:
        """What stands behind each recipient."""
        from farwatch.adapters.channels.book import Book

        return Book(self.channels, self.audience, self.secrets.smtp)

    @cached_property
    def connections(self) -> RedisConnections:
        """Open WebSocket connections."""
        from farwatch.adapters.redis.connections import RedisConnections

        return RedisConnections(self.redis)

    @cached_property
    def pushed(self) -> RedisPushed:
        """What was pushed lately."""
        from farwatch.adapters.redis.connections import RedisPushed

        return RedisPushed(self.redis)

    @cached_property
    def forecast_store(self) -> PostgresForecasts:
        """Forecasts and outlooks."""
        from farwatch.adapters.postgres.forecasts import PostgresForecasts

        return PostgresForecasts(self.database)

    @cached_property
    def sweep_log(self) -> PostgresSweepLog:
        """The sweep's own record."""
        from farwatch.adapters.postgres.sweep import PostgresSweepLog

        return PostgresSweepLog(self.database)
