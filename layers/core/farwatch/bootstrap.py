"""Builds what a function needs, once per container, at first use and never at import.

A handler asks ``container()`` for its use case; tests build a ``Container`` of their own from other settings.
"""

from __future__ import annotations

import time
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from farwatch.adapters.postgres.database import Database
from farwatch.domain.credentials import derive_key
from farwatch.observability import start_error_tracking
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
    from farwatch.domain.routing import Channel
    from farwatch.http.cursors import Cursors
    from farwatch.ports.anomalies import RunsDetectors
    from farwatch.ports.deliveries import Sender
    from farwatch.ports.metric_store import MetricStore
    from farwatch.services.access import Access
    from farwatch.services.anomalies import Anomalies
    from farwatch.services.api_tokens import ApiTokens
    from farwatch.services.auth import Auth
    from farwatch.services.channels import ManageChannels, ManagePreferences
    from farwatch.services.enrol import Enrol
    from farwatch.services.forecast import Capacities, Forecasts
    from farwatch.services.health import Finding
    from farwatch.services.incidents import Incidents
    from farwatch.services.ingest import Ingest
    from farwatch.services.look import Looks
    from farwatch.services.notify import Notify
    from farwatch.services.outbox import Publisher
    from farwatch.services.people import ManagePeople
    from farwatch.services.process import Process
    from farwatch.services.query import Query
    from farwatch.services.rate_limits import SpendRateLimits
    from farwatch.services.renewal import Renewal
    from farwatch.services.scans import Scans
    from farwatch.services.sweep import Sweep


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
    def hash_key(self) -> bytes:
        """Key of the stored hashes of machine credentials and one-time tokens."""
        return derive_key(self.secrets.pepper, "credentials")

    @cached_property
    def audit(self) -> PostgresAuditLog:
        """The audit log."""
        from farwatch.adapters.postgres.audit import PostgresAuditLog

        return PostgresAuditLog(self.database)

    @cached_property
    def rate_limits(self) -> SpendRateLimits:
        """The rate limits."""
        from farwatch.adapters.redis.rate_limits import RedisBuckets
        from farwatch.services.rate_limits import SpendRateLimits

        return SpendRateLimits(RedisBuckets(self.redis))

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
    def access(self) -> Access:
        """The use case behind the authoriser."""
        from farwatch.services.access import Access

        return Access(self.access_tokens, self.sessions, self.credential_lookup, self.renewal, self.hash_key)

    @cached_property
    def renewal(self) -> Renewal:
        """How agents' credentials are replaced."""
        from farwatch.services.renewal import Renewal

        return Renewal(
            self.database,
            self.credentials,
            self.credential_lookup,
            self.audit,
            hash_key=self.hash_key,
            lifetime_ms=round(self.settings.credential_days * 86_400_000),
        )

    @cached_property
    def auth(self) -> Auth:
        """The use cases behind ``/api/v1/auth``."""
        from farwatch.adapters.oidc import OidcProvider
        from farwatch.adapters.redis.sessions import RedisLoginGuard
        from farwatch.services.auth import Auth, SsoRoles

        settings = self.settings
        provider = OidcProvider(
            settings.oidc_issuer, settings.oidc_client_id, settings.oidc_jwks_url, settings.oidc_groups_claim
        )
        return Auth(
            self.database,
            self.people,
            self.sessions,
            RedisLoginGuard(self.redis),
            self.passwords,
            self.access_tokens,
            provider,
            self.audit,
            self.mail,
            hash_key=self.hash_key,
            dashboard_url=settings.dashboard_url,
            sso_roles=SsoRoles.parse(settings.oidc_roles, settings.oidc_default_role),
        )

    @cached_property
    def manage_people(self) -> ManagePeople:
        """The use cases behind ``/api/v1/users``."""
        from farwatch.services.people import ManagePeople

        return ManagePeople(
            self.database,
            self.people,
            self.sessions,
            self.credentials,
            self.credential_lookup,
            self.audit,
            self.mail,
            self.auth,
            hash_key=self.hash_key,
            dashboard_url=self.settings.dashboard_url,
        )

    @cached_property
    def enrol(self) -> Enrol:
        """The use cases behind ``/api/v1/agents``."""
        from farwatch.services.enrol import Enrol

        return Enrol(
            self.database, self.credentials, self.credential_lookup, self.audit, hash_key=self.hash_key
        )

    @cached_property
    def api_tokens(self) -> ApiTokens:
        """The use cases behind ``/api/v1/tokens``."""
        from farwatch.services.api_tokens import ApiTokens

        return ApiTokens(
            self.database, self.credentials, self.credential_lookup, self.audit, hash_key=self.hash_key
        )

    @cached_property
    def scans(self) -> Scans:
        """The use cases behind ``/api/v1/scans``."""
        from farwatch.adapters.postgres.scans import PostgresScans
        from farwatch.services.scans import Scans

        return Scans(self.database, PostgresScans(self.database), self.audit)

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
    def query(self) -> Query:
        """What people read of hosts and samples."""
        from farwatch.domain.retention import Retention
        from farwatch.services.query import Query

        return Query(self.hosts, self.metric_store, self.host_memory, Retention())

    @cached_property
    def ingest(self) -> Ingest:
        """The use case behind ``POST /api/v1/metrics/batches``."""
        from farwatch.adapters.redis.speakers import RedisSpeakers
        from farwatch.adapters.sqs import SqsSampleQueue
        from farwatch.services.enrol import WatchForClones
        from farwatch.services.ingest import Ingest

        queue = SqsSampleQueue(self.sqs, self.settings.samples_queue_url)
        clones = WatchForClones(self.database, self.credentials, RedisSpeakers(self.redis), self.audit)
        return Ingest(self.hosts, self.agent_cache, queue, clones)

    @cached_property
    def process(self) -> Process:
        """The use case behind ``samples.fifo``."""
        from farwatch.services.process import Process

        return Process(
            self.metric_store,
            self.hosts,
            self.rules,
            self.agent_cache,
            self.host_memory,
            self.anomaly_log,
            self.signals,
            self.pushes,
            self.look_queue,
        )

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
    def looks(self) -> Looks:
        """The use case behind ``looks.fifo``."""
        from farwatch.services.look import Looks

        return Looks(self.metric_store, self.hosts, self.anomaly_log, self.look_memory)

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
    def anomalies(self) -> Anomalies:
        """What people do with anomalies."""
        from farwatch.services.anomalies import Anomalies

        return Anomalies(self.anomaly_log, self.hosts, self.metric_store, self.detect_function)

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
    def publisher(self) -> Publisher:
        """From the outbox to the topic."""
        from farwatch.adapters.postgres.outbox import PostgresOutbox
        from farwatch.services.outbox import Publisher

        return Publisher(PostgresOutbox(self.database), self.topic)

    @cached_property
    def incidents(self) -> Incidents:
        """The use cases around incidents."""
        from farwatch.domain.incidents import Policy
        from farwatch.services.incidents import Incidents

        return Incidents(self.incident_store, self.publisher, Policy(group_wait_s=self.settings.group_wait_s))

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
    def senders(self) -> dict[Channel, Sender]:
        """One sender for each channel."""
        from farwatch.adapters.channels.email import EmailSender
        from farwatch.adapters.channels.pagerduty import PagerDutySender
        from farwatch.adapters.channels.slack import SlackSender
        from farwatch.domain.routing import Channel
        from farwatch.services.inbox import InAppSender

        url = self.settings.dashboard_url
        return {
            Channel.EMAIL: EmailSender(
                self.book.mail_server, dashboard_url=url, environment=self.settings.environment
            ),
            Channel.SLACK: SlackSender(self.book.webhook, dashboard_url=url),
            Channel.PAGERDUTY: PagerDutySender(self.book.pagerduty, dashboard_url=url),
            Channel.IN_APP: InAppSender(self.inbox, self.pushes),
        }

    @cached_property
    def notify(self) -> Notify:
        """The use case behind the channel queues."""
        from farwatch.services.notify import Notify

        return Notify(
            self.deliveries,
            self.audience,
            self.channels,
            self.inbox,
            self.pushes,
            self.senders,
            ready=self.book.ready,
            clock=lambda: time.time_ns() // 1_000_000,
        )

    def recipient_names(self) -> dict[str, str]:
        """Return what people call the recipients of deliveries, by id."""
        people = {person.user_id: person.name for person in self.audience.all()}
        own = {f"user:{user_id}": name for user_id, name in people.items()}
        return {**people, **own, **{item.id: item.name for item in self.channels.destinations()}}

    @cached_property
    def manage_channels(self) -> ManageChannels:
        """Configuring and trying channels."""
        from farwatch.services.channels import ManageChannels

        return ManageChannels(self.channels, self.senders, self.settings.environment)

    @cached_property
    def manage_preferences(self) -> ManagePreferences:
        """What each person wants."""
        from farwatch.services.channels import ManagePreferences

        return ManagePreferences(self.audience)

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
    def forecasts(self) -> Forecasts:
        """Ask for forecasts, make them, judge them."""
        import boto3

        from farwatch.adapters.functions import ForecastFunction
        from farwatch.services.forecast import Forecasts

        background = ForecastFunction(boto3.client("lambda"), self.settings.forecast_function)
        return Forecasts(self.metric_store, self.hosts, self.forecast_store, background, self.pushes)

    @cached_property
    def capacities(self) -> Capacities:
        """Time to full, for the whole fleet."""
        from farwatch.services.forecast import Capacities

        return Capacities(self.forecasts, self.forecast_store, self.hosts, self.metric_store, self.signals)

    @cached_property
    def sweep_log(self) -> PostgresSweepLog:
        """The sweep's own record."""
        from farwatch.adapters.postgres.sweep import PostgresSweepLog

        return PostgresSweepLog(self.database)

    def findings(self, now: int) -> list[Finding]:
        """Return the health of the sweep, of each channel and of deliveries."""
        from farwatch.domain.routing import Channel
        from farwatch.services.health import findings

        found = findings(
            steps=self.sweep_log.steps(),
            channels=self.channels.all(),
            email_ready=self.book.ready(Channel.EMAIL),
            undelivered=self.deliveries.undelivered(now - 86_400_000),
            now=now,
        )
        return list(found)

    @cached_property
    def sweep(self) -> Sweep:
        """Everything that is done once a minute, most urgent first."""
        from farwatch.domain.retention import Retention
        from farwatch.services import sweep

        watch = sweep.Watch(self.hosts, self.incident_store, self.incidents, self.signals, self.sweep_log)
        return sweep.Sweep(
            {
                "watch": watch.look,
                "announce": lambda now: sweep.announce_due(self.incident_store, self.incidents, now),
                "publish": self.publisher.publish_again,
                "deliver": lambda now: sweep.ring_again(self.deliveries, self.topic, now),
                "roll_up": self.metric_store.roll_up,
                "retain": lambda now: self.metric_store.expire(Retention(), now),
                "forget": lambda now: sweep.forget(self.incident_store, self.inbox, now),
            },
            self.sweep_log,
        )


@cache
def container() -> Container:
    """Return this process's container, reading settings from the environment the first time."""
    settings = Settings()
    start_error_tracking(settings.sentry_dsn, settings.environment)
    return Container(settings)
