"""Forecasts on demand and in the background, how they turned out, and the alarm before a disk is full."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import boto3
import numpy as np
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from farwatch.bootstrap import Container
from farwatch.domain.capacity import Outlook, alert_level
from farwatch.domain.rbac import Role
from farwatch.domain.samples import SampleBlock, SeriesKey
from farwatch.domain.severity import Severity
from farwatch.domain.signals import Signal, SignalState
from farwatch.services.forecast import Refreshed
from functions.api.handler import api, handler
from functions.forecast.handler import handler as forecast_handler
from tests.api_events import answer, as_user, http_event

CPU = SeriesKey.of("cpu.percent")
ROOT = SeriesKey.of("disk.used_percent", {"mount": "/"})
STEP_MS = 900_000


class Sent:
    """A queue that keeps what is sent."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    def send(self, messages: Sequence[Any]) -> None:
        self.messages.extend(messages)


class Started:
    """The background, remembered instead of run."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    def start(self, forecast_id: str) -> None:
        self.ids.append(forecast_id)


@pytest.fixture(autouse=True)
def fresh_api(made: Container) -> None:
    api.cache_clear()


@pytest.fixture
def now(made: Container) -> int:
    """Now, after eight days of CPU with a daily rhythm and a disk that gains 4 % a day from 60 %."""
    now = int(time.time() * 1000)
    times = np.arange(now // STEP_MS * STEP_MS - 8 * 86_400_000, now, STEP_MS)
    hours = times / 3_600_000
    rng = np.random.default_rng(5)
    cpu = 40 + 20 * np.sin(hours * math.tau / 24) + rng.normal(0, 2, len(times))
    disk = 60 + 4 * np.arange(len(times)) / 96 + rng.normal(0, 0.05, len(times))
    made.adapters.metric_store.write_history(
        "host_a", SampleBlock(times, (CPU, ROOT), np.column_stack([cpu, disk])), 60
    )
    return now


def call(method: str, path: str, role: Role = Role.VIEWER, **more: Any) -> tuple[int, Any, dict[str, str]]:
    response = handler(http_event(method, path, verdict=as_user(role), **more), LambdaContext())
    return response["statusCode"], answer(response), response["headers"]


def ask(**changes: Any) -> tuple[int, Any, dict[str, str]]:
    body = {"host_id": "host_a", "metric": "cpu.percent", "horizon_s": 86_400} | changes
    return call("POST", "/api/v1/predictions", body=body)


def lambda_context() -> LambdaContext:
    context = LambdaContext()
    context._function_name, context._memory_limit_in_mb = "forecast", 128
    context._invoked_function_arn, context._aws_request_id = "arn", "id"
    return context


def test_a_quick_model_answers_at_once_within_bounds_and_is_kept(now: int) -> None:
    status, body, headers = ask()
    assert (status, body["state"], body["model"]) == (200, "ready", "default")
    assert len(body["times"]) == len(body["quantiles"]) == 96
    assert body["times"][0] > now - STEP_MS
    assert all(0 <= row[0] <= row[2] <= row[4] <= 100 for row in body["quantiles"])
    assert call("GET", headers["Location"])[1] == body
    assert ask()[1]["id"] == body["id"]
    listed = call("GET", "/api/v1/predictions", query={"host_id": "host_a"})[1]["items"]
    assert [item["id"] for item in listed] == [body["id"]]


def test_the_unit_of_a_metric_does_not_matter(made: Container, now: int) -> None:
    times = np.arange(now // STEP_MS * STEP_MS - 3 * 86_400_000, now, STEP_MS)
    wave = 3 + np.sin(times / 86_400_000 * math.tau)
    tiny, huge = SeriesKey.of("leak.tonnes"), SeriesKey.of("leak.grams")
    made.adapters.metric_store.write_history(
        "host_a", SampleBlock(times, (tiny, huge), np.column_stack([wave * 1e-8, wave * 1e-2])), 60
    )
    tonnes, grams = (ask(metric=key.metric)[1]["quantiles"] for key in (tiny, huge))
    assert np.array(tonnes) * 1e6 == pytest.approx(np.array(grams), rel=1e-6)


@pytest.mark.parametrize(
    ("changes", "status", "code", "reason"),
    [
        ({"model": "crystal_ball"}, 422, "invalid_input", "there is no model crystal_ball"),
        ({"metric": "load.1m"}, 422, "no_forecast", "the host has never sent load.1m"),
        ({"metric": "load.1m", "model": "arima"}, 422, "no_forecast", "the host has never sent load.1m"),
        ({"host_id": "host_nobody"}, 404, "unknown_host", "there is no host host_nobody"),
        ({"horizon_s": 60}, 422, "invalid_input", "the request does not fit: body.horizon_s"),
    ],
)
def test_what_cannot_be_forecast_is_refused_with_the_reason(
    now: int, changes: dict[str, Any], status: int, code: str, reason: str
) -> None:
    got, problem, _ = ask(**changes)
    assert (got, problem["code"], problem["detail"]) == (status, code, reason)


def test_a_series_of_some_hours_is_told_how_much_more_it_takes(made: Container, now: int) -> None:
    times, young = np.arange(now - 6 * 3_600_000, now, STEP_MS), SeriesKey.of("load.1m")
    block = SampleBlock(times, (young,), np.ones((len(times), 1)))
    made.adapters.metric_store.write_history("host_a", block, 60)
    status, problem, _ = ask(metric="load.1m")
    assert (status, problem["code"]) == (422, "no_forecast")
    assert "24 h" in problem["detail"]


def test_a_slow_model_is_made_in_the_background_and_its_user_told(made: Container, now: int) -> None:
    started, pushes = Started(), Sent()
    made.forecasts._background, made.forecasts._pushes = started, pushes
    status, body, headers = ask(model="arima")
    assert (status, body["state"]) == (202, "pending")
    assert started.ids == [body["id"]]
    assert forecast_handler({"forecast_id": body["id"]}, lambda_context()) == {"forecast": "ready"}
    assert call("GET", headers["Location"])[1]["state"] == "ready"
    assert [(push.topic, push.type, push.data["state"]) for push in pushes.messages] == [
        ("user:user_1", "forecast.ready", "ready")
    ]
    assert forecast_handler({"forecast_id": body["id"]}, lambda_context()) == {"forecast": None}


def test_the_background_is_the_forecast_function(made: Container, now: int) -> None:
    # moto knows no function of this name: that it was asked for, and what a refusal becomes, is what shows.
    assert boto3.client("lambda").list_functions()["Functions"] == []
    status, problem, _ = ask(model="prophet")
    assert (status, problem["code"]) == (503, "dependency_unavailable")
    # Asked again it is tried again: what could not be started is not taken for a forecast being made.
    assert ask(model="prophet")[0] == 503
    listed = call("GET", "/api/v1/predictions")[1]["items"]
    assert {item["state"] for item in listed} == {"failed"}


def test_a_forecast_nobody_makes_is_given_up_after_an_hour(made: Container, now: int) -> None:
    made.forecasts._background = Started()
    status, _, headers = ask(model="arima")
    assert status == 202
    made.forecasts.judge(now + 3_500_000)
    assert call("GET", headers["Location"])[1]["state"] == "pending"
    made.forecasts.judge(now + 3_700_000)
    given_up = call("GET", headers["Location"])[1]
    assert (given_up["state"], given_up["error"]) == ("failed", "it was not made within an hour; ask again")


def test_a_forecast_is_judged_when_its_time_has_passed(made: Container, now: int) -> None:
    two_days_ago = now - 2 * 86_400_000
    made.forecasts.ask("host_a", CPU, "default", 86_400, "user_1", two_days_ago)
    assert made.forecasts.judge(now) == 1
    assert made.forecasts.judge(now) == 0
    (item,) = call("GET", "/api/v1/predictions/accuracy")[1]["items"]
    assert (item["model"], item["forecasts"]) == ("default", 1)
    assert item["relative_mae"] < 1.0
    assert 0.5 < item["cover80"] <= 1.0


def test_a_filling_disk_is_foreseen_and_alarms_until_it_is_emptied(made: Container, now: int) -> None:
    signals = Sent()
    made.capacities._signals = signals
    assert made.capacities.refresh(now) == Refreshed(outlooks=1, waiting=0)
    (outlook,) = call("GET", "/api/v1/predictions/capacity", query={"host_id": "host_a"})[1]["items"]
    assert outlook["current"] == pytest.approx(92, abs=1)
    assert outlook["median_s"] == pytest.approx(2 * 86_400, rel=0.2)
    assert outlook["low_s"] <= outlook["median_s"] <= outlook["high_s"]
    assert outlook["words"].startswith("disk / full in ")
    made.capacities.refresh(now + 600_000)
    firing: list[Signal] = signals.messages
    assert [(s.state, s.severity, s.started_at) for s in firing] == [
        (SignalState.FIRING, Severity.WARNING, now)
    ] * 2
    assert firing[0].reason.startswith("Disk / full in ")

    emptied = np.arange(now // STEP_MS * STEP_MS, now + 5 * 86_400_000, STEP_MS)
    flat = SampleBlock(emptied, (ROOT,), np.full((len(emptied), 1), 20.0))
    made.adapters.metric_store.write_history("host_a", flat, 60)
    made.capacities.refresh(now + 5 * 86_400_000)
    assert signals.messages[-1].state is SignalState.RESOLVED


def test_a_host_that_falls_silent_keeps_its_alarm_and_its_disk_does_not_stand_still(
    made: Container, now: int
) -> None:
    signals = Sent()
    made.capacities._signals = signals
    made.capacities.refresh(now)
    (first,) = call("GET", "/api/v1/predictions/capacity")[1]["items"]
    for hours in (12, 60):
        made.capacities.refresh(now + hours * 3_600_000)
        (silent,) = call("GET", "/api/v1/predictions/capacity")[1]["items"]
        assert silent["median_s"] == pytest.approx(max(first["median_s"] - hours * 3600, 0), rel=0.1)
    assert silent["words"].startswith("disk / may be full by now: 92")
    # It may be off: that its disk went on filling is not known, and neither is that it did not.
    assert [(s.state, s.severity) for s in signals.messages] == [(SignalState.FIRING, Severity.WARNING)] * 3


def test_a_disk_that_is_gone_while_its_host_reports_is_full_no_longer(made: Container, now: int) -> None:
    usb = SeriesKey.of("disk.used_percent", {"mount": "/media/usb"})
    times = np.arange(now // STEP_MS * STEP_MS - 3 * 86_400_000, now - 2 * 3_600_000, STEP_MS)
    made.adapters.metric_store.write_history(
        "host_a", SampleBlock(times, (usb,), np.full((len(times), 1), 100.0)), 60
    )
    signals = Sent()
    made.capacities._signals = signals
    made.capacities.refresh(now - 2 * 3_600_000)
    assert Severity.CRITICAL in {s.severity for s in signals.messages if s.labels == usb.label_map}
    made.capacities.refresh(now)
    assert [s.state for s in signals.messages if s.labels == usb.label_map][-1] is SignalState.RESOLVED
    items = call("GET", "/api/v1/predictions/capacity")[1]["items"]
    assert [item["labels"] for item in items] == [ROOT.label_map]


def test_a_retired_host_has_no_outlook_any_more(made: Container, now: int) -> None:
    made.capacities._signals = Sent()
    made.capacities.refresh(now)
    with made.adapters.database.transaction() as connection:
        connection.execute("UPDATE hosts SET retired_at = now()")
    made.capacities.refresh(now + 600_000)
    assert call("GET", "/api/v1/predictions/capacity")[1]["items"] == []


@pytest.mark.parametrize(("left_s", "waiting"), [(100, 0), (15, 1)])
def test_the_scheduled_run_ends_in_time_and_says_how_many_hosts_wait(
    made: Container, now: int, monkeypatch: pytest.MonkeyPatch, left_s: int, waiting: int
) -> None:
    made.capacities._signals = Sent()
    context = lambda_context()
    monkeypatch.setattr(context, "get_remaining_time_in_millis", lambda: left_s * 1000)
    done = {"judged": 0, "outlooks": 1 - waiting, "hosts_waiting": waiting}
    assert forecast_handler({}, context) == done


def test_what_cannot_be_judged_or_estimated_keeps_nothing_else_from_it(
    made: Container, now: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.capacities._signals = Sent()
    for model in ("default", "seasonal_naive"):
        made.forecasts.ask("host_a", CPU, model, 86_400, "user_1", now - 2 * 86_400_000)
    with made.adapters.database.transaction() as connection:
        connection.execute("UPDATE forecasts SET quantiles = '[[1, 2]]' WHERE model = 'default'")
        connection.execute("INSERT INTO hosts (id, name) VALUES ('host_0', 'a-broken-one')")
    read = made.adapters.metric_store.read

    def broken(host_id: str, *rest: Any) -> Any:
        return 1 / 0 if host_id == "host_0" else read(host_id, *rest)

    monkeypatch.setattr(made.adapters.metric_store, "read", broken)
    context = lambda_context()
    monkeypatch.setattr(context, "get_remaining_time_in_millis", lambda: 100_000)
    assert forecast_handler({}, context) == {"judged": 2, "outlooks": 1, "hosts_waiting": 0}
    (item,) = call("GET", "/api/v1/predictions/accuracy")[1]["items"]
    assert (item["model"], item["forecasts"]) == ("seasonal_naive", 1)


def test_in_a_fleet_too_large_for_one_go_every_host_has_its_turn(made: Container, now: int) -> None:
    times = np.arange(now // STEP_MS * STEP_MS - 2 * 86_400_000, now, STEP_MS)
    block = SampleBlock(times, (ROOT,), np.linspace(20, 40, len(times))[:, None])
    with made.adapters.database.transaction() as connection:
        for name in "bcd":
            connection.execute("INSERT INTO hosts (id, name) VALUES (%s, %s)", (f"host_{name}", name))
    for name in "bcd":
        made.adapters.metric_store.write_history(f"host_{name}", block, 60)
    made.capacities._clock = iter(range(1000)).__next__  # a second passes at each look
    made.capacities._signals = Sent()
    seen = set()
    for run in range(2):
        assert made.capacities.refresh(now + run * 600_000, 2).waiting == 2
        items = call("GET", "/api/v1/predictions/capacity")[1]["items"]
        seen |= {item["host_id"] for item in items if item["at"] == now + run * 600_000}
    assert seen == {"host_a", "host_b", "host_c", "host_d"}


def outlook(hours: float, per_day: float = 5.0, low: float = 0.8, high: float = 1.3) -> Outlook:
    seconds = hours * 3600
    return Outlook("h", ROOT, 0, 100, 90, per_day, seconds, seconds * low, seconds * high)


@pytest.mark.parametrize(
    ("hours", "before", "after"),
    [
        (71, None, Severity.WARNING),
        (73, None, None),
        (90, Severity.WARNING, Severity.WARNING),
        (97, Severity.WARNING, None),
        (7, Severity.WARNING, Severity.CRITICAL),
        (20, Severity.CRITICAL, Severity.CRITICAL),
        (25, Severity.CRITICAL, Severity.WARNING),
        (0, None, Severity.CRITICAL),
    ],
)
def test_the_alarm_enters_and_leaves_at_different_lines(
    hours: float, before: Severity | None, after: Severity | None
) -> None:
    assert alert_level(outlook(hours), before) is after


def test_what_is_soon_full_even_at_the_end_of_a_wide_range_is_told() -> None:
    assert alert_level(outlook(5, low=0.2, high=2.4), None) is Severity.WARNING  # from 1 to 12 h
    assert alert_level(outlook(20, low=0.1, high=4), Severity.CRITICAL) is Severity.WARNING
    assert alert_level(outlook(20, low=0.1, high=4), None) is None  # from 2 to 80 h


def test_an_estimate_that_says_little_wakes_nobody() -> None:
    assert alert_level(outlook(50, per_day=0.1), None) is None
    assert alert_level(outlook(50, per_day=0.4), None) is None
    assert alert_level(outlook(50, per_day=0.4), Severity.WARNING) is Severity.WARNING
    assert alert_level(outlook(50, low=0.1, high=5), None) is None
    assert alert_level(outlook(3, low=0.1, high=1.5), None) is Severity.CRITICAL
