"""Payloads for tests: each holds one sample whose value is its number."""

from __future__ import annotations

import json
import zlib

from collector_agent.batch import Builder, Payload


def payload(number: int, samples: int = 1) -> Payload:
    builder = Builder(version="test", started_at_ms=0)
    labelled = [("disk.free_bytes", (("mount", f"/{i}"),), float(number)) for i in range(samples)]
    builder.add(1_790_000_000_000 + number, labelled)
    taken = builder.take(5.0)
    assert taken is not None
    return taken


def number_of(item: Payload) -> int:
    return int(json.loads(zlib.decompress(item.data))["series"][0]["values"][0])
