"""The forecasts of the double: one with its quantiles, what earlier ones were worth, and what runs out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.unit.dashboard.fake_metrics import wave
from tests.unit.dashboard.fake_shapes import Call

if TYPE_CHECKING:
    from tests.unit.dashboard.fake_api import FakeApi


def forecast(api: FakeApi, call: Call) -> tuple[int, Any]:
    if call.body is not None:
        api.asked_forecast = {**call.body, "made_at": api.now()}
        api.changes.append((call.route, call.body))
    asked = api.asked_forecast
    slow = asked["model"] in {"prophet", "arima"} and not api.forecasts_ready
    step, host = 600_000, int(asked["host_id"].rsplit("_", 1)[1])
    times = [asked["made_at"] + step * i for i in range(1, asked["horizon_s"] // 600 + 1)]
    middle = [wave(host, asked["metric"], t) for t in times]
    spread = [2 + 8 * i / len(times) for i in range(len(times))]
    quantiles = [
        [max(0.0, min(100.0, m + s * f)) for f in (-1.5, -1.0, 0.0, 1.0, 1.5)]
        for m, s in zip(middle, spread, strict=True)
    ]
    return 202 if slow else 200, {
        **asked,
        "id": "fc_1",
        "unit": "%",
        "state": "pending" if slow else "ready",
        "error": "",
        "levels": [0.025, 0.1, 0.5, 0.9, 0.975],
        "times": [] if slow else times,
        "quantiles": [] if slow else quantiles,
        "score": None,
    }


def accuracy(api: FakeApi, call: Call) -> tuple[int, Any]:
    judged = {"relative_pinball": 0.5, "cover80": 0.812, "cover95": 0.94}
    return 200, {
        "items": [
            {"model": "default", "forecasts": 12, "relative_mae": 0.71, **judged},
            {"model": "moving_average", "forecasts": 3, "relative_mae": 1.31, **judged},
        ]
    }


def outlooks(api: FakeApi, call: Call) -> tuple[int, Any]:
    soon = {
        "metric": "disk.used_percent",
        "labels": {"mount": "/var"},
        "unit": "%",
        "at": api.now(),
        "threshold": 95.0,
    }
    full = {
        **soon,
        "host_id": "host_003",
        "current": 91.2,
        "per_day": 3.1,
        "median_s": 111_600.0,
        "low_s": 93_600.0,
        "high_s": 158_400.0,
        "alert": "warning",
        "words": "disk /var on db-primary is full in 31 h, between 26 and 44 h, at the last day's rate",
        **api.outlook,
    }
    unsure = {**full, "median_s": 14_400.0, "low_s": 900.0, "high_s": 90_000.0, "alert": None}
    later = {**full, "median_s": 950_400.0, "low_s": 864_000.0, "high_s": 1_036_800.0, "alert": None}
    never = {
        **soon,
        "host_id": "host_000",
        "current": 39.0,
        "per_day": 0.0,
        "median_s": None,
        "low_s": None,
        "high_s": None,
        "alert": None,
        "words": "disk /var is not filling",
    }
    return 200, {"items": [full, unsure, later, never] if len(api.hosts) > 3 else []}
