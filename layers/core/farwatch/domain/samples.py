"""Samples: what a host measured, as a block of series by times."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class SeriesKey(NamedTuple):
    """A metric and its labels on one host, for example ``disk.used_percent`` with ``mount="/"``.

    A tuple, because every batch looks up each of its series several times.
    """

    metric: str
    labels: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, metric: str, labels: Mapping[str, str] | None = None) -> SeriesKey:
        """Return the key with its labels in canonical (sorted) order."""
        return cls(metric, tuple(sorted((labels or {}).items())))

    @classmethod
    def parse(cls, text: str) -> SeriesKey:
        """Return the key that ``text`` wrote; raises ValueError for anything else."""
        return _parsed(text)

    @property
    def label_map(self) -> dict[str, str]:
        """The labels as a dictionary."""
        return dict(self.labels)

    def text(self) -> str:
        """Return ``metric{label="value",…}``, the form shown to people and used as a key in stores."""
        return _text(self.metric, self.labels)


@lru_cache(maxsize=16_384)
def _text(metric: str, labels: tuple[tuple[str, str], ...]) -> str:
    # Asked for every series of every batch, and for each rule that watches it.
    if not labels:
        return metric
    inner = ",".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in labels)
    return f"{metric}{{{inner}}}"


@lru_cache(maxsize=16_384)
def _parsed(text: str) -> SeriesKey:
    # A fleet has the same few hundred series on every host.
    metric, brace, rest = text.partition("{")
    if not brace:
        return SeriesKey(metric)
    labels: list[tuple[str, str]] = []
    decoder = json.JSONDecoder()
    position = 0
    while rest[position:] != "}":
        name, _, _ = rest[position:].partition("=")
        value, position = decoder.raw_decode(rest, position + len(name) + 1)
        labels.append((name, value))
        position += rest[position : position + 1] == ","
    return SeriesKey(metric, tuple(labels))


@dataclass(frozen=True, slots=True)
class SampleBlock:
    """Samples of one host.

    ``times`` are epoch milliseconds, strictly ascending, shape (T,) int64; ``values`` has shape (T, S) float64
    with NaN where a series has no sample at that time; ``series`` has length S.
    """

    times: npt.NDArray[np.int64]
    series: tuple[SeriesKey, ...]
    values: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.values.shape != (len(self.times), len(self.series)):
            raise ValueError(
                f"values have shape {self.values.shape}, expected {(len(self.times), len(self.series))}"
            )

    def count(self) -> int:
        """Return how many samples the block holds (cells that are not NaN)."""
        return int(np.count_nonzero(~np.isnan(self.values)))


@dataclass(frozen=True, slots=True)
class TopProcess:
    """One of the busiest processes of a host at the time of a batch; ``name`` is hostile text."""

    pid: int
    name: str
    cpu_percent: float
    rss_bytes: int


@dataclass(frozen=True, slots=True)
class Batch:
    """What one agent sent at once. ``seq`` counts 1, 2, 3 … within ``spool_id``; ``oldest`` is the lowest
    sequence number still in the agent's spool, so whatever lies below it will never be sent again.
    """

    batch_id: str
    host_id: str
    spool_id: str
    seq: int
    oldest: int
    sent_at: int
    samples: SampleBlock
    top_processes: tuple[TopProcess, ...] = ()
    agent_version: str = ""
