"""Who was heard at the door where agents knock, as far as that can be known."""

from __future__ import annotations

from collections.abc import Mapping

from farwatch.errors import Unavailable
from farwatch.observability import logger
from farwatch.ports.hosts import Door


def heard(door: Door, instead: str) -> Mapping[str, int]:
    """Return when each host was last heard (epoch ms); nobody while that cannot be asked, and ``instead`` is logged."""
    try:
        return door.heard()
    except Unavailable as error:
        logger.warning(instead, extra={"reason": error.message})
        return {}
