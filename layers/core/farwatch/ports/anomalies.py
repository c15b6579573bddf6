"""Where anomalies, and what people say of them, are kept; and who runs a detector over a range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from farwatch.domain.anomalies import Anomaly
from farwatch.domain.looks import Watched
from farwatch.domain.samples import SeriesKey


class Verdict(StrEnum):
    """What a person says of an anomaly."""

    FALSE_ALARM = "false_alarm"
    REAL = "real"


@dataclass(frozen=True, slots=True)
class StoredAnomaly:
    """An anomaly with its id, when it was raised (epoch ms), and what was said of it, if anything."""

    id: str
    anomaly: Anomaly
    raised_at: int
    verdict: Verdict | None
    said_by: str | None
    said_at: int | None


@dataclass(frozen=True, slots=True)
class AnomalyFilter:
    """Which anomalies a list asks for; None asks for all. Times are epoch ms, ``start`` included and ``end`` not."""

    host_id: str | None = None
    metric: str | None = None
    detector: str | None = None
    pattern: str | None = None
    start: int | None = None
    end: int | None = None
    min_score: float = 0.0


class AnomalyLog(Protocol):
    """What ``process`` needs of the log: keep anomalies, and know what people have set."""

    def append(self, anomalies: Sequence[Anomaly]) -> None:
        """Keep them; one that is already there (same host, detector, series and time) is left as it was raised."""
        ...

    def raised_by(self, host_id: str, detectors: Sequence[str], start: int, recent: int) -> Sequence[Anomaly]:
        """Return the host's anomalies at or after ``start`` that one of the detectors raised, by time.

        Of those before ``recent`` only what was raised since then: found late. Both are epoch ms.
        """
        ...

    def false_alarms(self, host_id: str) -> Sequence[tuple[SeriesKey, str, float]]:
        """Return (series, detector, score) of each anomaly of the host that was called a false alarm, by time."""
        ...

    def detectors(self) -> Sequence[tuple[str, str]]:
        """Return the detectors people have chosen, as (metric glob, name or ``off``), first match first."""
        ...


class AnomalyStore(AnomalyLog, Protocol):
    """The log as people read it."""

    def find(self, wanted: AnomalyFilter, limit: int, before: tuple[int, str] | None) -> list[StoredAnomaly]:
        """Return at most ``limit`` anomalies, newest first, that come after the position ``before`` (at, id)."""
        ...

    def get(self, anomaly_id: str) -> StoredAnomaly | None:
        """Return one anomaly."""
        ...

    def judge(self, anomaly_id: str, verdict: Verdict, by: str) -> bool:
        """Keep the verdict, in place of an earlier one; False when there is no such anomaly."""
        ...

    def unjudge(self, anomaly_id: str) -> bool:
        """Take the verdict back; False when there was none."""
        ...

    def forget(self, before: int) -> int:
        """Delete anomalies of before that time (epoch ms) that nobody has judged; return how many.

        Those called false alarms hold their series' thresholds up, for as long as nobody takes that back.
        """
        ...


@dataclass(frozen=True, slots=True)
class Scored:
    """A detector's answer for a run of samples, one entry each; the expected range is None while unknown."""

    score: list[float]
    low: list[float | None]
    high: list[float | None]
    pattern: list[str]


class LookMemory(Protocol):
    """What the slow detectors remember of a host, as bytes. Lost, it is made again from the metric store.

    Every method raises Unavailable when it is down.
    """

    def load(self, host_id: str) -> bytes | None:
        """Return what was saved last, or None."""
        ...

    def save(self, host_id: str, memory: bytes, watched: Watched) -> None:
        """Keep ``memory``, and ``watched`` for whoever wants to know how far the detectors have come."""
        ...

    def watched(self, host_ids: Sequence[str]) -> Mapping[str, Watched]:
        """Return how the slow detectors stand with each of the hosts that they watch."""
        ...


class RunsDetectors(Protocol):
    """The ``detect`` function."""

    def run(self, detector: str, times: list[int], values: list[float]) -> Scored:
        """Score the samples (epoch ms, value) in order; raises InvalidInput when refused, Unavailable when down."""
        ...
