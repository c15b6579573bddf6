"""The one place that makes loggers, tracers and metrics; handlers import them from here.

Logs are JSON lines with a correlation id (Powertools Logger); metrics are CloudWatch EMF lines; errors go to Sentry when
``SENTRY_DSN`` is set. Programs outside Lambda use the same logger.
"""

from __future__ import annotations

import os

from aws_lambda_powertools import Logger

logger = Logger(service=os.environ.get("POWERTOOLS_SERVICE_NAME", "farwatch"), log_uncaught_exceptions=True)


def start_error_tracking(dsn: str, environment: str) -> None:
    """Send unhandled exceptions to Sentry; does nothing, and imports nothing, when ``dsn`` is empty."""
    if not dsn:
        return
    import sentry_sdk
    from sentry_sdk.integrations.aws_lambda import AwsLambdaIntegration

    sentry_sdk.init(
        dsn=dsn,
        environment=environment,
        integrations=[AwsLambdaIntegration()],
        send_default_pii=False,
        traces_sample_rate=0.0,
    )


def report_exception(error: BaseException) -> None:
    """Send an exception that was handled to Sentry, when error tracking is on; imports nothing when it is off."""
    import sys

    if "sentry_sdk" in sys.modules:
        sys.modules["sentry_sdk"].capture_exception(error)
