"""The agents' door: answers, refusals, and what reaches the queue."""

from __future__ import annotations

import base64
import gzip
import json
import time
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from farwatch.bootstrap import Container
from farwatch.domain.hosts import HostStatus
from farwatch.domain.rbac import Caller, Role
from farwatch.ports.http import Allowance
from farwatch.wire.batch import WireBatch, unpack
from functions.ingest.handler import handler
from tests.api_events import answer, as_agent, as_user, http_event

PATH = "/api/v1/metrics/batches"
CONTEXT = LambdaContext()


class UsedUp:
    """Rate limits of which nothing is left."""

    def spend(self, caller: Caller, limit: str | None) -> list[Allowance]:
        return [Allowance("agent", 10, 60, 0, 60, 30)]


def batch(**changes: Any) -> dict[str, Any]:
    now = int(time.time() * 1000)
    return {
        "v": 1,
        "batch_id": "b-1",
        "host_id": "host_a",
        "spool_id": "spool-1",
        "seq": 1,
        "oldest": 1,
        "sent_at": now,
        "times": [now],
        "series": [{"metric": "cpu.percent", "values": [5.0]}],
    } | changes


def post(body: bytes, verdict: dict[str, str] | None = None) -> dict[str, Any]:
    event = http_event("POST", PATH, verdict=as_agent("host_a") if verdict is None else verdict)
    event |= {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
    return handler(event, CONTEXT)


def zipped(body: Any) -> bytes:
    return gzip.compress(json.dumps(body).encode())


def queued(made: Container) -> list[WireBatch]:
    got = made.adapters.sqs.receive_message(QueueUrl=made.settings.samples_queue_url, MaxNumberOfMessages=10)
    return [unpack(message["Body"]) for message in got.get("Messages", [])]


def test_a_batch_is_queued_and_answered_with_the_standing(made: Container) -> None:
    made.adapters.hosts.record_stored("host_a", "spool-1", 41, 0, "0.1.0")
    response = post(zipped(batch(seq=42)))
    assert response["statusCode"] == 202
    body = answer(response)
    assert abs(body.pop("server_time") - time.time() * 1000) < 60_000
    taken = {"accepted": 1, "rejected": 0, "errors": []}
    assert body == {**taken, "stored_through": 41, "interval_s": 5.0, "renew_credential": False}
    assert [b.seq for b in queued(made)] == [42]


def test_the_good_part_of_a_batch_is_queued_and_the_bad_part_named(made: Container) -> None:
    series = [{"metric": "cpu.percent", "values": [5.0]}, {"metric": "load.1m", "values": ["high"]}]
    body = answer(post(zipped(batch(series=series))))
    assert (body["accepted"], body["rejected"]) == (1, 1)
    assert body["errors"] == [{"loc": "series[1].values[0]", "msg": '"high" is not a finite number'}]
    (sent,) = queued(made)
    assert {s.metric: s.values for s in sent.series} == {"cpu.percent": [5.0], "load.1m": [None]}


@pytest.mark.parametrize(
    ("body", "status", "code", "loc"),
    [
        (b"plain text", 400, "invalid_batch", "body"),
        (gzip.compress(b"{"), 400, "invalid_batch", "body"),
        (zipped({}), 400, "invalid_batch", "batch_id"),
        (zipped(batch(seq="one")), 400, "invalid_batch", "seq"),
        (gzip.compress(b" " * 10_000_000), 413, "too_large", None),
        (b"\x1f\x8b" + bytes(1_500_000), 413, "too_large", None),
        (zipped(batch(host_id="host_b")), 403, "host_mismatch", None),
    ],
    ids=range(7),
)
def test_bad_input_is_a_problem_that_names_the_field_and_nothing_is_queued(
    made: Container, body: bytes, status: int, code: str, loc: str | None
) -> None:
    response = post(body)
    problem = answer(response)
    assert (response["statusCode"], problem["code"]) == (status, code)
    assert response["headers"]["Content-Type"] == "application/problem+json"
    if loc is not None:
        assert problem["errors"][0]["loc"] == loc
    assert queued(made) == []


@pytest.mark.parametrize(
    ("verdict", "status"),
    [
        ({}, 401),
        ({"kind": "refused", "reason": "revoked"}, 401),
        ({"kind": "refused", "reason": "unavailable"}, 503),
        (as_user(Role.ADMIN), 403),
    ],
)
def test_only_a_good_agent_credential_opens_the_door(
    made: Container, verdict: dict[str, str], status: int
) -> None:
    assert post(zipped(batch()), verdict)["statusCode"] == status
    assert queued(made) == []


def test_a_retired_host_is_turned_away(made: Container) -> None:
    with made.adapters.database.transaction() as connection:
        connection.execute("UPDATE hosts SET retired_at = now()")
    assert answer(post(zipped(batch())))["code"] == "unknown_host"


def test_a_host_is_heard_at_the_door_before_its_batch_is_stored(made: Container) -> None:
    assert made.adapters.agent_cache.heard() == {}
    began = int(time.time() * 1000)
    post(zipped(batch()))
    assert made.adapters.agent_cache.heard()["host_a"] >= began
    assert made.query.host("host_a", began).status is HostStatus.LIVE


def test_a_host_that_is_sent_away_because_much_is_going_on_is_heard_all_the_same(made: Container) -> None:
    made.__dict__["rate_limits"] = UsedUp()
    assert post(zipped(batch()))["statusCode"] == 429
    assert set(made.adapters.agent_cache.heard()) == {"host_a"}
    assert queued(made) == []


def test_a_host_whose_batches_nobody_can_read_is_not_heard(made: Container) -> None:
    post(b"plain text")
    assert made.adapters.agent_cache.heard() == {}


def test_without_redis_the_answer_comes_from_the_database(
    made: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.adapters.hosts.record_stored("host_a", "spool-1", 7, 0, "0.1.0")
    monkeypatch.setattr(
        made.adapters.redis.connection_pool, "connection_kwargs", {"host": "127.0.0.1", "port": 1}
    )
    made.adapters.redis.connection_pool.reset()
    assert answer(post(zipped(batch(seq=8))))["stored_through"] == 7


def test_progress_can_be_asked_for_without_sending(made: Container) -> None:
    made.adapters.hosts.record_stored("host_a", "spool-1", 7, 0, "0.1.0")
    event = http_event("GET", PATH + "/progress", query={"spool_id": "spool-1"}, verdict=as_agent("host_a"))
    body = answer(handler(event, CONTEXT))
    assert (body["stored_through"], body["interval_s"]) == (7, 5.0)
    refused = handler(http_event("GET", PATH + "/progress", verdict=as_agent("host_a")), CONTEXT)
    assert answer(refused)["errors"][0]["loc"] == "query.spool_id"
