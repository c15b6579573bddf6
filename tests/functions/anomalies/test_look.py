"""The door of the slow detectors: a message of looks.fifo, and what the API says of how far they have come."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from farwatch.bootstrap import Container
from farwatch.domain.looks import Look, Watched
from farwatch.domain.rbac import Role
from farwatch.domain.samples import SampleBlock, SeriesKey
from farwatch.ports.anomalies import AnomalyFilter
from farwatch.wire.messages import encode_look
from functions.api.handler import api
from functions.api.handler import handler as api_handler
from functions.detect.handler import handler
from tests.api_events import answer, as_user, http_event

CONTEXT: Any = SimpleNamespace(
    function_name="detect",
    memory_limit_in_mb=2048,
    invoked_function_arn="arn:aws:lambda:eu-central-1:1:function:detect",
    aws_request_id="request-1",
    get_remaining_time_in_millis=lambda: 60_000,
)
LOAD = SeriesKey.of("load.1m")


def event(*bodies: str) -> dict[str, Any]:
    return {
        "Records": [
            {
                "messageId": f"m-{number}",
                "receiptHandle": "handle",
                "body": body,
                "attributes": {"MessageGroupId": f"group-{number}", "ApproximateReceiveCount": "1"},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:looks.fifo",
            }
            for number, body in enumerate(bodies)
        ]
    }


def call(method: str, path: str, role: Role = Role.OPERATOR, **more: Any) -> tuple[int, Any]:
    response = api_handler(http_event(method, path, verdict=as_user(role), **more), LambdaContext())
    return response["statusCode"], answer(response)


@pytest.fixture
def now(made: Container) -> int:
    """Now, after an hour of a quiet series that LOF watches and that jumps at the very end."""
    api.cache_clear()
    now = int(time.time()) * 1000
    times = now - np.arange(720)[::-1] * 5000
    values = 2 + np.random.default_rng(3).normal(0, 0.1, 720)
    values[-1] = 30.0
    made.adapters.metric_store.write("host_a", SampleBlock(times, (LOAD,), values[:, None]), now)
    made.adapters.hosts.record_stored("host_a", "spool", 1, now, "0.1.0")
    chosen = {"items": [{"metric": "load.*", "detector": "lof"}]}
    assert call("PUT", "/api/v1/anomalies/detectors", body=chosen) == (200, chosen)
    return now


def test_a_look_raises_what_is_unusual_and_says_how_far_it_has_come(made: Container, now: int) -> None:
    path = "/api/v1/anomalies/detectors/watched"
    status, body = call("GET", path, Role.VIEWER)
    (before,) = body["items"]
    assert (status, before["chosen"], before["looked_at"], before["behind_s"]) == (200, 1, None, None)
    assert handler(event(encode_look(Look("host_a", now - 5000, now, now))), CONTEXT) == {
        "batchItemFailures": []
    }
    (found,) = made.adapters.anomaly_log.find(AnomalyFilter(), 10, None)
    assert (found.anomaly.key, found.anomaly.detector, found.anomaly.at) == (LOAD, "lof", now)
    (after,) = call("GET", path)[1]["items"]
    assert (after["host_name"], after["series"], after["behind_s"]) == ("web-1", 1, 0.0)
    assert after["looked_at"] >= now


def test_a_choice_that_needs_no_look_is_not_listed(made: Container, now: int) -> None:
    call("PUT", "/api/v1/anomalies/detectors", body={"items": [{"metric": "*", "detector": "iqr"}]})
    made.adapters.look_memory.save("host_a", b"", Watched(now, now, 1))
    assert call("GET", "/api/v1/anomalies/detectors/watched") == (200, {"items": []})
    assert call("GET", "/api/v1/anomalies/detectors/watched", Role.GUEST)[0] == 403


def test_what_cannot_be_looked_at_comes_back_and_the_others_are_looked_at(made: Container, now: int) -> None:
    gone = encode_look(Look("host_gone", now - 5000, now, now))
    good = encode_look(Look("host_a", now - 5000, now, now))
    failed = handler(event("{}", gone, good), CONTEXT)
    assert failed == {"batchItemFailures": [{"itemIdentifier": "m-0"}]}
    assert len(made.adapters.anomaly_log.find(AnomalyFilter(detector="lof"), 10, None)) == 1


def test_an_anomaly_of_a_slow_detector_is_shown_with_its_surroundings_or_without_when_it_is_down(
    made: Container, now: int
) -> None:
    handler(event(encode_look(Look("host_a", now - 5000, now, now))), CONTEXT)
    (found,) = made.adapters.anomaly_log.find(AnomalyFilter(), 10, None)

    class Down:
        def run(self, detector: str, times: list[int], values: list[float]) -> Any:
            from farwatch.errors import Unavailable

            raise Unavailable("lambda", "down for the test")

    made.adapters.__dict__["detect_function"] = Down()
    made.__dict__.pop("anomalies", None)
    assert call("GET", f"/api/v1/anomalies/{found.id}")[1]["around"] is None

    class Up:
        def run(self, detector: str, times: list[int], values: list[float]) -> Any:
            from farwatch.ports.anomalies import Scored

            scored = handler({"detector": detector, "times": times, "values": values}, CONTEXT)
            return Scored(scored["score"], scored["low"], scored["high"], scored["pattern"])

    made.adapters.__dict__["detect_function"] = Up()
    made.__dict__.pop("anomalies", None)
    around = call("GET", f"/api/v1/anomalies/{found.id}")[1]["around"]
    assert around["times"][-1] == now
    assert around["low"][-1] < 2 < around["high"][-1] < 30
