"""The use cases of one process, each made of its adapters when it is first asked for."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING

from farwatch.bootstrap.adapters import Adapters
from farwatch.settings import Secrets, Settings

if TYPE_CHECKING:
    from farwatch.domain.routing import Channel
    from farwatch.ports.deliveries import Sender
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
    """Everything one process shares: its ``adapters``, and the use cases that are made of them."""

    def __init__(self, settings: Settings, secrets: Secrets | None = None) -> None:
        self.settings = settings
        self.adapters = Adapters(settings, secrets)

    @cached_property
    def rate_limits(self) -> SpendRateLimits:
        """The rate limits."""
        from farwatch.adapters.redis.rate_limits import RedisBuckets
        from farwatch.services.rate_limits import SpendRateLimits

        return SpendRateLimits(RedisBuckets(self.adapters.redis))

    @cached_property
    def access(self) -> Access:
        """The use case behind the authoriser."""
        from farwatch.services.access import Access

        return Access(
            self.adapters.access_tokens,
            self.adapters.sessions,
            self.adapters.credential_lookup,
            self.renewal,
            self.adapters.hash_key,
        )

    @cached_property
    def renewal(self) -> Renewal:
        """How agents' credentials are replaced."""
        from farwatch.services.renewal import Renewal

        return Renewal(
            self.adapters.database,
            self.adapters.credentials,
            self.adapters.credential_lookup,
            self.adapters.audit,
            hash_key=self.adapters.hash_key,
            lifetime_ms=round(self.settings.credential_days * 86_400_000),
        )

    @cached_property
    def auth(self) -> Auth:
        """The use cases behind ``/api/v1/auth``."""
        from farwatch.adapters.oidc import OidcProvider
        from farwatch.adapters.redis.sessions import RedisLoginGuard, RedisSpentIdentities
        from farwatch.services.auth import Auth, SsoRoles

        settings = self.settings
        provider = OidcProvider(
            settings.oidc_issuer, settings.oidc_client_id, settings.oidc_jwks_url, settings.oidc_groups_claim
        )
        return Auth(
            self.adapters.database,
            self.adapters.people,
            self.adapters.sessions,
            RedisLoginGuard(self.adapters.redis),
            self.adapters.passwords,
            self.adapters.access_tokens,
            provider,
            RedisSpentIdentities(self.adapters.redis),
            self.adapters.audit,
            self.adapters.mail,
            hash_key=self.adapters.hash_key,
            dashboard_url=settings.dashboard_url,
            sso_roles=SsoRoles.parse(settings.oidc_roles, settings.oidc_default_role),
        )

    @cached_property
    def manage_people(self) -> ManagePeople:
        """The use cases behind ``/api/v1/users``."""
        from farwatch.services.people import ManagePeople

        return ManagePeople(
            self.adapters.database,
            self.adapters.people,
            self.adapters.sessions,
            self.adapters.credentials,
            self.adapters.credential_lookup,
            self.adapters.audit,
            self.adapters.mail,
            self.auth,
            hash_key=self.adapters.hash_key,
            dashboard_url=self.settings.dashboard_url,
        )

    @cached_property
    def enrol(self) -> Enrol:
        """The use cases behind ``/api/v1/agents``."""
        from farwatch.services.enrol import Enrol

        return Enrol(
            self.adapters.database,
            self.adapters.credentials,
            self.adapters.credential_lookup,
            self.adapters.audit,
            hash_key=self.adapters.hash_key,
        )

    @cached_property
    def api_tokens(self) -> ApiTokens:
        """The use cases behind ``/api/v1/tokens``."""
        from farwatch.services.api_tokens import ApiTokens

        return ApiTokens(
            self.adapters.database,
            self.adapters.credentials,
            self.adapters.credential_lookup,
            self.adapters.audit,
            hash_key=self.adapters.hash_key,
        )

    @cached_property
    def scans(self) -> Scans:
        """The use cases behind ``/api/v1/scans``."""
        from farwatch.adapters.postgres.scans import PostgresScans
        from farwatch.services.scans import Scans

        return Scans(self.adapters.database, PostgresScans(self.adapters.database), self.adapters.audit)

    @cached_property
    def query(self) -> Query:
        """What people read of hosts and samples."""
        from farwatch.domain.retention import Retention
        from farwatch.services.query import Query

        return Query(
            self.adapters.hosts,
            self.adapters.metric_store,
            self.adapters.host_memory,
            self.adapters.agent_cache,
            Retention(),
        )

    @cached_property
    def ingest(self) -> Ingest:
        """The use case behind ``POST /api/v1/metrics/batches``."""
        from farwatch.adapters.redis.speakers import RedisSpeakers
        from farwatch.adapters.sqs import SqsSampleQueue
        from farwatch.services.enrol import WatchForClones
        from farwatch.services.ingest import Ingest

        queue = SqsSampleQueue(self.adapters.sqs, self.settings.samples_queue_url)
        clones = WatchForClones(
            self.adapters.database,
            self.adapters.credentials,
            RedisSpeakers(self.adapters.redis),
            self.adapters.audit,
        )
        return Ingest(self.adapters.hosts, self.adapters.agent_cache, queue, clones)

    @cached_property
    def process(self) -> Process:
        """The use case behind ``samples.fifo``."""
        from farwatch.services.process import Process

        return Process(
            self.adapters.metric_store,
            self.adapters.hosts,
            self.adapters.rules,
            self.adapters.agent_cache,
            self.adapters.host_memory,
            self.adapters.anomaly_log,
            self.adapters.signals,
            self.adapters.pushes,
            self.adapters.look_queue,
        )

    @cached_property
    def looks(self) -> Looks:
        """The use case behind ``looks.fifo``."""
        from farwatch.services.look import Looks

        return Looks(
            self.adapters.metric_store,
            self.adapters.hosts,
            self.adapters.anomaly_log,
            self.adapters.look_memory,
        )

    @cached_property
    def anomalies(self) -> Anomalies:
        """What people do with anomalies."""
        from farwatch.services.anomalies import Anomalies

        return Anomalies(
            self.adapters.anomaly_log,
            self.adapters.hosts,
            self.adapters.metric_store,
            self.adapters.detect_function,
        )

    @cached_property
    def publisher(self) -> Publisher:
        """From the outbox to the topic."""
        from farwatch.adapters.postgres.outbox import PostgresOutbox
        from farwatch.services.outbox import Publisher

        return Publisher(PostgresOutbox(self.adapters.database), self.adapters.topic)

    @cached_property
    def incidents(self) -> Incidents:
        """The use cases around incidents."""
        from farwatch.domain.incidents import Policy
        from farwatch.services.incidents import Incidents

        return Incidents(
            self.adapters.incident_store, self.publisher, Policy(group_wait_s=self.settings.group_wait_s)
        )

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
                self.adapters.book.mail_server, dashboard_url=url, environment=self.settings.environment
            ),
            Channel.SLACK: SlackSender(self.adapters.book.webhook, dashboard_url=url),
            Channel.PAGERDUTY: PagerDutySender(self.adapters.book.pagerduty, dashboard_url=url),
            Channel.IN_APP: InAppSender(self.adapters.inbox, self.adapters.pushes),
        }

    @cached_property
    def notify(self) -> Notify:
        """The use case behind the channel queues."""
        from farwatch.services.notify import Notify

        return Notify(
            self.adapters.deliveries,
            self.adapters.audience,
            self.adapters.channels,
            self.adapters.inbox,
            self.adapters.pushes,
            self.senders,
            ready=self.adapters.book.ready,
            clock=lambda: time.time_ns() // 1_000_000,
        )

    def recipient_names(self) -> dict[str, str]:
        """Return what people call the recipients of deliveries, by id."""
        people = {person.user_id: person.name for person in self.adapters.audience.all()}
        own = {f"user:{user_id}": name for user_id, name in people.items()}
        return {**people, **own, **{item.id: item.name for item in self.adapters.channels.destinations()}}

    @cached_property
    def manage_channels(self) -> ManageChannels:
        """Configuring and trying channels."""
        from farwatch.services.channels import ManageChannels

        return ManageChannels(self.adapters.channels, self.senders, self.settings.environment)

    @cached_property
    def manage_preferences(self) -> ManagePreferences:
        """What each person wants."""
        from farwatch.services.channels import ManagePreferences

        return ManagePreferences(self.adapters.audience)

    @cached_property
    def forecasts(self) -> Forecasts:
        """Ask for forecasts, make them, judge them."""
        import boto3

        from farwatch.adapters.functions import ForecastFunction
        from farwatch.services.forecast import Forecasts

        background = ForecastFunction(boto3.client("lambda"), self.settings.forecast_function)
        return Forecasts(
            self.adapters.metric_store,
            self.adapters.hosts,
            self.adapters.forecast_store,
            background,
            self.adapters.pushes,
        )

    @cached_property
    def capacities(self) -> Capacities:
        """Time to full, for the whole fleet."""
        from farwatch.services.forecast import Capacities

        return Capacities(
            self.forecasts,
            self.adapters.forecast_store,
            self.adapters.hosts,
            self.adapters.signals,
        )

    def findings(self, now: int) -> list[Finding]:
        """Return the health of the sweep, of the batches on their way, of each channel, deliveries and dead letters."""
        from farwatch.adapters.sqs import SqsDeadLetters
        from farwatch.domain.hosts import waiting_ms
        from farwatch.domain.routing import Channel
        from farwatch.services.door import heard
        from farwatch.services.health import findings

        door = heard(self.adapters.agent_cache, "nobody knows whether batches wait")
        found = findings(
            steps=self.adapters.sweep_log.steps(),
            waiting_ms=[waiting_ms(host, door, now) for host in self.adapters.hosts.all()],
            channels=self.adapters.channels.all(),
            email_ready=self.adapters.book.ready(Channel.EMAIL),
            undelivered=self.adapters.deliveries.undelivered(now - 86_400_000),
            dead_letters=SqsDeadLetters(self.adapters.sqs, self.settings.samples_queue_url),
            now=now,
        )
        return list(found)

    @cached_property
    def sweep(self) -> Sweep:
        """Everything that is done once a minute, most urgent first."""
        from farwatch.domain.retention import Retention
        from farwatch.services import sweep

        watch = sweep.Watch(
            self.adapters.hosts,
            self.adapters.agent_cache,
            self.adapters.incident_store,
            self.incidents,
            self.adapters.signals,
            self.adapters.sweep_log,
        )
        return sweep.Sweep(
            {
                "watch": watch.look,
                "announce": lambda now: sweep.announce_due(self.adapters.incident_store, self.incidents, now),
                "publish": self.publisher.publish_again,
                "deliver": lambda now: sweep.ring_again(self.adapters.deliveries, self.adapters.topic, now),
                "roll_up": self.adapters.metric_store.roll_up,
                "retain": lambda now: self.adapters.metric_store.expire(Retention(), now),
                "forget": lambda now: sweep.forget(
                    self.adapters.incident_store, self.adapters.inbox, self.adapters.anomaly_log, now
                ),
            },
            self.adapters.sweep_log,
        )
