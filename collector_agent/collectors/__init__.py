"""The collectors: small modules, each taking one part of the host.

A collector has a ``name`` and ``collect(now)``, which returns samples as ``(metric, labels, value)`` with
labels as sorted ``(key, value)`` pairs.  ``now`` is the monotonic second, for rates.  A collector may raise:
the sampler skips it for that tick, says so and counts it.
"""

from __future__ import annotations

from typing import Protocol

Labels = tuple[tuple[str, str], ...]
Sample = tuple[str, Labels, float]

NO_LABELS: Labels = ()


class Collector(Protocol):
    """What the sampler needs of a collector."""

    @property
    def name(self) -> str:
        """Name in the configuration and in log lines."""
        ...

    def collect(self, now: float) -> list[Sample]:
        """Return what can be measured at monotonic second ``now``."""
        ...
