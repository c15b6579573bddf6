"""Channels: the mail server, Slack webhooks and PagerDuty services of the installation. Secrets are never returned."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.api_gateway import Router
from aws_lambda_powertools.event_handler.openapi.params import Path
from pydantic import Field, SecretStr, StringConstraints

from farwatch.bootstrap import container
from farwatch.domain.rbac import Permission, PrincipalKind
from farwatch.domain.routing import Channel
from farwatch.domain.severity import Severity
from farwatch.errors import FieldError, InvalidInput
from farwatch.http.access import requires
from farwatch.http.app import created, no_content
from farwatch.http.changes import note_change
from farwatch.http.clock import now_ms
from farwatch.http.etags import IfMatch, check_if_match, tagged
from farwatch.http.models import Answer, Body, Name
from farwatch.http.openapi import problems
from farwatch.http.principal import current_caller
from farwatch.ports.deliveries import ChannelRow

router = Router()
TAGS = ["channels"]
ChannelId = Annotated[str, Path(pattern=r"^chan_[a-z0-9_]{1,60}$", description="Id of the channel.")]
Kind = Literal["email", "slack", "pagerduty"]
HostName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.:-]{1,253}$")]
Address = Annotated[str, StringConstraints(max_length=254)]
Sender = Annotated[str, StringConstraints(max_length=400, pattern=r"^[^\x00-\x1f\x7f]*$")]
Url = Annotated[SecretStr, Field(max_length=2000)]
Key = Annotated[SecretStr, Field(max_length=100)]
Security = Literal["starttls", "tls", "none"]


class EmailSettings(Body):
    """A mail server. ``recipients`` are mailing lists told of everything, beside people's own addresses."""

    host: HostName
    port: Annotated[int, Field(ge=1, le=65_535)] = 587
    security: Security = "starttls"
    username: Annotated[str, StringConstraints(max_length=254)] = ""
    password: Annotated[SecretStr, Field(max_length=1000)] = SecretStr("")
    sender: Sender
    recipients: Annotated[list[Address], Field(max_length=50)] = Field(default_factory=list)


class EmailChange(Body):
    """What to change of a mail server; fields left out stay."""

    host: HostName | None = None
    port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    security: Security | None = None
    username: Annotated[str, StringConstraints(max_length=254)] | None = None
    password: Annotated[SecretStr, Field(max_length=1000)] | None = None
    sender: Sender | None = None
    recipients: Annotated[list[Address], Field(max_length=50)] | None = None


class SlackSettings(Body):
    """An incoming webhook, or one of a chat that speaks the same."""

    webhook_url: Url


class PagerDutySettings(Body):
    """An Events API v2 integration. ``url`` null: PagerDuty's own."""

    routing_key: Key
    url: Annotated[str, StringConstraints(max_length=2000)] | None = None


class PagerDutyChange(Body):
    """What to change of an integration; fields left out stay."""

    routing_key: Key | None = None
    url: Annotated[str, StringConstraints(max_length=2000)] | None = None


class NewChannel(Body):
    """A channel to make; give the settings of its kind and no others."""

    kind: Kind
    name: Name
    enabled: bool = True
    min_severity: Severity = Severity.INFO
    email: EmailSettings | None = None
    slack: SlackSettings | None = None
    pagerduty: PagerDutySettings | None = None


class ChannelChange(Body):
    """What to change of a channel; fields left out stay, secrets included."""

    name: Name | None = None
    enabled: bool | None = None
    min_severity: Severity | None = None
    email: EmailChange | None = None
    slack: SlackSettings | None = None
    pagerduty: PagerDutyChange | None = None


class EmailOut(Answer):
    """A mail server without its password."""

    host: str
    port: int
    security: Security
    username: str
    password_set: bool
    sender: str
    recipients: list[str]


class SlackOut(Answer):
    """A webhook, masked."""

    webhook_url: str | None


class PagerDutyOut(Answer):
    """An integration, its key masked."""

    routing_key: str | None
    url: str | None


class ChannelOut(Answer):
    """A channel. ``health`` is ``untried`` until something was sent; ``health_error`` says what the last fault was."""

    id: str
    kind: Kind
    name: str
    enabled: bool
    min_severity: Severity
    health: Literal["ok", "failing", "untried"]
    health_at: int | None
    health_error: str
    created_at: int
    version: int
    email: EmailOut | None = None
    slack: SlackOut | None = None
    pagerduty: PagerDutyOut | None = None


class ChannelList(Answer):
    """Every channel. ``email_ready`` tells whether mail can be sent at all, by a channel or by the installation."""

    items: list[ChannelOut]
    email_ready: bool


class Tried(Answer):
    """Whether a test message was accepted by the far side, or why not."""

    delivered: bool
    error: str


class TestBody(Body):
    """Where a test mail goes; your own address when left out. Other channels ignore it."""

    address: Address | None = None


@router.get("/api/v1/channels", summary="All channels", tags=TAGS)
@requires(Permission.CHANNELS_READ)
def list_channels() -> ChannelList:
    """Return every channel, by kind and name."""
    made = container()
    return ChannelList(
        items=[_out(row) for row in made.manage_channels.all()],
        email_ready=made.adapters.book.ready(Channel.EMAIL),
    )


@router.post(
    "/api/v1/channels", summary="Make a channel", tags=TAGS, status_code=201, responses=problems(409)
)
@requires(Permission.CHANNELS_WRITE, audit="channel.create")
def create_channel(body: NewChannel) -> Response[ChannelOut]:
    """Make a channel; it takes the next alert. There is at most one mail server."""
    given = [kind for kind in ("email", "slack", "pagerduty") if getattr(body, kind) is not None]
    if given != [body.kind]:
        raise InvalidInput(
            "the settings do not fit the kind",
            [FieldError(f"body.{body.kind}", f"give {body.kind} and no other settings")],
        )
    row = container().manage_channels.create(
        kind=Channel(body.kind),
        name=body.name,
        enabled=body.enabled,
        min_severity=body.min_severity,
        settings=_plain(getattr(body, body.kind).model_dump()),
        now=now_ms(),
    )
    note_change(None, _out(row))
    return created(f"/api/v1/channels/{row.id}", _out(row))


@router.get("/api/v1/channels/<channel_id>", summary="One channel", tags=TAGS, responses=problems(404))
@requires(Permission.CHANNELS_READ)
def get_channel(channel_id: ChannelId) -> Response[ChannelOut]:
    """Return the channel with its ETag."""
    return _answer(container().manage_channels.get(channel_id))


@router.patch(
    "/api/v1/channels/<channel_id>",
    summary="Change a channel",
    tags=TAGS,
    responses=problems(404, 412),
)
@requires(Permission.CHANNELS_WRITE, audit="channel.change")
def change_channel(
    channel_id: ChannelId, body: ChannelChange, if_match: IfMatch = None
) -> Response[ChannelOut]:
    """Set the fields that were sent; a secret that is not sent stays."""
    manage = container().manage_channels
    old = manage.get(channel_id)
    check_if_match(if_match, old.version)
    sent = body.model_dump(exclude_unset=True)
    settings: dict[str, Any] = {
        kind: sent.pop(kind) for kind in ("email", "slack", "pagerduty") if kind in sent
    }
    faults = [
        FieldError(f"body.{kind}", f"this is a channel of kind {old.kind}")
        for kind in settings
        if kind != old.kind
    ]
    faults += [FieldError(f"body.{name}", "cannot be null") for name, value in sent.items() if value is None]
    if faults:
        raise InvalidInput("the change does not fit the channel", faults)
    row = manage.change(
        channel_id,
        changes=sent,
        settings=_plain(settings.get(old.kind.value) or {}),
        version=old.version,
    )
    note_change(_out(old), _out(row))
    return _answer(row)


@router.delete(
    "/api/v1/channels/<channel_id>",
    summary="Delete a channel",
    tags=TAGS,
    status_code=204,
    responses=problems(404),
)
@requires(Permission.CHANNELS_WRITE, audit="channel.delete")
def delete_channel(channel_id: ChannelId) -> Response[None]:
    """Delete a channel; what it still owed is recorded as failed. Disable it instead to let running alerts end."""
    manage = container().manage_channels
    old = manage.get(channel_id)
    manage.remove(channel_id)
    note_change(_out(old), None)
    return no_content()


@router.post(
    "/api/v1/channels/<channel_id>/test",
    summary="Try a channel",
    tags=TAGS,
    responses=problems(404),
)
@requires(Permission.CHANNELS_WRITE, audit="channel.test")
def test_channel(channel_id: ChannelId, body: TestBody) -> Tried:
    """Send a test message, and the end of it, over the channel and wait for what the far side says."""
    made = container()
    principal = current_caller().principal
    person = made.adapters.audience.get(principal.id) if principal.kind is PrincipalKind.USER else None
    address = body.address or (person.preferences.address if person is not None else "")
    row = made.manage_channels.get(channel_id)
    if row.kind is Channel.EMAIL and not address:
        raise InvalidInput("where to?", [FieldError("body.address", "is needed")])
    name = person.preferences.name if person is not None else ""
    delivered, error = made.manage_channels.test(channel_id, address=address, actor=name, now=now_ms())
    return Tried(delivered=delivered, error=error)


def masked(secret: str | None) -> str | None:
    """Return enough of a secret to tell one from another: its host, if it is an address, and its last four characters."""
    if not secret:
        return None
    host = secret.split("/", 3)[2] + "/" if "://" in secret else ""
    return f"{host}…{secret[-4:]}" if len(secret) >= 16 else "…"


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings with secrets open, for the service."""
    return {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value
        for name, value in settings.items()
        if value is not None or name == "url"
    }


def _out(row: ChannelRow) -> ChannelOut:
    shown: dict[str, Any] = {
        "id": row.id,
        "kind": row.kind.value,
        "name": row.name,
        "enabled": row.enabled,
        "min_severity": row.min_severity,
        "health": {None: "untried", True: "ok", False: "failing"}[row.healthy],
        "health_at": row.health_at,
        "health_error": row.health_error,
        "created_at": row.created_at,
        "version": row.version,
    }
    if row.kind is Channel.EMAIL:
        shown["email"] = {**row.config, "password_set": bool(row.secret.get("password"))}
    elif row.kind is Channel.SLACK:
        shown["slack"] = {"webhook_url": masked(row.secret.get("webhook_url"))}
    else:
        shown["pagerduty"] = {
            "routing_key": masked(row.secret.get("routing_key")),
            "url": row.config.get("url"),
        }
    return ChannelOut.model_validate(shown)


def _answer(row: ChannelRow) -> Response[ChannelOut]:
    return tagged(_out(row), row.version)
