"""Where samples are kept. PostgreSQL and InfluxDB implement this port and pass the same contract tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from farwatch.domain.retention import Resolution, Retention
from farwatch.domain.samples import SampleBlock, SeriesKey


@dataclass(frozen=True, slots=True)
class SeriesData:
    """One series read back: ``times`` are bucket starts in epoch ms, ascending, shape (N,); the four float arrays have the
    same shape. For raw samples mean, min and max are the value itself and count is 1. There are no empty buckets.
    """

    host_id: str
    key: SeriesKey
    times: npt.NDArray[np.int64]
    mean: npt.NDArray[np.float64]
    min: npt.NDArray[np.float64]
    max: npt.NDArray[np.float64]
    count: npt.NDArray[np.int64]


class MetricStore(Protocol):
    """A store of samples. Every method raises ``errors.Unavailable`` when the store cannot be reached."""

    def write(self, host_id: str, block: SampleBlock, now: int) -> None:
        """Store the block durably. Storing a (series, time) again changes nothing, so resending is harmless.

        ``now`` (epoch ms) tells late samples, whose roll-ups must be made again, from fresh ones.
        """
        ...

    def write_history(self, host_id: str, block: SampleBlock, tier_s: int) -> None:
        """Store the block as finished roll-ups of ``tier_s`` seconds (60 or 3600): a value stands for its whole bucket."""
        ...

    def series(self, host_id: str, metric: str | None = None) -> list[SeriesKey]:
        """Return the series a host has ever sent, by name, or those of one metric."""
        ...

    def read(
        self, host_id: str, metrics: Sequence[str], start: int, end: int, resolution: Resolution
    ) -> list[SeriesData]:
        """Return every series of the named metrics with samples in [start, end) at the resolution, ordered by name."""
        ...

    def roll_up(self, now: int) -> None:
        """Bring the 1-minute and 1-hour tiers up to date with the raw samples, late ones included."""
        ...

    def expire(self, retention: Retention, now: int) -> None:
        """Drop what is older than the retention of its tier."""
        ...

    def ping(self) -> None:
        """Return when the store answers."""
        ...
