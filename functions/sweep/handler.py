"""Every minute → sweep."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from farwatch.bootstrap import container
from farwatch.observability import logger

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, str]:
    """Return how each step went; a failed step is recorded and tried again in a minute, so the run itself succeeds."""
    del event, context
    outcome = container().sweep.run(time.time_ns() // 1_000_000)
    logger.info("sweep", extra={"steps": outcome})
    return outcome
