"""Channels and preferences: what people configure, checked before it is kept, and tried on demand."""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Callable, Mapping
from dataclasses import replace
from email.errors import HeaderParseError
from email.headerregistry import Address
from typing import Any

from farwatch.domain.events import EventKind, Evidence, IncidentEvent
from farwatch.domain.people import normal_email
from farwatch.domain.routing import Channel, Preferences
from farwatch.domain.severity import Severity
from farwatch.domain.webhooks import address_fault
from farwatch.errors import DependencyError, FieldError, InvalidInput, Misconfigured, NotFound
from farwatch.ids import new_id
from farwatch.ports.deliveries import RECIPIENT_REJECTED, Audience, ChannelRow, Channels, PersonRow, Sender

_ROUTING_KEY = re.compile(r"[A-Za-z0-9]{32}")
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
# A person may point only at Slack itself: whoever configures a channel for all is trusted with any address.
PERSONAL_SLACK = ("https://hooks.slack.com/", "https://hooks.slack-gov.com/")


class ManageChannels:
    """Make, change, try and remove channels. Secrets go in and never come out."""

    def __init__(self, channels: Channels, senders: Mapping[Channel, Sender], environment: str) -> None:
        self._channels = channels
        self._senders = senders
        self._environment = environment

    def all(self) -> list[ChannelRow]:
        """Return every channel."""
        return self._channels.all()

    def get(self, channel_id: str) -> ChannelRow:
        """Return one channel; raises NotFound."""
        found = self._channels.get(channel_id)
        if found is None:
            raise NotFound("there is no such channel", code="unknown_channel")
        return found

    def create(
        self,
        *,
        kind: Channel,
        name: str,
        enabled: bool,
        min_severity: Severity,
        settings: Mapping[str, Any],
        now: int,
    ) -> ChannelRow:
        """Make a channel. Raises InvalidInput naming each bad setting, Conflict for a second mail server."""
        config, secret = _split(kind, settings)
        check_settings(kind, config, secret)
        row = ChannelRow(
            id=new_id("chan"),
            kind=kind,
            name=name,
            config=config,
            secret=secret,
            enabled=enabled,
            min_severity=min_severity,
            created_at=now,
        )
        self._channels.add(row)
        return row

    def change(
        self, channel_id: str, *, changes: Mapping[str, Any], settings: Mapping[str, Any], version: int | None
    ) -> ChannelRow:
        """Change what is given and keep the rest, secrets included. Raises InvalidInput, NotFound, PreconditionFailed."""
        old = self.get(channel_id)
        config, secret = _split(old.kind, settings)
        row = replace(
            old,
            config={**old.config, **config},
            secret={**old.secret, **secret},
            version=old.version if version is None else version,
            **changes,
        )
        check_settings(row.kind, row.config, row.secret)
        return self._channels.save(row)

    def remove(self, channel_id: str) -> None:
        """Delete a channel; raises NotFound. What it still owed is recorded as failed."""
        self._channels.remove(channel_id)

    def test(self, channel_id: str, *, address: str, actor: str, now: int) -> tuple[bool, str]:
        """Send an opening and its end over the channel; return whether that worked, or why not.

        E-mail goes to ``address``. The incident in the message is made up and says so.
        """
        row = self.get(channel_id)
        recipient = address if row.kind is Channel.EMAIL else row.id
        sender = self._senders[row.kind]
        try:
            for number, event in enumerate(sample_events(actor, self._environment, now)):
                sender.send(event, recipient, f"dlv_test{now}{number}")
        except (DependencyError, Misconfigured) as error:
            if error.code != RECIPIENT_REJECTED:  # of a mailbox alone: the mail server answers
                self._channels.note_health(row.id, healthy=False, error=error.message, now=now)
            return False, error.message
        self._channels.note_health(row.id, healthy=True, error="", now=now)
        return True, ""


class ManagePreferences:
    """What one person wants, and their own destinations."""

    def __init__(self, audience: Audience) -> None:
        self._audience = audience

    def get(self, user_id: str) -> PersonRow:
        """Return a person's preferences; raises NotFound."""
        found = self._audience.get(user_id)
        if found is None:
            raise NotFound("there is no such person", code="unknown_user")
        return found

    def save(
        self,
        user_id: str,
        *,
        address: str,
        enabled: frozenset[Channel],
        min_severity: Severity,
        timezone: str,
        personal: Mapping[str, str | None],
        version: int | None,
    ) -> PersonRow:
        """Replace a person's preferences; ``personal`` names the destinations to set (text) or forget (None).

        Raises InvalidInput naming each bad field, PreconditionFailed when they changed since ``version``.
        """
        old = self.get(user_id)
        address = _mail_address(address) if address.strip() else ""
        _check_timezone(timezone)
        kept = {
            name: value for name, value in {**old.personal, **personal}.items() if value is not None and value
        }
        _check_personal(kept)
        own = {
            channel
            for channel, name in (
                (Channel.SLACK, "slack_webhook_url"),
                (Channel.PAGERDUTY, "pagerduty_routing_key"),
            )
            if name in kept
        }
        wanted = Preferences(
            user_id=user_id,
            name=old.preferences.name,
            address=address,
            enabled=enabled,
            personal=frozenset(own),
            min_severity=min_severity,
            timezone=timezone,
        )
        return self._audience.save(
            PersonRow(wanted, address, kept, version=old.version if version is None else version)
        )


def _split(kind: Channel, settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    secret_names = {
        Channel.EMAIL: {"password"},
        Channel.SLACK: {"webhook_url"},
        Channel.PAGERDUTY: {"routing_key"},
    }[kind]
    config = {name: value for name, value in settings.items() if name not in secret_names}
    return config, {name: str(value) for name, value in settings.items() if name in secret_names}


def check_settings(kind: Channel, config: Mapping[str, Any], secret: Mapping[str, str]) -> None:
    """Return when a channel can work with these settings; raises InvalidInput naming each that cannot."""
    errors = list(_CHECKS[kind](config, secret))
    if errors:
        raise InvalidInput("the channel cannot work with these settings", errors, code="bad_channel")


def _email_faults(config: Mapping[str, Any], secret: Mapping[str, str]) -> list[FieldError]:
    errors = [
        FieldError(f"body.email.{name}", "is needed") for name in ("host", "sender") if not config.get(name)
    ]
    if config.get("security") == "none" and config.get("host") not in _LOOPBACK:
        errors.append(FieldError("body.email.security", "none is only for a mail server on this machine"))
    host = str(config.get("host") or "")
    if host and not all(0 < len(label) < 64 for label in host.removesuffix(".").split(".")):
        errors.append(FieldError("body.email.host", "not a host name"))
    given = {"username": str(config.get("username") or ""), "password": secret.get("password", "")}
    errors += [
        FieldError(f"body.email.{name}", "must be ASCII: mail servers take nothing else")
        for name, text in given.items()
        if not text.isascii()
    ]
    if config.get("username") and not secret.get("password"):
        errors.append(FieldError("body.email.password", "is needed with a user name"))
    for number, address in enumerate(config.get("recipients", ())):
        errors += _address_fault(f"body.email.recipients[{number}]", address)
    return errors + (_sender_fault(str(config["sender"])) if config.get("sender") else [])


def _sender_fault(sender: str) -> list[FieldError]:
    from email.utils import parseaddr

    return _address_fault("body.email.sender", parseaddr(sender)[1])


def _mail_address(text: str) -> str:
    """Return the address in lower case; raises InvalidInput for one that no mail can be addressed to, which is more than
    people may have to sign in with.
    """
    address = normal_email(text)
    try:
        Address(addr_spec=address)
    except (ValueError, HeaderParseError) as error:
        raise InvalidInput(
            "no mail can be sent to this address", [FieldError("body.email", "not an e-mail address")]
        ) from error
    return address


def _address_fault(loc: str, address: str) -> list[FieldError]:
    try:
        _mail_address(address)
    except InvalidInput:
        return [FieldError(loc, "not an e-mail address")]
    return []


def _slack_faults(config: Mapping[str, Any], secret: Mapping[str, str]) -> list[FieldError]:
    del config
    fault = address_fault(secret.get("webhook_url", ""))
    return [FieldError("body.slack.webhook_url", fault)] if fault else []


def _pagerduty_faults(config: Mapping[str, Any], secret: Mapping[str, str]) -> list[FieldError]:
    errors = []
    if not _ROUTING_KEY.fullmatch(secret.get("routing_key", "")):
        errors.append(
            FieldError("body.pagerduty.routing_key", "must be the 32 letters and digits of an integration")
        )
    fault = address_fault(str(config["url"])) if config.get("url") else ""
    return [*errors, FieldError("body.pagerduty.url", fault)] if fault else errors


_CHECKS: dict[Channel, Callable[[Mapping[str, Any], Mapping[str, str]], list[FieldError]]] = {
    Channel.EMAIL: _email_faults,
    Channel.SLACK: _slack_faults,
    Channel.PAGERDUTY: _pagerduty_faults,
}


def _check_timezone(name: str) -> None:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidInput(
            "unknown timezone", [FieldError("body.timezone", "not a name such as Europe/Berlin")]
        ) from error


def _check_personal(personal: Mapping[str, str]) -> None:
    webhook = personal.get("slack_webhook_url")
    if webhook is not None and (not webhook.startswith(PERSONAL_SLACK) or address_fault(webhook)):
        raise InvalidInput(
            "not a Slack webhook",
            [FieldError("body.slack_webhook_url", f"must start with {PERSONAL_SLACK[0]}")],
        )
    key = personal.get("pagerduty_routing_key")
    if key is not None and not _ROUTING_KEY.fullmatch(key):
        raise InvalidInput(
            "not a routing key",
            [FieldError("body.pagerduty_routing_key", "must be the 32 letters and digits of an integration")],
        )


def sample_events(actor: str, environment: str, now: int) -> tuple[IncidentEvent, IncidentEvent]:
    """Return the opening and the end of a made-up incident, for trying a channel."""
    title = "Test message: nothing is wrong"
    reason = f"{actor or 'Somebody'} tried this channel of the installation {environment}."
    opened = IncidentEvent(
        id=f"evt_test_{now}_1",
        incident_id=f"inc_test_{now}",
        seq=1,
        kind=EventKind.OPENED,
        at=now,
        pages=True,
        severity=Severity.INFO,
        status="open",
        title=title,
        reason=reason,
        host_id=None,
        host_name="",
        opened_at=now,
        evidence=Evidence(at=now, fingerprint="test", title=title, reason=reason),
        signal_count=1,
    )
    resolved = replace(
        opened,
        id=f"evt_test_{now}_2",
        seq=2,
        kind=EventKind.RESOLVED,
        status="resolved",
        resolved_at=now,
    )
    return opened, resolved
