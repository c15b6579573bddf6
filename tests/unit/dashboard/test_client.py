from __future__ import annotations

import json
from collections.abc import Callable

import httpx
import pytest

from dashboard.answers import Problem, SignedOut, Unreachable, in_milliseconds
from dashboard.client import Client, Credentials, open_http

Handler = Callable[[httpx.Request], httpx.Response]


def client_of(handler: Handler, credentials: Credentials | None = None) -> Client:
    return Client(
        open_http("http://api.test", httpx.MockTransport(handler)), credentials, sleep=lambda _: None
    )


def refuse(status: int, **body: object) -> Handler:
    content = json.dumps(body).encode()
    return lambda _: httpx.Response(
        status, content=content, headers={"content-type": "application/problem+json"}
    )


def test_a_problem_carries_status_code_request_id_and_the_fields_at_fault() -> None:
    body = {
        "title": "Invalid",
        "detail": "The input does not fit.",
        "code": "invalid_input",
        "instance": "req-42",
        "errors": [{"loc": "body.email", "msg": "not an address"}],
    }
    with pytest.raises(Problem) as caught:
        client_of(refuse(422, **body)).preferences()
    assert (caught.value.status, caught.value.code, caught.value.request_id) == (
        422,
        "invalid_input",
        "req-42",
    )
    assert caught.value.about("email") == "not an address"
    assert caught.value.about("name") is None


def test_a_wrong_password_in_a_change_is_no_end_of_the_session_and_is_tried_once() -> None:
    sent: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.url.path)
        return refuse(401, code="login_failed", detail="the present password is wrong")(request)

    credentials = Credentials(lambda: "acc", lambda stale: "acc_2")
    with pytest.raises(Problem, match="the present password is wrong"):
        client_of(answer, credentials).send("PUT", "/auth/password", {})
    assert sent == ["/api/v1/auth/password"]


@pytest.mark.parametrize("content", [b"<html>oops</html>", b"[1, 2]", b"{", b""])
def test_an_error_that_is_no_problem_document_is_still_a_problem(content: bytes) -> None:
    answer = httpx.Response(500, content=content, headers={"content-type": "application/json"})
    with pytest.raises(Problem) as caught:
        client_of(lambda _: answer).config()
    assert caught.value.status == 500


def test_a_read_is_tried_again_when_the_back_end_is_unavailable_for_a_moment() -> None:
    answers: list[httpx.Response | Exception] = [
        httpx.Response(503),
        httpx.ConnectError("refused"),
        httpx.Response(200, json={"items": []}),
    ]

    def handler(_: httpx.Request) -> httpx.Response:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert client_of(handler).hosts() == []
    assert answers == []


@pytest.mark.parametrize("content", [b"<html>Sign in to the hotel's network</html>", b"\xff", b"{"])
def test_a_good_answer_of_somebody_else_is_no_answer(content: bytes) -> None:
    """A proxy or captive portal that answers 200 in the back end's place."""
    client = client_of(lambda _: httpx.Response(200, content=content))
    for ask in (client.hosts, lambda: client.change_host("host_1", {}), lambda: client.read("/config")):
        with pytest.raises(Unreachable, match="not Farwatch's back end"):
            ask()


def test_a_read_gives_up_after_three_attempts() -> None:
    calls = []

    def handler(request: httpx.Request) -> httpx.Response:
        calls.append(request)
        raise httpx.ReadTimeout("slow")

    with pytest.raises(Unreachable):
        client_of(handler).hosts()
    assert len(calls) == 3


def test_a_long_retry_after_is_told_to_the_person_instead_of_being_waited_for() -> None:
    answer = httpx.Response(429, headers={"retry-after": "40"})
    with pytest.raises(Problem) as caught:
        client_of(lambda _: answer).hosts()
    assert caught.value.retry_after_s == 40


def test_a_change_is_not_repeated_when_its_answer_is_lost() -> None:
    calls = []

    def handler(request: httpx.Request) -> httpx.Response:
        calls.append(request)
        raise httpx.ReadTimeout("lost")

    with pytest.raises(Unreachable):
        client_of(handler).acknowledge("inc_1")
    assert len(calls) == 1
    assert calls[0].headers["idempotency-key"]


def test_an_expired_token_is_renewed_once_and_the_request_repeated() -> None:
    tokens = ["stale"]
    seen = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["authorization"])
        return httpx.Response(200, json={"items": []}) if "fresh" in seen[-1] else httpx.Response(401)

    def renew(stale: str) -> str:
        tokens.append("fresh")
        assert stale == "stale"
        return "fresh"

    client_of(handler, Credentials(lambda: tokens[-1], renew)).hosts()
    assert seen == ["Bearer stale", "Bearer fresh"]


def test_a_renewed_token_that_is_refused_as_well_means_signed_out() -> None:
    credentials = Credentials(lambda: "t", lambda _: "t")
    with pytest.raises(SignedOut):
        client_of(refuse(401), credentials).hosts()


def test_lists_repeat_their_parameter_and_from_is_called_from() -> None:
    seen: list[httpx.URL] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.url)
        return httpx.Response(200, json={"tier": "raw", "step_s": 5, "series": []})

    client_of(handler).range(["host_1", "host_2"], ["cpu.percent", "load.1m"], 1, 2)
    query = seen[0].params
    assert query.get_list("host_id") == ["host_1", "host_2"]
    assert query.get_list("metric") == ["cpu.percent", "load.1m"]
    assert (query["from"], query["to"]) == ("1", "2")


def test_moments_come_as_milliseconds_whichever_way_the_api_writes_them() -> None:
    answer = {
        "opened_at": "2026-03-01T00:00:00.250Z",
        "last_seen_at": 5,
        "rows": [{"at": None}],
        "what": "at",
    }
    assert in_milliseconds(answer) == {
        "opened_at": 1772323200250,
        "last_seen_at": 5,
        "rows": [{"at": None}],
        "what": "at",
    }
