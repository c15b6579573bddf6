"""Anomalies over the API: list, look at, run a detector, say what they were and take it back."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from farwatch.adapters.functions import DetectFunction
from farwatch.bootstrap import Container
from farwatch.detection import DEFAULT_THRESHOLD
from farwatch.domain.anomalies import Anomaly
from farwatch.domain.rbac import Role
from farwatch.domain.samples import SampleBlock, SeriesKey
from farwatch.services.anomalies import sensitivity_of
from functions.api.handler import api, handler
from functions.detect.handler import handler as detect_handler
from tests.api_events import answer, as_user, http_event

CPU = SeriesKey.of("cpu.percent")
ROOT = SeriesKey.of("disk.used_percent", {"mount": "/"})


CONTEXT: Any = SimpleNamespace(
    function_name="detect",
    memory_limit_in_mb=2048,
    invoked_function_arn="arn:aws:lambda:eu-central-1:1:function:detect",
    aws_request_id="request-1",
)


class Invoked:
    """Lambda's client as far as the API uses it: the real handler, called in this process."""

    def __init__(self) -> None:
        self.broken = False

    def invoke(self, *, FunctionName: str, Payload: bytes) -> dict[str, Any]:  # noqa: N803 - boto3's names
        if self.broken:
            return {"FunctionError": "Unhandled", "Payload": _Body({"errorType": "MemoryError"})}
        return {"Payload": _Body(detect_handler(json.loads(Payload), CONTEXT))}


class _Body:
    def __init__(self, content: Any) -> None:
        self._content = content

    def read(self) -> bytes:
        return json.dumps(self._content).encode()


@pytest.fixture(autouse=True)
def function(made: Container) -> Invoked:
    api.cache_clear()
    invoked = Invoked()
    made.adapters.__dict__["detect_function"] = DetectFunction(invoked, "detect")
    return invoked


def call(method: str, path: str, role: Role = Role.OPERATOR, **more: Any) -> tuple[int, Any]:
    response = handler(http_event(method, path, verdict=as_user(role), **more), LambdaContext())
    return response["statusCode"], answer(response)


@pytest.fixture
def now() -> int:
    return int(time.time()) * 1000


def anomaly(at: int, key: SeriesKey = CPU, score: float = 0.7, detector: str = "default") -> Anomaly:
    return Anomaly("host_a", key, detector, at, 99.0, score, 10.0, 30.0, "spike", "It rose.", at - 5000)


def listed(**query: str) -> list[int]:
    status, body = call("GET", "/api/v1/anomalies", query=query)
    assert status == 200
    return [item["at"] for item in body["items"]]


def first_id(made: Container) -> str:
    _, body = call("GET", "/api/v1/anomalies")
    return str(body["items"][0]["id"])


def test_they_are_listed_newest_first_and_filtered(made: Container, now: int) -> None:
    made.adapters.anomaly_log.append(
        [
            anomaly(now - 3),
            anomaly(now - 2, ROOT, score=0.9),
            anomaly(now - 1, detector="zscore"),
        ]
    )
    assert listed() == [now - 1, now - 2, now - 3]
    assert listed(metric="disk.used_percent") == [now - 2]
    assert listed(detector="zscore") == [now - 1]
    assert listed(min_score="0.8") == [now - 2]
    assert listed(pattern="spike") == [now - 1, now - 2, now - 3]
    assert listed(pattern="drift") == []
    assert call("GET", "/api/v1/anomalies", query={"pattern": "wiggle"})[0] == 422
    assert listed(**{"from": str(now - 2), "to": str(now - 1)}) == [now - 2]
    assert listed(host_id="host_b") == []


def test_pages_follow_each_other_without_gap_or_repeat(made: Container, now: int) -> None:
    made.adapters.anomaly_log.append([anomaly(now + i // 2, CPU if i % 2 else ROOT) for i in range(9)])
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        _, body = call("GET", "/api/v1/anomalies", query={"limit": "2", **cursor})
        seen += [item["id"] for item in body["items"]]
        if body["next_cursor"] is None:
            break
        cursor = {"cursor": body["next_cursor"]}
    assert len(seen) == len(set(seen)) == 9
    status, body = call("GET", "/api/v1/anomalies", query={"host_id": "host_a", "cursor": cursor["cursor"]})
    assert (status, body["code"]) == (400, "invalid_cursor")


def test_raising_one_again_leaves_it_as_it_was(made: Container, now: int) -> None:
    made.adapters.anomaly_log.append([anomaly(now, score=0.7)])
    made.adapters.anomaly_log.append([anomaly(now, score=0.1)])
    _, body = call("GET", "/api/v1/anomalies")
    (item,) = body["items"]
    assert (item["score"], item["since"], item["unit"]) == (0.7, now - 5000, "%")
    assert abs(item["raised_at"] - time.time() * 1000) < 60_000


def test_one_is_shown_with_the_samples_around_it_and_what_was_expected_of_them(
    made: Container, now: int
) -> None:
    times = now - np.arange(900)[::-1] * 5000
    values = 20 + np.random.default_rng(1).normal(0, 1, 900)
    values[-1] = 99.0
    made.adapters.metric_store.write("host_a", SampleBlock(times, (CPU,), values[:, None]), now)
    made.adapters.anomaly_log.append([anomaly(now)])
    status, body = call("GET", f"/api/v1/anomalies/{first_id(made)}")
    assert status == 200
    around = body["around"]
    assert len(around["times"]) == len(around["low"]) == 121
    assert (around["times"][-1], around["values"][-1]) == (now, 99.0)
    assert around["low"][-1] < 20 < around["high"][-1] < 99


def test_no_range_drawn_around_one_is_beyond_what_the_metric_can_be(made: Container, now: int) -> None:
    times = now - np.arange(900)[::-1] * 5000
    values = np.abs(np.random.default_rng(1).normal(0, 1, 900))
    values[-1] = 99.0
    made.adapters.metric_store.write("host_a", SampleBlock(times, (CPU,), values[:, None]), now)
    made.adapters.anomaly_log.append([anomaly(now)])
    around = call("GET", f"/api/v1/anomalies/{first_id(made)}")[1]["around"]
    asked = {"host_id": "host_a", "metric": "cpu.percent", "detector": "zscore"}
    run = call(
        "POST", "/api/v1/anomalies/detect", body={**asked, "from": int(times[0]), "to": int(times[-1]) + 1}
    )[1]
    for found in (around, run):
        assert min(low for low in found["low"] if low is not None) == 0.0


def test_an_unknown_one_is_not_found(made: Container) -> None:
    for method, path in (
        ("GET", "/api/v1/anomalies/anom_0"),
        ("DELETE", "/api/v1/anomalies/anom_0/feedback"),
    ):
        status, body = call(method, path)
        assert (status, body["code"]) == (404, "unknown_anomaly")
    status, body = call("PUT", "/api/v1/anomalies/anom_0/feedback", body={"verdict": "real"})
    assert (status, body["code"]) == (404, "unknown_anomaly")


def test_a_false_alarm_raises_the_threshold_of_its_series_and_taking_it_back_lowers_it(
    made: Container, now: int
) -> None:
    made.adapters.anomaly_log.append([anomaly(now, score=0.8)])
    path = f"/api/v1/anomalies/{first_id(made)}"
    status, body = call("PUT", f"{path}/feedback", body={"verdict": "false_alarm"})
    assert status == 200
    assert (body["feedback"]["verdict"], body["feedback"]["said_by"]) == ("false_alarm", "user_1")
    raised = call("GET", path)[1]["threshold"]
    assert raised > DEFAULT_THRESHOLD
    assert sensitivity_of(made.adapters.anomaly_log, "host_a").thresholds == {CPU: raised}
    assert body["score"] == 0.8

    assert call("PUT", f"{path}/feedback", body={"verdict": "real"})[0] == 200
    assert sensitivity_of(made.adapters.anomaly_log, "host_a").thresholds == {}
    assert call("DELETE", f"{path}/feedback")[0] == 204
    status, problem = call("DELETE", f"{path}/feedback")
    assert (status, problem["code"]) == (404, "no_verdict")
    assert call("GET", path)[1]["feedback"] is None


def test_a_verdict_says_nothing_about_another_detector(made: Container, now: int) -> None:
    made.adapters.anomaly_log.append([anomaly(now, detector="zscore")])
    call("PUT", f"/api/v1/anomalies/{first_id(made)}/feedback", body={"verdict": "false_alarm"})
    assert sensitivity_of(made.adapters.anomaly_log, "host_a").thresholds == {}
    chosen = {"items": [{"metric": "cpu.*", "detector": "zscore"}]}
    assert call("PUT", "/api/v1/anomalies/detectors", body=chosen)[0] == 200
    assert list(sensitivity_of(made.adapters.anomaly_log, "host_a").thresholds) == [CPU]


def test_detectors_are_chosen_by_metric(made: Container) -> None:
    assert call("GET", "/api/v1/anomalies/detectors") == (200, {"items": []})
    chosen = {
        "items": [
            {"metric": "net.*", "detector": "off"},
            {"metric": "disk.*", "detector": "isolation_forest"},
            {"metric": "*", "detector": "iqr"},
        ],
    }
    assert call("PUT", "/api/v1/anomalies/detectors", body=chosen) == (200, chosen)
    assert call("GET", "/api/v1/anomalies/detectors") == (200, chosen)
    sensitivity = sensitivity_of(made.adapters.anomaly_log, "host_a")
    metrics = ("net.drops_per_second", "disk.used_percent", "cpu.percent")
    assert [sensitivity.detector_of(name) for name in metrics] == ["off", "isolation_forest", "iqr"]
    unknown = {"items": [{"metric": "*", "detector": "crystal_ball"}]}
    assert call("PUT", "/api/v1/anomalies/detectors", body=unknown)[0] == 422


@pytest.mark.parametrize("detector", ["default", "zscore", "iqr", "isolation_forest", "lof"])
def test_every_detector_runs_on_demand_and_finds_what_sticks_out(
    made: Container, now: int, detector: str
) -> None:
    times = now - np.arange(800)[::-1] * 5000
    values = 20 + np.random.default_rng(2).normal(0, 1, 800)
    values[700:] += 60.0
    made.adapters.metric_store.write("host_a", SampleBlock(times, (CPU,), values[:, None]), now)
    asked = {
        "host_id": "host_a",
        "metric": "cpu.percent",
        "detector": detector,
        "from": int(times[0]),
        "to": now + 1,
    }
    status, body = call("POST", "/api/v1/anomalies/detect", body=asked)
    assert status == 200
    assert len(body["score"]) == len(body["times"]) == 800
    assert int(times[700]) in [item["at"] for item in body["found"]]
    assert listed() == []


def test_a_range_of_which_only_minutes_are_kept_is_run_on_minutes(made: Container, now: int) -> None:
    minutes = now // 60_000 * 60_000 - np.arange(600)[::-1] * 60_000 - 3_600_000
    values = 20 + np.random.default_rng(2).normal(0, 1, 600)
    values[500] += 60.0
    made.adapters.metric_store.write_history("host_a", SampleBlock(minutes, (CPU,), values[:, None]), 60)
    recent = now - np.arange(600)[::-1] * 5000
    made.adapters.metric_store.write("host_a", SampleBlock(recent, (CPU,), values[:, None]), now)
    asked = {"host_id": "host_a", "metric": "cpu.percent", "from": int(minutes[300])}
    for to, rows in ((int(minutes[-1]), 299), (now, 300)):
        status, body = call("POST", "/api/v1/anomalies/detect", body={**asked, "to": to})
        assert status == 200
        assert (body["step_s"], body["times"][0]) == (60, int(minutes[300]))
        assert len(body["times"]) >= rows
        assert int(minutes[500]) in [item["at"] for item in body["found"]]
    _, body = call("POST", "/api/v1/anomalies/detect", body={**asked, "from": int(recent[0]), "to": now})
    assert (body["step_s"], len(body["times"])) == (0, 599)


def test_running_a_detector_says_what_is_wrong_with_the_question(
    made: Container, now: int, function: Invoked
) -> None:
    good = {"host_id": "host_a", "metric": "cpu.percent", "from": now - 10_000, "to": now}
    path = "/api/v1/anomalies/detect"
    status, body = call("POST", path, body=good)
    assert (status, body["errors"][0]["loc"]) == (422, "body.metric")
    status, body = call("POST", path, body={**good, "from": now})
    assert (status, body["errors"][0]["loc"]) == (422, "body.from")
    assert call("POST", path, body={**good, "host_id": "host_b"})[0] == 404
    assert call("POST", path, body={**good, "detector": "crystal_ball"})[0] == 422
    assert call("POST", path, Role.VIEWER, body=good)[0] == 403
    made.adapters.metric_store.write(
        "host_a", SampleBlock(np.array([now - 5000]), (CPU,), np.array([[1.0]])), now
    )
    function.broken = True
    assert call("POST", path, body=good)[0] == 503


def test_a_moment_beyond_any_calendar_is_refused(made: Container) -> None:
    status, body = call("GET", "/api/v1/anomalies", query={"from": str(2**53)})
    assert (status, body["errors"][0]["loc"]) == (422, "query.from")
