"""Pushes: what ``live`` sends to the people who are looking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Push:
    """One message for every WebSocket connection subscribed to ``topic``.

    Topics: ``fleet`` (key metrics of every host), ``host:<id>`` (all samples of a host), ``incidents``,
    ``user:<id>`` (that user's notifications). ``at`` is epoch milliseconds; ``data`` must stay under 8 KB as JSON.
    """

    topic: str
    type: str
    id: str
    at: int
    data: Mapping[str, Any]
