"""Where anomalies are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from farwatch.domain.anomalies import Anomaly


class AnomalyLog(Protocol):
    """An append-only log of anomalies."""

    def append(self, anomalies: Sequence[Anomaly]) -> None:
        """Keep them; one that is already there (same host, detector, series and time) is left as it was raised."""
        ...
