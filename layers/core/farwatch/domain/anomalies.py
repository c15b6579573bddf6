"""Anomalies: samples that a detector found unusual for their series, as they were raised and never rewritten."""

from __future__ import annotations

from dataclasses import dataclass

from farwatch.domain.samples import SeriesKey


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One anomalous sample. ``at`` is its time (epoch ms), ``score`` in [0, 1]; the expected range may be unknown (None).

    ``pattern`` is one word (spike, dip, shift, drift, rhythm, silence, flat) and ``reason`` a sentence for people.
    """

    host_id: str
    key: SeriesKey
    detector: str
    at: int
    value: float | None
    score: float
    expected_low: float | None
    expected_high: float | None
    pattern: str
    reason: str
