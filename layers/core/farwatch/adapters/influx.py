"""The metric store in InfluxDB, for fleets that outgrow PostgreSQL.

Writing is line protocol through influxdb-client. Reading is InfluxQL over ``/query``, because that is what InfluxDB 1.8, 2.x
and 3 all answer (2.x with a DBRP mapping for each bucket). Three buckets hold the three tiers: ``<bucket>`` raw,
``<bucket>_60`` and ``<bucket>_3600`` roll-ups with sum, count, min and max. A measurement is a metric; tags are ``host`` and
``l_<label>``.

A point is identified by (series, time), so writing one again changes nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import urllib3
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException

from farwatch.domain.retention import HOUR, MINUTE, RAW, Resolution, Retention
from farwatch.domain.samples import SampleBlock, SeriesKey
from farwatch.errors import Rejected, Unavailable
from farwatch.ports.metric_store import SeriesData

_LATE_AFTER_MS = 60_000
_ROLL_UP_LAG_MS = 90_000
_ROLL_UP_FOR_S = 20.0  # of a sweep, which must end within its minute; the next one goes on
_STEP_MS = 600_000
_PROGRESS, _LATE = (
    "_rollup_progress",
    "_rollup_late",
)  # measurements of our own; a metric starts with a letter
_CHUNK = 5_000
_END = "\u2060"  # an invisible character, put where the line protocol cannot say that a label ends


@dataclass(frozen=True, slots=True)
class _Found:
    """One series of an InfluxQL answer: its measurement, tags and columns."""

    name: str
    tags: dict[str, str]
    columns: dict[str, list[Any]]


class InfluxMetricStore:
    """A MetricStore over the InfluxDB at ``url``; ``bucket`` names the raw tier's bucket (a database on 1.x)."""

    def __init__(
        self, url: str, token: str, org: str, bucket: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._url = url.rstrip("/")
        self._token = token
        self._bucket = bucket
        # Its types are incomplete (untyped calls inside a typed package), hence Any.
        self._client: Any = InfluxDBClient(url=url, token=token or "none", org=org, timeout=10_000)
        self._writer = self._client.write_api(write_options=SYNCHRONOUS)
        self._http = urllib3.PoolManager(timeout=10, retries=False)

    def write(self, host_id: str, block: SampleBlock, now: int) -> None:
        """Store the block; see the port."""
        lines = list(_sample_lines(host_id, block))
        if not lines:
            return
        first = int(block.times[0])
        if first < now - _LATE_AFTER_MS:
            lines.append(
                f"{_LATE},host={_escape(host_id)} start={first}i,stop={int(block.times[-1]) + 1}i {now}"
            )
        self._write(self._bucket, lines)

    def write_history(self, host_id: str, block: SampleBlock, tier_s: int) -> None:
        """Store finished roll-ups; see the port."""
        width = tier_s * 1000
        lines = [
            f"{_series(host_id, key)} sum={value!r},count=1i,min={value!r},max={value!r} {at // width * width}"
            for column, key in enumerate(block.series)
            for at, value in _present(block, column)
        ]
        self._write(self._tier(tier_s), lines)

    def series(self, host_id: str, metric: str | None = None) -> list[SeriesKey]:
        """Return the host's series by name; see the port."""
        source = "/^[a-z]/" if metric is None else _identifier(metric)
        keys: set[SeriesKey] = set()
        for bucket, field in (
            (self._bucket, "value"),
            (self._tier(MINUTE), "count"),
            (self._tier(HOUR), "count"),
        ):
            query = f'SELECT last("{field}") FROM {source} WHERE "host" = {_string(host_id)} GROUP BY *'  # noqa: S608 - quoted
            keys.update(_key(found) for found in self._query(bucket, query))
        return sorted(keys, key=lambda key: (key.metric, key.labels))

    def read(
        self, host_id: str, metrics: Sequence[str], start: int, end: int, resolution: Resolution
    ) -> list[SeriesData]:
        """Return the series of the metrics; see the port."""
        if not metrics:
            return []
        raw = resolution.tier_s == RAW
        bucketed = resolution.step_s > resolution.tier_s
        if raw:
            select = 'sum("value"), count("value"), min("value"), max("value")' if bucketed else '"value"'
        elif bucketed:
            select = 'sum("sum"), sum("count") AS "count", min("min"), max("max")'
        else:
            select = '"sum", "count", "min", "max"'
        source = ", ".join(_identifier(metric) for metric in metrics)
        grouping = f"GROUP BY time({int(resolution.step_s)}s), * fill(none)" if bucketed else "GROUP BY *"
        query = (
            f'SELECT {select} FROM {source} WHERE "host" = {_string(host_id)} '  # noqa: S608 - every name is quoted
            f"AND time >= {int(start)}ms AND time < {int(end)}ms {grouping}"
        )
        found = self._query(self._tier(resolution.tier_s), query)
        return sorted(
            (_data(host_id, item) for item in found), key=lambda data: (data.key.metric, data.key.labels)
        )

    def roll_up(self, now: int) -> None:
        """Roll up what came since the last time, and what came late, in steps each of which is kept when time runs out; see
        the port.
        """
        deadline = self._clock() + _ROLL_UP_FOR_S
        reached = self._roll_up_to((now - _ROLL_UP_LAG_MS) // 60_000 * 60_000, deadline)
        late = self._query(self._bucket, f'SELECT "start", "stop" FROM "{_LATE}" GROUP BY "host"')  # noqa: S608 - a constant
        for item in sorted(late, key=lambda item: min(item.columns["start"])):
            begin = min(item.columns["start"]) // 60_000 * 60_000
            until = min(-(-max(item.columns["stop"]) // 60_000) * 60_000, reached)
            self._roll_up_range(begin, until, item.tags["host"])
            predicate = f'_measurement="{_LATE}" AND host={_identifier(item.tags["host"])}'
            self._delete(self._bucket, 0, max(item.columns["time"]) + 1, predicate)
            if self._clock() > deadline:
                break

    def _roll_up_to(self, target: int, deadline: float) -> int:
        """Roll up towards ``target`` (epoch ms) for as long as there is time; return how far that came."""
        progress = self._query(self._bucket, f'SELECT last("until") AS "until" FROM "{_PROGRESS}"')  # noqa: S608 - a constant
        if progress:
            start = int(progress[0].columns["until"][0])
        else:
            first = self._query(self._bucket, 'SELECT first("value") FROM /^[a-z]/')
            if not first:
                return 0
            start = min(int(found.columns["time"][0]) for found in first) // 60_000 * 60_000
        while start < target:
            stop = min(target, start + _STEP_MS)
            self._roll_up_range(start, stop, None)
            self._write(self._bucket, [f"{_PROGRESS} until={stop}i 0"])
            start = stop
            if self._clock() > deadline:
                break
        return start

    def _roll_up_range(self, start: int, stop: int, host_id: str | None) -> None:
        """Roll up [start, stop) into minutes, then the hours it touches, an hour of raw samples at a time."""
        host = "" if host_id is None else f' AND "host" = {_string(host_id)}'
        for begin in range(start, stop, 3_600_000):
            until = min(begin + 3_600_000, stop)
            self._aggregate(RAW, MINUTE, begin, until, host)
        for begin in range(start // 3_600_000 * 3_600_000, stop, 86_400_000):
            self._aggregate(MINUTE, HOUR, begin, min(begin + 86_400_000, stop), host)

    def _aggregate(self, source_tier: int, tier: int, start: int, stop: int, host: str) -> None:
        if source_tier == RAW:
            select = 'sum("value") AS "sum", count("value") AS "count", min("value") AS "min", max("value") AS "max"'
        else:
            select = 'sum("sum") AS "sum", sum("count") AS "count", min("min") AS "min", max("max") AS "max"'
        query = (
            f"SELECT {select} FROM /^[a-z]/ WHERE time >= {start}ms AND time < {stop}ms{host} "  # noqa: S608 - quoted above
            f"GROUP BY time({tier}s), * fill(none)"
        )
        lines = [
            f"{_series(found.tags['host'], _key(found))} sum={float(total)!r},count={int(count)}i,"
            f"min={float(low)!r},max={float(high)!r} {at}"
            for found in self._query(self._tier(source_tier), query)
            for at, total, count, low, high in zip(
                *(found.columns[name] for name in ("time", "sum", "count", "min", "max")), strict=True
            )
        ]
        self._write(self._tier(tier), lines)

    def expire(self, retention: Retention, now: int) -> None:
        """Delete what is past its retention, raw samples once they are rolled up.

        The buckets' own retention policies, where set, do the same without waiting.
        """
        progress = self._query(self._bucket, f'SELECT last("until") AS "until" FROM "{_PROGRESS}"')  # noqa: S608 - a constant
        late = self._query(self._bucket, f'SELECT min("start") AS "start" FROM "{_LATE}"')  # noqa: S608 - a constant
        waiting = [int(item.columns["until"][0]) for item in progress] or [0]
        waiting += [int(item.columns["start"][0]) for item in late]
        for tier in (RAW, MINUTE, HOUR):
            until = now - retention.days(tier) * 86_400_000
            until = min(until, *waiting) if tier == RAW else until
            if until > 1:
                self._delete(self._tier(tier), 1, until, "")

    def ping(self) -> None:
        """Return when InfluxDB answers."""
        self._request("POST", "/query", {"q": "SHOW DATABASES"})

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        self._http.clear()

    def _tier(self, tier_s: int) -> str:
        return self._bucket if tier_s == RAW else f"{self._bucket}_{tier_s}"

    def _write(self, bucket: str, lines: Sequence[str]) -> None:
        try:
            for begin in range(0, len(lines), _CHUNK):
                self._writer.write(
                    bucket, record=list(lines[begin : begin + _CHUNK]), write_precision=cast(Any, "ms")
                )
        except ApiException as error:
            kind = Rejected if error.status in (400, 401, 403, 404, 422) else Unavailable
            raise kind("influxdb", f"write answered {error.status}") from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unavailable("influxdb", type(error).__name__) from error

    def _delete(self, bucket: str, start: int, stop: int, predicate: str) -> None:
        try:
            self._client.delete_api().delete(_rfc3339(start), _rfc3339(stop), predicate, bucket=bucket)
        except ApiException as error:
            raise Unavailable("influxdb", f"delete answered {error.status}") from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unavailable("influxdb", type(error).__name__) from error

    def _query(self, bucket: str, query: str) -> list[_Found]:
        body = self._request("POST", "/query", {"db": bucket, "q": query, "epoch": "ms"})
        result = json.loads(body)["results"][0]
        if "error" in result:
            raise Rejected("influxdb", str(result["error"])[:200])
        return [
            _Found(
                item["name"],
                item.get("tags", {}),
                dict(zip(item["columns"], map(list, zip(*item["values"], strict=True)), strict=True)),
            )
            for item in result.get("series", [])
        ]

    def _request(self, method: str, path: str, fields: dict[str, str]) -> bytes:
        headers = {"Authorization": f"Token {self._token}"} if self._token else {}
        try:
            answer = self._http.request_encode_body(
                method, self._url + path, fields=fields, headers=headers, encode_multipart=False
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unavailable("influxdb", type(error).__name__) from error
        if answer.status >= 500 or answer.status == 429:
            raise Unavailable("influxdb", f"{path} answered {answer.status}")
        if answer.status >= 400:
            raise Rejected("influxdb", f"{path} answered {answer.status}")
        return answer.data


def _sample_lines(host_id: str, block: SampleBlock) -> Iterator[str]:
    for column, key in enumerate(block.series):
        series = _series(host_id, key)
        for at, value in _present(block, column):
            yield f"{series} value={value!r} {at}"


def _present(block: SampleBlock, column: int) -> Iterable[tuple[int, float]]:
    there = ~np.isnan(block.values[:, column])
    return zip(block.times[there].tolist(), block.values[there, column].tolist(), strict=True)


def _series(host_id: str, key: SeriesKey) -> str:
    tags = "".join(f",l_{name}={_escape(_tag(value))}" for name, value in key.labels)
    return f"{_escape(key.metric)},host={_escape(host_id)}{tags}"


def _escape(text: str) -> str:
    # Line protocol: commas, equals signs and spaces are escaped.
    for character in ",= ":
        text = text.replace(character, "\\" + character)
    return text


def _tag(value: str) -> str:
    """Return the value of a label as a tag: not empty, which is no tag at all, and no backslash before what follows it."""
    return value + _END if not value or value.endswith(("\\", _END)) else value


def _identifier(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _string(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _key(found: _Found) -> SeriesKey:
    tags = found.tags.items()
    labels = {name[2:]: value.removesuffix(_END) for name, value in tags if name.startswith("l_") and value}
    return SeriesKey.of(found.name, labels)


def _data(host_id: str, found: _Found) -> SeriesData:
    columns = found.columns
    times = np.array(columns["time"], np.int64)
    if "value" in columns:
        value = np.array(columns["value"], float)
        return SeriesData(host_id, _key(found), times, value, value, value, np.ones(len(times), np.int64))
    count = np.array(columns["count"], np.int64)
    mean = np.array(columns["sum"], float) / count
    low, high = np.array(columns["min"], float), np.array(columns["max"], float)
    return SeriesData(host_id, _key(found), times, mean, low, high, count)


def _rfc3339(at: int) -> str:
    return np.datetime_as_string(np.datetime64(at, "ms"), unit="ms") + "Z"
