"""From samples to the bytes of a batch, and back far enough to split one.

A batch is made in two steps.  What was measured is fixed when it is spooled and kept compressed (the
*payload*); what is known only on sending (sequence number, oldest batch held, the agent's own state) is
put around it at that moment.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from collector_agent import catalogue
from collector_agent.collectors import Labels, Sample
from collector_agent.collectors.processes import TopProcess

WIRE_VERSION = 1
MAX_SERIES = 300
MAX_SAMPLES = 5_000
MAX_LABEL_CHARS = 200
MAX_NAME_CHARS = 64


class Payload(NamedTuple):
    """The measured part of a batch: compressed JSON, the samples in it and the time of the last."""

    data: bytes
    samples: int
    first_ms: int
    last_ms: int


def clean(text: str, limit: int) -> str:
    """Return ``text`` fit for a JSON string anywhere: no control characters, no half characters, bounded.

    Names of processes, mounts and sensors are chosen by whoever uses the host, so they may hold anything.
    """
    printable = "".join(c if c.isprintable() else "\ufffd" for c in text[:limit])
    return printable.encode("utf-8", "replace").decode("utf-8")


class Builder:
    """Gathers the samples of one or several ticks, until they are spooled as one batch.

    Samples that are no numbers or lie outside the hard bounds of the catalogue by more than rounding are left
    out.  When a host has more series than a batch may hold, those first in the catalogue are kept and the
    rest is counted in ``over_budget``.
    """

    def __init__(self, *, version: str, started_at_ms: int) -> None:
        self._about = {"version": version, "started_at": started_at_ms}
        self._times: list[int] = []
        self._series: dict[tuple[str, Labels], list[float | None]] = {}
        self._top: Sequence[TopProcess] = ()
        self.samples = 0
        self.over_budget = 0

    @property
    def times(self) -> Sequence[int]:
        """The stamps gathered so far."""
        return self._times

    def full(self) -> bool:
        """Whether another tick of the same size might not fit."""
        ticks = len(self._times)
        return ticks > 0 and self.samples * (ticks + 1) / ticks > MAX_SAMPLES

    def add(self, time_ms: int, samples: Iterable[Sample], top: Sequence[TopProcess] = ()) -> None:
        """Fold in one tick; ``time_ms`` must lie above the last one."""
        if self._times and time_ms <= self._times[-1]:
            raise ValueError(f"tick {time_ms} is not after {self._times[-1]}")
        place = len(self._times)
        self._times.append(time_ms)
        for values in self._series.values():
            values.append(None)
        for name, labels, value in sorted(
            samples, key=lambda s: catalogue.ORDER.get(s[0], len(catalogue.ORDER))
        ):
            number = _sendable(name, value)
            if number is None:
                continue
            key = (name, tuple((k, clean(v, MAX_LABEL_CHARS)) for k, v in labels))
            known = self._series.get(key)
            if known is None:
                if len(self._series) >= MAX_SERIES:
                    self.over_budget += 1
                    continue
                known = self._series[key] = [None] * (place + 1)
            if known[place] is None:
                self.samples += 1
            known[place] = number
        if top:
            self._top = top

    def take(self, interval: float) -> Payload | None:
        """Return what was gathered as a payload and start anew; ``None`` when there is not one sample."""
        times, series, samples = self._times, self._series, self.samples
        self._times, self._series, self.samples = [], {}, 0
        if samples == 0:
            return None
        body: dict[str, Any] = {
            "batch_id": new_batch_id(),
            "agent": {**self._about, "interval_s": interval},
            "times": times,
            "series": [
                {"metric": name, "labels": dict(labels), "values": values}
                for (name, labels), values in series.items()
            ],
        }
        if self._top:
            body["top_processes"] = [{**p, "name": clean(p["name"], MAX_NAME_CHARS)} for p in self._top]
        return _pack(body)


def _sendable(name: str, value: float) -> float | int | None:
    """Return ``value`` rounded as the catalogue says, or ``None`` when it cannot be a measurement."""
    metric = catalogue.BY_NAME.get(name)
    if metric is None or not abs(value) < 2**63:  # false for NaN and infinity too
        return None
    number = round(value, metric.digits) if metric.digits else round(value)
    if metric.low is not None and number < metric.low:
        return None
    if metric.high is not None and number > metric.high:
        return metric.high if value < metric.high + 1e-6 else None
    return int(number) if number == int(number) else number


def _pack(body: dict[str, Any]) -> Payload:
    samples = sum(1 for series in body["series"] for value in series["values"] if value is not None)
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return Payload(zlib.compress(text.encode(), 6), samples, body["times"][0], body["times"][-1])


def split(payload: bytes) -> tuple[Payload, Payload] | None:
    """Return two payloads that together hold what ``payload`` holds, or ``None`` for a single sample series.

    By time where there are several ticks, else by series.  Each half has a batch id of its own.
    """
    body = json.loads(zlib.decompress(payload))
    half = len(body["times"]) // 2
    if half:
        parts = [
            {
                **body,
                "batch_id": new_batch_id(),
                "times": body["times"][cut],
                "series": [{**series, "values": series["values"][cut]} for series in body["series"]],
            }
            for cut in (slice(None, half), slice(half, None))
        ]
    else:
        half = len(body["series"]) // 2
        if not half:
            return None
        parts = [
            {**body, "batch_id": new_batch_id(), "series": body["series"][cut]}
            for cut in (slice(None, half), slice(half, None))
        ]
    parts[0].pop("top_processes", None)
    for part in parts:
        part["series"] = [s for s in part["series"] if any(v is not None for v in s["values"])]
    return _pack(parts[0]), _pack(parts[1])


def message(
    payload: bytes,
    *,
    host_id: str,
    spool_id: str,
    seq: int,
    oldest: int,
    sent_at_ms: int,
    own: Mapping[str, float],
) -> bytes:
    """Return the gzip body of the request that sends ``payload`` as batch ``seq`` of spool ``spool_id``."""
    head = json.dumps(
        {
            "v": WIRE_VERSION,
            "host_id": host_id,
            "spool_id": spool_id,
            "seq": seq,
            "oldest": oldest,
            "sent_at": sent_at_ms,
            "self": dict(own),
        },
        separators=(",", ":"),
    )
    # Both are JSON objects and neither is empty: joining them as text saves parsing what is only passed on.
    joined = head[:-1].encode() + b"," + zlib.decompress(payload)[1:]
    return gzip_bytes(joined)


def gzip_bytes(data: bytes) -> bytes:
    """Return ``data`` in the gzip format, without a time stamp."""
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    return packer.compress(data) + packer.flush()


def new_batch_id() -> str:
    """Return a UUID of version 7 (RFC 9562): sorts by the millisecond it was made."""
    value = (int(time.time() * 1000) & (2**48 - 1)) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
