"""Query: what people and dashboards read of hosts and their samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import msgspec

from farwatch.domain.hosts import Host, HostStatus, last_life, status
from farwatch.domain.retention import HOUR, MINUTE, RAW, Resolution, Retention, choose_resolution
from farwatch.domain.samples import SeriesKey
from farwatch.errors import FieldError, InvalidInput, NotFound, Unavailable
from farwatch.observability import logger
from farwatch.ports.hosts import Door, Hosts
from farwatch.ports.metric_store import MetricStore, SeriesData
from farwatch.services.door import heard

MAX_POINTS = 2000
MAX_HOSTS = 20
MAX_METRICS = 20
_LATEST_WINDOW_MS = 10 * 60_000
_TIER_NAMES = {RAW: "raw", MINUTE: "1m", HOUR: "1h"}


class LatestValues(Protocol):
    """The newest value of each series of each host, as ``process`` left them."""

    def latest(self, host_ids: list[str]) -> dict[str, bytes]:
        """Return, per host that has any, a JSON object of series text to [epoch ms, value]."""
        ...


@dataclass(frozen=True, slots=True)
class HostView:
    """A host as the fleet page shows it: its state now, and the newest (epoch ms, value) of each series."""

    host: Host
    status: HostStatus
    latest: dict[SeriesKey, tuple[int, float]]
    open_incidents: int


@dataclass(frozen=True, slots=True)
class RangeView:
    """The answer to a range query: the tier it was read from (``raw``, ``1m``, ``1h``), its step, and the series."""

    tier: str
    step_s: float
    series: list[SeriesData]


class Query:
    """Reads; changes nothing. Without Redis the newest values come from the metric store."""

    def __init__(
        self, hosts: Hosts, store: MetricStore, latest: LatestValues, door: Door, retention: Retention
    ) -> None:
        self._hosts = hosts
        self._store = store
        self._latest = latest
        self._door = door
        self._retention = retention

    def fleet(self, now: int) -> list[HostView]:
        """Return every host that is not retired, by name."""
        return self._views(self._hosts.all(), now)

    def host(self, host_id: str, now: int) -> HostView:
        """Return one host; raises NotFound."""
        host = self._hosts.get(host_id)
        if host is None:
            raise NotFound(f"there is no host {host_id}", code="unknown_host")
        return self._views([host], now)[0]

    def _views(self, hosts: Sequence[Host], now: int) -> list[HostView]:
        door = heard(self._door, "hosts are shown as they are stored")
        # A host whose batches wait to be stored is as alive as one whose batches do not, unless it is stuck.
        newest = self._hosts.newest_seen_at() or 0
        hosts = [replace(host, last_seen_at=last_life(host, door, newest)) for host in hosts]
        ids = [host.id for host in hosts]
        latest, incidents = self._latest_of(hosts, now), self._hosts.open_incidents(ids)
        return [
            HostView(host, status(host, now), latest.get(host.id, {}), incidents.get(host.id, 0))
            for host in hosts
        ]

    def series(self, host_id: str) -> list[SeriesKey]:
        """Return the series of a host by name; raises NotFound."""
        if self._hosts.get(host_id) is None:
            raise NotFound(f"there is no host {host_id}", code="unknown_host")
        return self._store.series(host_id)

    def range(
        self, host_ids: Sequence[str], metrics: Sequence[str], start: int, end: int, points: int, now: int
    ) -> RangeView:
        """Return the series of the metrics of the hosts in [start, end) (epoch ms) in at most ``points`` buckets each.

        Raises InvalidInput for an empty or over-long range or list, NotFound for an unknown host.
        """
        _check_range(host_ids, metrics, start, end, points)
        host_ids = list(dict.fromkeys(host_ids))  # a host named twice is still one host
        hosts = [self._hosts.get(host_id) for host_id in host_ids]
        for host_id, host in zip(host_ids, hosts, strict=True):
            if host is None:
                raise NotFound(f"there is no host {host_id}", code="unknown_host")
        interval_s = min((host.interval_s for host in hosts if host is not None), default=5.0)
        resolution = choose_resolution(start, end, points, interval_s, self._retention, now)
        found = [
            data
            for host_id in host_ids
            for data in self._store.read(host_id, metrics, start, end, resolution)
        ]
        return RangeView(_TIER_NAMES[resolution.tier_s], resolution.step_s or interval_s, found)

    def _latest_of(self, hosts: Sequence[Host], now: int) -> dict[str, dict[SeriesKey, tuple[int, float]]]:
        try:
            found = self._latest.latest([host.id for host in hosts])
        except Unavailable as error:
            logger.warning("newest values come from the metric store", extra={"reason": error.message})
            found = {}
        decoder = msgspec.json.Decoder(dict[str, tuple[int, float]])
        latest = {
            host_id: {SeriesKey.parse(text): newest for text, newest in decoder.decode(blob).items()}
            for host_id, blob in found.items()
        }
        try:
            for host in hosts:
                # Of a host that has sent nothing for so long the store holds nothing that new.
                if host.id not in latest and (host.last_seen_at or 0) >= now - _LATEST_WINDOW_MS:
                    latest[host.id] = self._latest_from_store(host.id, now)
        except Unavailable as error:
            logger.warning("hosts are shown without values", extra={"reason": error.message})
        return latest

    def _latest_from_store(self, host_id: str, now: int) -> dict[SeriesKey, tuple[int, float]]:
        metrics = sorted({key.metric for key in self._store.series(host_id)})
        window = self._store.read(host_id, metrics, now - _LATEST_WINDOW_MS, now + 1, Resolution(RAW, 0))
        return {data.key: (int(data.times[-1]), float(data.mean[-1])) for data in window}


def _check_range(host_ids: Sequence[str], metrics: Sequence[str], start: int, end: int, points: int) -> None:
    errors = []
    if not 1 <= len(host_ids) <= MAX_HOSTS:
        errors.append(FieldError("host_id", f"name 1 to {MAX_HOSTS} hosts"))
    if not 1 <= len(metrics) <= MAX_METRICS:
        errors.append(FieldError("metric", f"name 1 to {MAX_METRICS} metrics"))
    if not 0 <= start < end:
        errors.append(FieldError("from", "from must come before to, both in epoch milliseconds"))
    if not 1 <= points <= MAX_POINTS:
        errors.append(FieldError("points", f"between 1 and {MAX_POINTS}"))
    if errors:
        raise InvalidInput("the range cannot be read: " + errors[0].msg, errors)
