"""Settings: read once per process from the environment, and secrets from where they are kept.

``Settings`` are plain facts (queue URLs, which metric store). ``Secrets`` never stand in the environment: on AWS and on
the local engine alike they are one JSON document in Secrets Manager, named by ``SECRETS_ID``; programs outside
Lambda (the command line, tests) read the same document from the file named by ``SECRETS_FILE``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from farwatch.errors import Misconfigured, Unavailable


class Settings(BaseSettings):
    """Everything that is not secret. Each field is the environment variable of the same name in capitals."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    secrets_id: str = Field(
        "", description="Name or ARN of the Secrets Manager secret with the Secrets document."
    )
    secrets_file: Path | None = Field(
        None, description="File with the Secrets document, for programs outside Lambda."
    )
    metric_store: Literal["postgres", "influx"] = Field("postgres", description="Where samples are kept.")
    influx_url: str = Field("", description="Base URL of InfluxDB, for example http://127.0.0.1:8086.")
    influx_org: str = Field("farwatch", description="InfluxDB organisation.")
    influx_bucket: str = Field("farwatch", description="InfluxDB bucket (a database on 1.x).")
    samples_queue_url: str = Field("", description="SQS FIFO queue from ingest to process.")
    signals_queue_url: str = Field("", description="SQS FIFO queue from process and sweep to incidents.")
    pushes_queue_url: str = Field("", description="SQS queue of WebSocket pushes, to live.")
    looks_queue_url: str = Field("", description="SQS FIFO queue from process to detect.")
    events_topic_arn: str = Field("", description="SNS topic of incident events.")
    forecast_function: str = Field("", description="Name of the forecast function, invoked by the API.")
    detect_function: str = Field("", description="Name of the detect function, invoked by the API.")
    websocket_url: str = Field(
        "", description="Public wss:// address that browsers and dashboards connect to."
    )
    websocket_endpoint: str = Field(
        "", description="Management endpoint of the WebSocket API, for posting pushes."
    )
    dashboard_url: str = Field("http://127.0.0.1:8501", description="Where deep links in notifications lead.")
    api_url: str = Field("", description="Public base URL of the HTTP API, for links that act (acknowledge).")
    cors_origins: str = Field("", description="Comma-separated origins that browsers may call the API from.")
    oidc_issuer: str = Field(
        "", description="Issuer of the identity provider; empty switches single sign-on off."
    )
    oidc_client_id: str = Field("", description="Client id that identity tokens must be made out to.")
    oidc_jwks_url: str = Field("", description="Where the identity provider publishes its keys (JWKS).")
    oidc_groups_claim: str = Field(
        "groups", description="Claim of the identity token that roles are mapped from."
    )
    oidc_roles: str = Field(
        "", description="Groups and their roles, for example sre=operator,it-admins=admin."
    )
    oidc_default_role: str = Field(
        "", description="Role of people no group of whom is mapped, for example viewer; empty refuses them."
    )
    default_interval_s: float = Field(
        5.0, ge=1, le=3600, description="Sampling interval of agents, in seconds."
    )
    credential_days: float = Field(
        30.0, gt=0, le=3650, description="Age in days by which agents have renewed their credential."
    )
    environment: str = Field(
        "local", description="Name of this installation, shown in logs and notifications."
    )
    group_wait_s: float = Field(
        0.0,
        ge=0,
        le=3600,
        description="Seconds a new incident waits for more signals before people are told.",
    )
    sentry_dsn: str = Field("", description="Sentry DSN; empty switches error tracking off.")
    aws_endpoint_url: str = Field("", description="Endpoint of the local engine; empty on AWS.")


class SmtpSecrets(BaseModel):
    """How to reach a mail server. ``security``: ``starttls``, ``tls`` or ``none`` (loopback only)."""

    model_config = ConfigDict(frozen=True)

    host: str = ""
    port: int = 587
    username: str = ""
    password: str = ""
    security: Literal["starttls", "tls", "none"] = "starttls"
    sender: str = "Farwatch <farwatch@localhost>"


class Secrets(BaseModel):
    """The Secrets document. Every value is sensitive and must never reach a log line or an error."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    database_url: str = Field(repr=False)
    redis_url: str = Field(repr=False)
    influx_token: str = Field("", repr=False)
    jwt_keys: dict[str, str] = Field(repr=False, description="kid → base64 key of 32 bytes or more")
    jwt_active_kid: str
    pepper: str = Field(repr=False, min_length=32, description="Key of the hashes of machine credentials")
    smtp: SmtpSecrets = Field(default_factory=SmtpSecrets, repr=False)


def load_secrets(settings: Settings) -> Secrets:
    """Return the Secrets document from ``SECRETS_FILE`` or ``SECRETS_ID``.

    Raises Misconfigured when neither is set or the document lacks a key, Unavailable when Secrets Manager does not answer.
    """
    if settings.secrets_file is not None:
        try:
            text = settings.secrets_file.read_text()
        except OSError as error:
            raise Misconfigured(
                f"SECRETS_FILE={settings.secrets_file} cannot be read ({error.strerror}); "
                "it is written by ./farwatch up, for example .farwatch/secrets.json"
            ) from error
    elif settings.secrets_id:
        text = _from_secrets_manager(settings.secrets_id)
    else:
        raise Misconfigured(
            "set SECRETS_ID (Secrets Manager) or SECRETS_FILE, for example .farwatch/secrets.json"
        )
    try:
        return Secrets.model_validate(msgspec.json.decode(text))
    except (ValidationError, msgspec.DecodeError) as error:
        fields = (
            ", ".join(".".join(map(str, e["loc"])) for e in error.errors())
            if isinstance(error, ValidationError)
            else "not JSON"
        )
        raise Misconfigured(f"the secrets document is incomplete: {fields}") from None


def _from_secrets_manager(secret_id: str) -> str:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return str(boto3.client("secretsmanager").get_secret_value(SecretId=secret_id)["SecretString"])
    except (BotoCoreError, ClientError) as error:
        raise Unavailable("secrets", f"cannot read {secret_id}: {type(error).__name__}") from error
