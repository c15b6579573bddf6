"""A person's own preferences: where to be reached, over which channels, from which severity on."""

from __future__ import annotations

from typing import Annotated

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.api_gateway import Router
from pydantic import Field, SecretStr, StringConstraints

from farwatch.bootstrap import container
from farwatch.domain.rbac import Permission
from farwatch.domain.routing import Channel
from farwatch.domain.severity import Severity
from farwatch.http.access import requires
from farwatch.http.changes import note_change
from farwatch.http.etags import IfMatch, check_if_match, tagged
from farwatch.http.models import Answer, Body
from farwatch.http.openapi import problems
from farwatch.http.principal import current_caller
from farwatch.ports.deliveries import PersonRow
from functions.api.routes.channels import masked

router = Router()
TAGS = ["preferences"]
Secret = Annotated[SecretStr, Field(max_length=2000)]


class Toggles(Body):
    """Which channels may reach you. Slack and PagerDuty concern your own destinations, not the team's."""

    email: bool = True
    slack: bool = True
    pagerduty: bool = True
    in_app: bool = True


class PreferencesBody(Body):
    """Everything you want. An empty ``email`` means the address you sign in with. Your own Slack webhook and PagerDuty
    routing key stay as they are when left out, and are forgotten when null.
    """

    email: Annotated[str, StringConstraints(max_length=254)] = ""
    channels: Toggles = Field(default_factory=Toggles)
    min_severity: Severity = Severity.INFO
    timezone: Annotated[str, StringConstraints(max_length=64)] | None = None
    slack_webhook_url: Secret | None = None
    pagerduty_routing_key: Secret | None = None


class PreferencesOut(Answer):
    """What you want. ``email`` is where mail goes; secrets are masked."""

    email: str
    channels: Toggles
    min_severity: Severity
    timezone: str
    slack_webhook_url: str | None
    pagerduty_routing_key: str | None


@router.get("/api/v1/preferences", summary="Your preferences", tags=TAGS)
@requires(Permission.PREFERENCES_OWN)
def get_preferences() -> Response[PreferencesOut]:
    """Return your preferences, the defaults if you never set any, with their ETag."""
    return _answer(container().manage_preferences.get(current_caller().principal.require_user()))


@router.put("/api/v1/preferences", summary="Set your preferences", tags=TAGS, responses=problems(412))
@requires(Permission.PREFERENCES_OWN)
def put_preferences(body: PreferencesBody, if_match: IfMatch = None) -> Response[PreferencesOut]:
    """Replace your preferences; they count from the next alert on. Of running ones you still hear the end."""
    made = container()
    user_id = current_caller().principal.require_user()
    current = made.manage_preferences.get(user_id)
    check_if_match(if_match, current.version)
    personal: dict[str, str | None] = {}
    for name in ("slack_webhook_url", "pagerduty_routing_key"):
        if name in body.model_fields_set:
            value: SecretStr | None = getattr(body, name)
            personal[name] = value.get_secret_value() if value is not None else None
    saved = made.manage_preferences.save(
        user_id,
        address=body.email,
        enabled=frozenset(channel for channel in Channel if getattr(body.channels, channel.value)),
        min_severity=body.min_severity,
        timezone=body.timezone or current.preferences.timezone,
        personal=personal,
        version=current.version,
    )
    note_change(_out(current), _out(saved))
    return _answer(saved)


def _out(person: PersonRow) -> PreferencesOut:
    wanted = person.preferences
    return PreferencesOut(
        email=wanted.address,
        channels=Toggles(**{channel.value: channel in wanted.enabled for channel in Channel}),
        min_severity=wanted.min_severity,
        timezone=wanted.timezone,
        slack_webhook_url=masked(person.personal.get("slack_webhook_url")),
        pagerduty_routing_key=masked(person.personal.get("pagerduty_routing_key")),
    )


def _answer(person: PersonRow) -> Response[PreferencesOut]:
    return tagged(_out(person), person.version)
