"""What people read of the fleet and its samples, and the rules they write."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from collector_agent.catalogue import METRICS
from farwatch.bootstrap import Container
from farwatch.domain.catalogue import CATALOGUE
from farwatch.domain.rbac import Role
from farwatch.domain.samples import SampleBlock, SeriesKey
from farwatch.domain.stock_rules import STOCK_RULES
from farwatch.errors import Unavailable
from functions.api.handler import api, handler
from tests.api_events import answer, as_user, http_event


@pytest.fixture(autouse=True)
def fresh_api(made: Container) -> None:
    api.cache_clear()


def call(method: str, path: str, role: Role = Role.OPERATOR, **more: Any) -> tuple[int, Any, dict[str, str]]:
    response = handler(http_event(method, path, verdict=as_user(role), **more), LambdaContext())
    return response["statusCode"], answer(response), response["headers"]


@pytest.fixture
def hour(made: Container) -> int:
    """An hour of samples at 5 s, ending now; returns its start in epoch ms."""
    start = (int(time.time()) - 3600) * 1000
    times = np.arange(720) * 5000 + start
    keys = (SeriesKey.of("cpu.percent"), SeriesKey.of("disk.used_percent", {"mount": "/"}))
    values = np.column_stack([np.arange(720) % 100, np.full(720, 40.0)]).astype(float)
    made.adapters.metric_store.write("host_a", SampleBlock(times, keys, values), start)
    return start


def test_the_back_end_knows_every_metric_the_agent_sends() -> None:
    theirs = {(m.name, m.bad, m.low, m.high, m.description) for m in METRICS}
    assert {tuple(entry) for entry in CATALOGUE} == theirs


def test_stock_rules_watch_metrics_that_exist() -> None:
    known = {metric.name for metric in METRICS}
    assert {condition.metric for rule in STOCK_RULES for condition in rule.conditions} <= known


def test_the_catalogue_is_served() -> None:
    status, body, _ = call("GET", "/api/v1/metrics")
    assert status == 200
    cpu = next(item for item in body["items"] if item["name"] == "cpu.percent")
    assert (cpu["unit"], cpu["low"], cpu["high"], cpu["bad"]) == ("%", 0.0, 100.0, "high")


def test_the_fleet_shows_status_key_metrics_and_the_fullest_disk(made: Container, hour: int) -> None:
    made.adapters.hosts.record_stored("host_a", "s", 1, int(time.time() * 1000), "0.1.0")
    status, body, _ = call("GET", "/api/v1/hosts", Role.GUEST)
    assert status == 200
    (host,) = body["items"]
    assert (host["status"], host["open_incidents"], host["interval_s"]) == ("live", 0, 5.0)
    assert host["latest"] == {"cpu.percent": 19.0, "disk.used_percent": 40.0}


def test_the_fleet_is_shown_without_values_while_the_metric_store_is_down(
    made: Container, hour: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def down(host_id: str) -> list[SeriesKey]:
        asked.append(host_id)
        raise Unavailable("influxdb", "down for the test")

    with made.adapters.database.transaction() as connection:
        connection.execute("INSERT INTO hosts (id, name) VALUES ('host_new', 'never seen')")
    made.adapters.hosts.record_stored("host_a", "s", 1, int(time.time() * 1000), "0.1.0")
    monkeypatch.setattr(made.adapters.metric_store, "series", down)
    status, body, _ = call("GET", "/api/v1/hosts")
    assert status == 200
    assert {host["name"]: (host["status"], host["latest"]) for host in body["items"]} == {
        "web-1": ("live", {}),
        "never seen": ("never_seen", {}),
    }
    assert asked == ["host_a"], "a host that was never seen has nothing in the store"


def test_a_host_of_which_nothing_is_stored_any_more_is_not_shown_as_live(made: Container) -> None:
    now = int(time.time() * 1000)
    hosts = made.adapters.hosts
    hosts.record_stored("host_a", "s", 1, now - 1_200_000, "0.1.0")
    made.ingest.note_heard("host_a", now)
    assert call("GET", "/api/v1/hosts/host_a")[1]["status"] == "live", "all are waiting"
    with made.adapters.database.transaction() as connection:
        connection.execute("INSERT INTO hosts (id, name) VALUES ('host_b', 'web-2')")
    hosts.record_stored("host_b", "s", 1, now, "0.1.0")
    assert call("GET", "/api/v1/hosts/host_a")[1]["status"] == "silent"
    assert [host["status"] for host in call("GET", "/api/v1/hosts")[1]["items"]] == ["silent", "live"]


def test_a_host_or_metric_named_twice_is_answered_once(hour: int) -> None:
    query = {"host_id": "host_a,host_a", "metric": "cpu.percent,cpu.percent"}
    span = {"from": str(hour), "to": str(hour + 3_600_000)}
    status, body, _ = call("GET", "/api/v1/metrics/range", query={**query, **span})
    assert status == 200
    assert [series["metric"] for series in body["series"]] == ["cpu.percent"]


def test_a_range_comes_in_no_more_points_than_asked_for(hour: int) -> None:
    query = {
        "host_id": "host_a",
        "metric": "cpu.percent,disk.used_percent",
        "from": str(hour),
        "to": str(hour + 3_600_000),
    }
    status, body, _ = call("GET", "/api/v1/metrics/range", query={**query, "points": "100"})
    assert status == 200
    assert body["tier"] == "raw"
    assert [series["metric"] for series in body["series"]] == ["cpu.percent", "disk.used_percent"]
    assert all(len(series["times"]) <= 101 for series in body["series"])
    assert max(body["series"][0]["max"]) == 99.0
    _, whole, _ = call("GET", "/api/v1/metrics/range", query={**query, "points": "1000"})
    assert len(whole["series"][0]["times"]) == 720


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"from": "9", "to": "5"}, 422),
        ({"metric": ""}, 422),
        ({"points": "0"}, 422),
        ({"host_id": "host_nobody"}, 404),
        ({"from": "yesterday"}, 422),
    ],
)
def test_a_range_that_makes_no_sense_is_refused(hour: int, changes: dict[str, str], status: int) -> None:
    query = {
        "host_id": "host_a",
        "metric": "cpu.percent",
        "from": str(hour),
        "to": str(hour + 1000),
    } | changes
    assert call("GET", "/api/v1/metrics/range", query=query)[0] == status


def test_series_and_newest_values_of_a_host(made: Container, hour: int) -> None:
    made.adapters.hosts.record_stored("host_a", "s", 1, int(time.time() * 1000), "0.1.0")
    _, body, _ = call("GET", "/api/v1/metrics/series", query={"host_id": "host_a"})
    assert [(s["metric"], s["labels"]) for s in body["items"]] == [
        ("cpu.percent", {}),
        ("disk.used_percent", {"mount": "/"}),
    ]
    _, body, _ = call("GET", "/api/v1/metrics/latest", query={"host_id": "host_a"})
    assert [(s["metric"], s["value"]) for s in body["items"]] == [
        ("cpu.percent", 19.0),
        ("disk.used_percent", 40.0),
    ]


def test_a_new_interval_reaches_the_agent_with_its_next_batch(made: Container) -> None:
    assert made.ingest.standing("host_a", "s", 0).interval_s == 5.0
    assert call("PATCH", "/api/v1/config", body={"default_interval_s": 30})[0] == 200
    assert made.ingest.standing("host_a", "s", 0).interval_s == 30.0
    status, body, _ = call(
        "PATCH", "/api/v1/hosts/host_a", body={"interval_s": 10, "labels": {"env": "prod"}}
    )
    assert (status, body["interval_s"], body["interval_overridden"], body["labels"]) == (
        200,
        10.0,
        True,
        {"env": "prod"},
    )
    assert made.ingest.standing("host_a", "s", 0).interval_s == 10.0
    call("PATCH", "/api/v1/hosts/host_a", body={"interval_s": None})
    assert made.ingest.standing("host_a", "s", 0).interval_s == 30.0


@pytest.mark.parametrize(
    "body",
    [{"interval_s": 1}, {"interval_s": 9999}, {"labels": {"Bad Name": "x"}}, {"labels": None}, {"nmae": "x"}],
)
def test_what_a_host_cannot_be_changed_to_is_refused(made: Container, body: dict[str, Any]) -> None:
    assert call("PATCH", "/api/v1/hosts/host_a", body=body)[0] == 422
    assert call("PATCH", "/api/v1/hosts/host_nobody", body={"may_be_off": True})[0] == 404
    assert call("PATCH", "/api/v1/hosts/host_a", Role.VIEWER, body={"may_be_off": True})[0] == 403


SETTINGS_OF_PEOPLE = [
    ("PATCH", "/api/v1/config", {"default_interval_s": 30}, {"default_interval_s": 60}),
    ("PATCH", "/api/v1/hosts/host_a", {"interval_s": 10}, {"name": "web-2"}),
    (
        "PUT",
        "/api/v1/anomalies/detectors",
        {"items": [{"metric": "*", "detector": "iqr"}]},
        {"items": [{"metric": "*", "detector": "off"}]},
    ),
]


@pytest.mark.parametrize(("method", "path", "first", "second"), SETTINGS_OF_PEOPLE)
def test_what_people_set_is_not_overwritten_by_who_has_not_seen_it(
    made: Container, method: str, path: str, first: dict[str, Any], second: dict[str, Any]
) -> None:
    seen = call("GET", path)[2]["ETag"]
    status, _, headers = call(method, path, body=first, headers={"If-Match": seen})
    assert status == 200
    assert call("GET", path)[2]["ETag"] == headers["ETag"] != seen
    status, problem, _ = call(method, path, body=second, headers={"If-Match": seen})
    assert (status, problem["code"]) == (412, "version_conflict")
    unchanged = call("GET", path)[1]
    assert unchanged == {**unchanged, **first}
    assert call(method, path, body=second, headers={"If-Match": headers["ETag"]})[0] == 200
    assert call(method, path, body=first)[0] == 200


def test_of_two_who_change_a_setting_at_once_one_is_refused(made: Container) -> None:
    hosts = made.adapters.hosts
    assert hosts.set_fleet_config("default_interval_s", 10.0, "user_a", expected_version=0) == 1
    assert hosts.set_fleet_config("default_interval_s", 20.0, "user_b", expected_version=0) is None
    assert hosts.fleet_config("default_interval_s") == (10.0, 1)
    assert hosts.update("host_a", {"name": "a"}, expected_version=1) == 2
    assert hosts.update("host_a", {"name": "b"}, expected_version=1) is None


def test_what_a_host_reports_does_not_change_the_etag_of_its_settings(made: Container) -> None:
    seen = call("GET", "/api/v1/hosts/host_a")[2]["ETag"]
    made.adapters.hosts.record_stored("host_a", "spool", 1, int(time.time() * 1000), "1.0")
    assert call("GET", "/api/v1/hosts/host_a")[2]["ETag"] == seen


def test_stock_rules_come_once_and_do_not_come_back(made: Container) -> None:
    assert made.adapters.rules.install_stock(STOCK_RULES) == len(STOCK_RULES)
    gone = STOCK_RULES[0]
    assert call("DELETE", f"/api/v1/rules/{gone.id}")[0] == 204
    assert made.adapters.rules.install_stock(STOCK_RULES) == 0
    assert gone.id not in [rule.id for rule in made.adapters.rules.all()]


RULE = {
    "name": "CPU",
    "severity": "high",
    "conditions": [{"metric": "cpu.percent", "comparison": "above", "enter": 90, "leave": 80}],
}


def test_a_rule_lives_from_making_to_deleting_under_its_etag(made: Container) -> None:
    status, rule, headers = call("POST", "/api/v1/rules", body=RULE)
    assert (status, headers["Location"]) == (201, f"/api/v1/rules/{rule['id']}")
    path = headers["Location"]
    _, read, headers = call("GET", path)
    assert read == rule
    tag = headers["ETag"]
    status, changed, headers = call("PUT", path, body={**RULE, "for_s": 5}, headers={"If-Match": tag})
    assert (status, changed["for_s"]) == (200, 5)
    assert headers["ETag"] != tag
    assert call("PUT", path, body=RULE, headers={"If-Match": tag})[0] == 412
    assert rule["id"] in [item["id"] for item in call("GET", "/api/v1/rules")[1]["items"]]
    assert call("DELETE", path)[0] == 204
    assert call("DELETE", path)[0] == 404


@pytest.mark.parametrize(
    "changes",
    [
        {"conditions": []},
        {"conditions": [{"metric": "cpu.percent", "comparison": "above", "enter": 80, "leave": 90}]},
        {
            "conditions": [
                {"metric": "cpu.percent", "comparison": "above", "enter": 1, "measure": "change_per_hour"}
            ]
        },
        {"conditions": [{"metric": "CPU'; DROP TABLE", "comparison": "above", "enter": 1}]},
        {"severity": "urgent"},
        {"for_s": -1},
        {"name": ""},
    ],
)
def test_a_rule_that_cannot_work_is_refused_with_the_field_named(changes: dict[str, Any]) -> None:
    status, problem, _ = call("POST", "/api/v1/rules", body={**RULE, **changes})
    assert status == 422
    assert problem["errors"]
