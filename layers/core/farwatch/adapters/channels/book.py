"""Which server, webhook or integration stands behind a recipient, from configured channels and people's own."""

from __future__ import annotations

import time
from typing import Literal, cast

from farwatch.adapters.channels.email import MailServer
from farwatch.adapters.channels.pagerduty import EVENTS_URL, Service
from farwatch.adapters.postgres.channels import PostgresChannels
from farwatch.adapters.postgres.preferences import PostgresAudience
from farwatch.domain.routing import Channel
from farwatch.ports.deliveries import ChannelRow
from farwatch.settings import SmtpSecrets

_KEPT_S = 5.0
INSTALLATION_MAIL = "installation"


class Book:
    """Looks destinations up. The mail server is remembered for a few seconds: every mail asks for it."""

    def __init__(self, channels: PostgresChannels, people: PostgresAudience, smtp: SmtpSecrets) -> None:
        self._channels = channels
        self._people = people
        self._smtp = smtp
        self._mail: tuple[float, MailServer | None] = (0.0, None)

    def ready(self, channel: Channel) -> bool:
        """Whether the channel can be used at all: e-mail needs a mail server."""
        return channel is not Channel.EMAIL or self.mail_server() is not None

    def mail_server(self) -> MailServer | None:
        """Return the configured mail server, else the installation's own, else None."""
        until, server = self._mail
        if time.monotonic() >= until:
            row = self._channels.mail_server()
            server = mail_server_of(row) if row is not None else self._installation_server()
            self._mail = (time.monotonic() + _KEPT_S, server)
        return server

    def _installation_server(self) -> MailServer | None:
        smtp = self._smtp
        if not smtp.host:
            return None
        return MailServer(
            id=INSTALLATION_MAIL,
            host=smtp.host,
            port=smtp.port,
            security=smtp.security,
            sender=smtp.sender,
            username=smtp.username,
            password=smtp.password,
        )

    def webhook(self, recipient: str) -> str | None:
        """Return the Slack webhook of ``chan_…`` or ``user:<id>``."""
        return self._secret(recipient, "webhook_url", "slack_webhook_url")

    def pagerduty(self, recipient: str) -> Service | None:
        """Return the PagerDuty integration of ``chan_…`` or ``user:<id>``."""
        key = self._secret(recipient, "routing_key", "pagerduty_routing_key")
        if key is None:
            return None
        row = None if recipient.startswith("user:") else self._channels.get(recipient)
        url = row.config.get("url") if row is not None else None
        return Service(key, str(url) if url else EVENTS_URL)

    def _secret(self, recipient: str, shared: str, personal: str) -> str | None:
        if recipient.startswith("user:"):
            person = self._people.get(recipient.removeprefix("user:"))
            return person.personal.get(personal) if person is not None else None
        row = self._channels.get(recipient)
        return row.secret.get(shared) if row is not None else None


def mail_server_of(row: ChannelRow) -> MailServer:
    """Return the mail server a channel row describes."""
    config = row.config
    return MailServer(
        id=row.id,
        host=str(config["host"]),
        port=int(cast(int, config["port"])),
        security=cast(Literal["starttls", "tls", "none"], config["security"]),
        sender=str(config["sender"]),
        username=str(config.get("username") or ""),
        password=row.secret.get("password", ""),
    )
