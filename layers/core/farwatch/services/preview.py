"""Preview: what a rule would have done on a host's stored history, before it is saved. Nothing is sent or kept."""

from __future__ import annotations

from dataclasses import dataclass

from farwatch.domain.replay import Firing, replay
from farwatch.domain.retention import MINUTE, Retention
from farwatch.domain.rules import Rule, applies_to_host
from farwatch.domain.samples import SeriesKey
from farwatch.errors import FieldError, InvalidInput, NotFound
from farwatch.ports.hosts import Hosts
from farwatch.ports.metric_store import MetricStore
from farwatch.services.anomalies import history_of

MAX_RANGE_MS = 7 * 86_400_000
MAX_RAW = 20_000


@dataclass(frozen=True, slots=True)
class Preview:
    """What a rule would have done.

    ``applies`` tells whether the rule's labels choose the host; history is replayed in any case. ``step_s`` is 0 for raw
    samples, else the width of the buckets replayed. ``episodes`` holds the firings of each group.
    """

    applies: bool
    step_s: int
    samples: int
    episodes: dict[SeriesKey, list[Firing]]


def preview(
    rule: Rule, hosts: Hosts, store: MetricStore, host_id: str, start: int, end: int, now: int
) -> Preview:
    """Replay [start, end) (epoch ms, at most 7 days) of a host against ``rule``.

    Raw samples are replayed where they are kept and no more than 20,000 moments, else minutes: a condition that holds for
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
    metrics = sorted({condition.metric for condition in rule.conditions})
    block = history_of(store, host_id, start, end, step_s, metrics)
    return Preview(applies_to_host(rule, host.labels), step_s, block.count(), replay(rule, block))
