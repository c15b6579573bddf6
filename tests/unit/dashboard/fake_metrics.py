"""The metrics of the double: which there are, and values with a daily rhythm."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tests.unit.dashboard.fake_shapes import HOUR, Call

if TYPE_CHECKING:
    from tests.unit.dashboard.fake_api import FakeApi

METRICS: list[tuple[str, str, str, list[float | None], dict[str, str]]] = [
    ("cpu.percent", "%", "CPU in use, all cores", [0, 100], {}),
    ("cpu.iowait_percent", "%", "CPU waiting for disks", [0, 100], {}),
    ("load.1m", "", "Runnable processes, one minute", [0, None], {}),
    ("memory.used_percent", "%", "Memory in use", [0, 100], {}),
    ("memory.available_bytes", "B", "Memory left", [0, None], {}),
    ("swap.used_percent", "%", "Swap in use", [0, 100], {}),
    ("disk.used_percent", "%", "File system in use", [0, 100], {"mount": "/"}),
    ("disk.used_percent", "%", "File system in use", [0, 100], {"mount": "/var"}),
    ("disk.read_bytes_per_second", "B/s", "Read from disk", [0, None], {"device": "sda"}),
    ("disk.write_bytes_per_second", "B/s", "Written to disk", [0, None], {"device": "sda"}),
    ("net.bytes_received_per_second", "B/s", "Received", [0, None], {"interface": "eth0"}),
    ("net.bytes_sent_per_second", "B/s", "Sent", [0, None], {"interface": "eth0"}),
]


def wave(host: int, metric: str, at: int) -> float:
    """Return a value with a daily rhythm, a little noise and a busy web-3, the same for the same arguments."""
    day = math.sin(2 * math.pi * (at / (24 * HOUR) + host * 0.07))
    noise = math.sin(at / 7919 + host * 3) * 0.5 + math.sin(at / 1597 + host) * 0.5
    busy = 45.0 if host == 2 and (at // 1000) % 1800 > 1500 else 0.0
    known = {
        "cpu.percent": min(100.0, max(1.0, 24 + 14 * day + 5 * noise + busy + 4 * (host % 3))),
        "cpu.iowait_percent": abs(2 + 2 * noise),
        "load.1m": max(0.02, 0.8 + 0.5 * day + 0.2 * noise + busy / 12),
        "memory.used_percent": 48 + 6 * host * 0.9 + 3 * day + noise,
        "memory.available_bytes": (8.0 + day) * 2**30,
        "swap.used_percent": 1.0,
        "disk.used_percent": min(97.0, 38 + 8.0 * host + ((at % (24 * HOUR)) / (24 * HOUR)) * 1.5),
    }
    return known.get(
        metric, abs(2e6 * (1.2 + day) * (1 + 0.4 * noise) * (1 + host / 4) * (1 + len(metric) % 3))
    )


def catalogue(api: FakeApi, call: Call) -> tuple[int, Any]:
    seen = {
        m[0]: {
            "name": m[0],
            "unit": m[1],
            "description": m[2],
            "bad": "high",
            "low": m[3][0],
            "high": m[3][1],
        }
        for m in METRICS
    }
    return 200, {"items": list(seen.values())}


def series(api: FakeApi, call: Call) -> tuple[int, Any]:
    return 200, {"items": [{"metric": m[0], "labels": m[4]} for m in METRICS]}


def metric_range(api: FakeApi, call: Call) -> tuple[int, Any]:
    params, given = call.params, dict(call.params)
    start, end, points = (
        int(given["from"]),
        min(int(given["to"]), api.now()),
        int(given.get("points", 600)),
    )
    raw = int(api.interval_s * 1000)
    span = end - start
    tier, step = ("raw", raw) if span <= 2 * HOUR else ("1m", 60_000) if span <= 48 * HOUR else ("1h", HOUR)
    step = max(step, math.ceil(span / points / step) * step)
    times = list(range(start - start % step + step, end, step))
    if tier == "1m":  # an hour without the agent: gaps must look like gaps
        times = [t for t in times if not 2 * HOUR < api.started - t < 2.6 * HOUR]
    series = []
    wanted_hosts = [v for k, v in params if k == "host_id"]
    wanted = [v for k, v in params if k == "metric"]
    for host_id in wanted_hosts:
        index = int(host_id.rsplit("_", 1)[1])
        silent_since = api.hosts[index]["last_seen_at"] if api.hosts[index]["status"] == "silent" else None
        for name, unit, _, _, labels in METRICS:
            if name in wanted:
                kept = [t for t in times if silent_since is None or t <= silent_since]
                series.append(
                    {
                        "host_id": host_id,
                        "metric": name,
                        "labels": labels,
                        "unit": unit,
                        "times": kept,
                        "values": [round(wave(index, name, t), 3) for t in kept],
                    }
                )
    return 200, {"tier": tier, "step_s": step / 1000, "series": series}
