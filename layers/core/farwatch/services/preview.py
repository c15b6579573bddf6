"""Preview: what a rule would have done on a host's stored history, before it is saved. Nothing is sent or kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from farwatch.domain.measures import Measure
from farwatch.domain.replay import Firing, replay
from farwatch.domain.retention import MINUTE, Retention
from farwatch.domain.rules import Rule, applies_to_host
from farwatch.domain.samples import SampleBlock, SeriesKey
from farwatch.errors import FieldError, InvalidInput, NotFound
from farwatch.ports.hosts import Hosts
from farwatch.ports.metric_store import MetricStore
from farwatch.services.anomalies import history_of

MAX_RANGE_MS = 7 * 86_400_000
MAX_RAW = 20_000
_MINUTE_MS = MINUTE * 1000
_WITNESSES = 4
"""Metrics read beside those of a rule on silence; by name the agent's own come first, which are always sent."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a rule would have done.

    ``applies`` tells whether the rule's labels choose the host; history is replayed in any case. ``step_s`` is 0 for raw
    samples, else the width of the buckets replayed, be it only for the part of which no samples are kept. ``episodes`` holds
    the firings of each group.
    """

    applies: bool
    step_s: int
    samples: int
    episodes: dict[SeriesKey, list[Firing]]


def preview(
    rule: Rule, hosts: Hosts, store: MetricStore, host_id: str, start: int, end: int, now: int
) -> Preview:
    """Replay [start, end) (epoch ms, at most 7 days) of a host against ``rule``.

    Raw samples are replayed where they are there and no more than 20,000 moments, else minutes: a condition that holds for
    less than that is then not seen. Raises NotFound for an unknown host, InvalidInput for a range that cannot be read.
    """
    if not 0 <= start < end or end - start > MAX_RANGE_MS:
        raise InvalidInput(
            "the range cannot be replayed",
            [FieldError("body.from", "before to, and at most 7 days before it, in epoch milliseconds")],
        )
    host = hosts.get(host_id)
    if host is None:
        raise NotFound(f"there is no host {host_id}", code="unknown_host")
    raw_kept = now - start <= Retention().raw_days * 86_400_000
    step_s = 0 if raw_kept and (end - start) / 1000 / host.interval_s <= MAX_RAW else MINUTE
    own = {condition.metric for condition in rule.conditions}
    metrics = sorted(own)
    if any(condition.measure is Measure.SILENT for condition in rule.conditions):
        # Silence is seen in what the host sends meanwhile.
        others = {key.metric for key in store.series(host_id)} - own
        metrics += sorted(others)[:_WITNESSES]
    block = history_of(store, host_id, start, end, step_s, metrics)
    first = int(block.times[0]) if len(block.times) else end
    if step_s == 0 and first - start > 2 * _MINUTE_MS:
        # History that was brought along, or a host that was away, may be there as minutes only.
        older = history_of(store, host_id, start, first - first % _MINUTE_MS, MINUTE, metrics)
        if len(older.times):
            block, step_s = _joined(older, block), MINUTE
    values = block.values[:, [key.metric in own for key in block.series]]
    count = int(np.count_nonzero(~np.isnan(values)))
    return Preview(applies_to_host(rule, host.labels), step_s, count, replay(rule, block))


def _joined(older: SampleBlock, newer: SampleBlock) -> SampleBlock:
    series = tuple(dict.fromkeys((*older.series, *newer.series)))
    times = np.concatenate([older.times, newer.times])
    values = np.full((len(times), len(series)), np.nan)
    for block, rows in ((older, slice(0, len(older.times))), (newer, slice(len(older.times), None))):
        values[rows, [series.index(key) for key in block.series]] = block.values
    return SampleBlock(times, series, values)
