"""Rules over the API: which watch a host, and what one would have done before it is saved."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from farwatch.bootstrap import Container
from farwatch.domain.rbac import Role
from farwatch.domain.samples import SampleBlock, SeriesKey
from functions.api.handler import api, handler
from tests.api_events import answer, as_user, http_event

RULE: dict[str, Any] = {
    "name": "Disk is filling",
    "severity": "warning",
    "for_s": 60,
    "keep_firing_for_s": 0,
    "conditions": [{"metric": "disk.used_percent", "comparison": "above", "enter": 90, "leave": 80}],
}


@pytest.fixture(autouse=True)
def fresh_api(made: Container) -> None:
    api.cache_clear()


def call(method: str, path: str, role: Role = Role.OPERATOR, **more: Any) -> tuple[int, Any]:
    response = handler(http_event(method, path, verdict=as_user(role), **more), LambdaContext())
    return response["statusCode"], answer(response)


def test_a_rule_is_tried_on_history_and_not_saved(made: Container) -> None:
    start = (int(time.time()) - 3600) * 1000
    times = start + np.arange(600) * 5000
    values = np.full((600, 2), 50.0)
    values[100:300, 0] = 95.0
    keys = tuple(SeriesKey.of("disk.used_percent", {"mount": mount}) for mount in ("/", "/data"))
    made.adapters.metric_store.write("host_a", SampleBlock(times, keys, values), start)
    asked = {"rule": RULE, "host_id": "host_a", "from": start, "to": start + 3_600_000}
    status, body = call("POST", "/api/v1/rules/preview", body=asked)
    assert status == 200
    assert (body["applies"], body["step_s"], body["samples"]) == (True, 0, 1200)
    root, data = body["groups"]
    assert (root["labels"], data["firings"]) == ({"mount": "/"}, [])
    (firing,) = root["firings"]
    assert firing["began_at"] == int(times[100])
    assert firing["fired_at"] == int(times[112])
    assert firing["resolved_at"] == int(times[300])
    assert call("GET", "/api/v1/rules")[1]["items"] == []


def test_a_rule_on_silence_is_tried_on_what_the_host_sent_meanwhile(made: Container) -> None:
    start = (int(time.time()) - 3600) * 1000
    times = start + np.arange(600) * 5000
    values = np.full((600, 2), 50.0)
    values[100:300, 0] = np.nan
    keys = (SeriesKey.of("temperature.celsius"), SeriesKey.of("cpu.percent"))
    made.adapters.metric_store.write("host_a", SampleBlock(times, keys, values), start)
    silent = {"metric": "temperature.celsius", "comparison": "above", "measure": "silent_s", "enter": 120}
    rule = {**RULE, "conditions": [silent], "for_s": 0, "keep_firing_for_s": 0}
    asked = {"rule": rule, "host_id": "host_a", "from": start, "to": start + 3_600_000}
    status, body = call("POST", "/api/v1/rules/preview", body=asked)
    assert (status, body["samples"]) == (200, 400)
    (group,) = body["groups"]
    (firing,) = group["firings"]
    assert (firing["fired_at"], firing["resolved_at"]) == (int(times[124]), int(times[300]))


def test_what_cannot_be_tried_is_refused_by_name(made: Container) -> None:
    now = int(time.time() * 1000)
    asked = {"rule": RULE, "host_id": "host_a", "from": now - 1000, "to": now}
    assert call("POST", "/api/v1/rules/preview", body={**asked, "host_id": "host_b"})[0] == 404
    status, body = call("POST", "/api/v1/rules/preview", body={**asked, "from": now - 8 * 86_400_000})
    assert (status, body["errors"][0]["loc"]) == (422, "body.from")
    assert call("POST", "/api/v1/rules/preview", Role.VIEWER, body=asked)[0] == 403


def test_a_host_shows_the_rules_whose_labels_choose_it(made: Container) -> None:
    with made.adapters.database.transaction() as connection:
        connection.execute("""UPDATE hosts SET labels = '{"env": "prod-eu"}' WHERE id = 'host_a'""")
    for name, env in (("Chosen", "prod*"), ("Not chosen", "test")):
        body = {**RULE, "name": name, "host_labels": {"env": env}}
        assert call("POST", "/api/v1/rules", body=body)[0] == 201
    assert call("POST", "/api/v1/rules", body={**RULE, "name": "Off", "enabled": False})[0] == 201
    status, body = call("GET", "/api/v1/hosts/host_a/rules", Role.VIEWER)
    assert status == 200
    assert [rule["name"] for rule in body["items"]] == ["Chosen"]
    assert call("GET", "/api/v1/hosts/host_b/rules")[0] == 404


@pytest.mark.parametrize(
    "condition",
    [
        {"metric": "a", "comparison": "below", "enter": 60, "measure": "silent_s"},
        {"metric": "a", "comparison": "below", "enter": 60, "measure": "seconds_to_bound"},
        {"metric": "a", "comparison": "above", "enter": 60, "measure": "change_per_hour", "window_s": 5},
    ],
)
def test_a_condition_that_could_never_work_is_refused(made: Container, condition: dict[str, Any]) -> None:
    assert call("POST", "/api/v1/rules", body={**RULE, "conditions": [condition]})[0] == 422
