"""The anomalies of the double: what it raised, what people said of it, and detectors that find what sticks out."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.unit.dashboard.fake_api import FakeApi
    from tests.unit.dashboard.fake_shapes import Call

MINUTE = 60_000
_MADE = (
    # minutes ago, host, metric, labels, pattern, detector, value, low, high, score
    (3, 2, "cpu.percent", {}, "shift", "default", 97.2, 14.0, 41.0, 0.94),
    (4, 2, "load.1m", {}, "spike", "lof", 6.4, 0.2, 1.6, 0.81),
    (9, 3, "disk.used_percent", {"mount": "/var"}, "drift", "default", 91.2, 62.0, 90.1, 0.71),
    (26, 5, "memory.used_percent", {}, "dip", "zscore", 41.0, 74.0, 83.0, 0.66),
    (
        52,
        0,
        "net.bytes_received_per_second",
        {"interface": "eth0"},
        "silence",
        "isolation_forest",
        0.0,
        9e5,
        4e6,
        0.62,
    ),
)
_WORDS = {
    "shift": "has moved to a new level",
    "spike": "rose to a value it has not had before",
    "drift": "has drifted to a level it has not had before",
    "dip": "fell to a value it has not had before",
    "silence": "has gone silent",
}
_UNITS = {"cpu.percent": "%", "disk.used_percent": "%", "memory.used_percent": "%", "load.1m": ""}


def made(now: int, hosts: int) -> list[dict[str, Any]]:
    """Return some anomalies of the last hour, and seventy older ones so that there is a second page."""
    rows = list(_MADE) + [
        (90 + 11 * i, i % 7, "cpu.iowait_percent", {}, "spike", "default", 30.0 + i, 0.0, 6.0, 0.5 + i / 200)
        for i in range(70)
    ]
    return [
        {
            "id": f"anom_{number:03d}",
            "host_id": f"host_{host:03d}",
            "metric": metric,
            "labels": labels,
            "unit": _UNITS.get(metric, "B/s" if metric.startswith("net") else "%"),
            "detector": detector,
            "at": now - ago * MINUTE,
            "raised_at": now - ago * MINUTE + 2400,
            "since": now - ago * MINUTE - 20_000,
            "value": value,
            "score": score,
            "expected_low": low,
            "expected_high": high,
            "pattern": pattern,
            "reason": f"{metric} {_WORDS[pattern]}: {value:g}, expected {low:g} to {high:g}, seen about once in 2 days.",
            "feedback": None,
        }
        for number, (ago, host, metric, labels, pattern, detector, value, low, high, score) in enumerate(rows)
        if host < hosts
    ]


def listed(api: FakeApi, call: Call) -> tuple[int, Any]:
    given = dict(call.params)
    start, end = int(given.get("from", 0)), int(given.get("to", 2**47))
    found = [
        one
        for one in api.anomalies
        if start <= one["at"] < end
        and one["score"] >= float(given.get("min_score", 0))
        and all(
            one[name] == given[name] for name in ("host_id", "metric", "detector", "pattern") if name in given
        )
    ]
    first, limit = int(given.get("cursor", 0)), int(given.get("limit", 50))
    more = str(first + limit) if len(found) > first + limit else None
    return 200, {"items": found[first : first + limit], "next_cursor": more}


def one(api: FakeApi, call: Call) -> tuple[int, Any]:
    found = next((item for item in api.anomalies if item["id"] == call.names["id"]), None)
    if found is None:
        return 404, {"title": "Not found", "detail": "There is no such anomaly.", "code": "unknown_anomaly"}
    said = (found["feedback"] or {}).get("verdict")
    around = None
    if api.now() - found["at"] < 2 * 3_600_000:
        times = [found["at"] + (i - 120) * 5000 for i in range(150)]
        around = _run(found["detector"], times, found)
    return 200, {**found, "threshold": 0.75 if said == "false_alarm" else 0.5, "around": around}


def judged(api: FakeApi, call: Call) -> tuple[int, Any]:
    api.changes.append((call.route, call.body))
    found = next(item for item in api.anomalies if item["id"] == call.names["id"])
    verdict = (call.body or {}).get("verdict")
    found["feedback"] = verdict and {"verdict": verdict, "said_by": call.user["id"], "said_at": api.now()}
    return (200, found) if verdict else (204, None)


def detected(api: FakeApi, call: Call) -> tuple[int, Any]:
    body = call.body
    api.changes.append((call.route, body))
    step = max(5000, (body["to"] - body["from"]) // 4000)
    times = list(range(body["from"], min(body["to"], api.now()), step))
    like = {"value": 97.0, "expected_low": 14.0, "expected_high": 41.0, "at": times[int(len(times) * 0.8)]}
    run = _run(body["detector"], times, like)
    late = {"default": 0, "zscore": 150, "iqr": 300, "isolation_forest": 80, "lof": 520}[body["detector"]]
    marks = [i for i, score in enumerate(run["score"]) if score >= 0.5][late * len(times) // 4320 :][:2]
    found = [
        {
            "at": times[i],
            "value": run["values"][i],
            "score": run["score"][i],
            "expected_low": 14.0,
            "expected_high": 41.0,
            "pattern": "spike",
        }
        for i in marks
    ]
    return 200, {**run, "threshold": 0.5, "found": found}


def _run(detector: str, times: list[int], like: dict[str, Any]) -> dict[str, Any]:
    """Return samples about the middle of the expected range that leave it from ``like``'s time on."""
    low, high = like["expected_low"], like["expected_high"]
    middle, reach = (low + high) / 2, (high - low) / 2
    values = [
        like["value"] + reach * 0.06 * math.sin(at / 4100)
        if at >= like["at"]
        else middle + reach * (0.5 * math.sin(at / 90_000) + 0.25 * math.sin(at / 7919))
        for at in times
    ]
    return {
        "detector": detector,
        "step_s": 0,
        "times": times,
        "values": values,
        "score": [0.9 if at >= like["at"] else 0.02 for at in times],
        "low": [None if i < 20 else low for i in range(len(times))],
        "high": [None if i < 20 else high for i in range(len(times))],
    }


def tag(api: FakeApi) -> str:
    """Return the ETag of the choices as they are."""
    return f'"{zlib.crc32(json.dumps(api.detectors).encode())}"'


def choices(api: FakeApi, call: Call) -> tuple[int, Any]:
    if call.body is not None:
        api.changes.append((call.route, call.body))
        api.detectors = call.body["items"]
    return 200, {"items": api.detectors}


def watched(api: FakeApi, call: Call) -> tuple[int, Any]:
    standing = {"chosen": 3, "series": 3, "left_out": 0, "looked_at": api.now() - 9000}
    return 200, {
        "items": [
            {**standing, "host_id": host["id"], "host_name": host["name"], "behind_s": api.behind_s + i}
            for i, host in enumerate(api.hosts[:3])
        ]
    }


ROUTES: dict[str, Callable[[FakeApi, Call], tuple[int, Any]]] = {
    "GET /anomalies": listed,
    "POST /anomalies/detect": detected,
    "GET /anomalies/detectors": choices,
    "PUT /anomalies/detectors": choices,
    "GET /anomalies/detectors/watched": watched,
    "GET /anomalies/{id}": one,
    "PUT /anomalies/{id}/feedback": judged,
    "DELETE /anomalies/{id}/feedback": judged,
}
