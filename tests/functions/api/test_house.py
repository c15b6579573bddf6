"""The house rules of the HTTP API, on a small API of the test's own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import pytest
from aws_lambda_powertools.event_handler.api_gateway import Response, Router
from aws_lambda_powertools.event_handler.openapi.params import Query
from hypothesis import given
from hypothesis import strategies as st

from farwatch.domain.rbac import Caller, Permission, Role
from farwatch.errors import InvalidInput, Misconfigured, NotFound, PreconditionFailed, Unavailable
from farwatch.http.access import public, requires, signed_in
from farwatch.http.app import Api, create_api, created, no_content
from farwatch.http.bodies import MAX_DEPTH, parse_json
from farwatch.http.cursors import Cursors
from farwatch.http.etags import check_if_match
from farwatch.http.models import Answer, Body, Limit, Page
from farwatch.ports.http import Allowance, Reply
from farwatch.settings import Settings
from tests.api_events import answer, as_agent, as_token, as_user, http_event


class Thing(Answer):
    id: str


class NewThing(Body):
    name: str


def routes() -> Router:
    router = Router()

    @router.get("/api/v1/things")
    @requires(Permission.HOSTS_READ)
    def things(limit: Annotated[Limit, Query()] = 50) -> Page[Thing]:
        return Page(items=[Thing(id=f"thing_{limit}")])

    @router.post("/api/v1/things")
    @requires(Permission.HOSTS_WRITE, audit="thing.create")
    def make_thing(body: NewThing) -> Response[Thing]:
        made.append(body.name)
        return created(f"/api/v1/things/{len(made)}", Thing(id=str(len(made))))

    @router.get("/api/v1/things/<thing_id>")
    @public("test")
    def thing(thing_id: str) -> Thing:
        errors: dict[str, Exception] = {
            "gone": NotFound("no such thing"),
            "down": Unavailable("postgres", "secret host name 10.0.0.1", retry_after_s=7),
            "bug": RuntimeError("password=hunter2"),
        }
        if thing_id in errors:
            raise errors[thing_id]
        return Thing(id=thing_id)

    @router.delete("/api/v1/things/<thing_id>", status_code=204)
    @requires(Permission.HOSTS_WRITE)
    def delete_thing(thing_id: str) -> Response[None]:
        return no_content()

    @router.get("/api/v1/mine")
    @signed_in()
    def mine() -> Thing:
        return Thing(id="mine")

    made: list[str] = []
    return router


class Replies:
    """An in-memory reply store."""

    def __init__(self) -> None:
        self.kept: dict[str, Reply] = {}

    def claim(self, key: str, body_hash: str) -> Reply | None:
        if key in self.kept:
            return self.kept[key]
        self.kept[key] = Reply(body_hash)
        return None

    def keep(self, key: str, reply: Reply) -> None:
        self.kept[key] = reply

    def release(self, key: str) -> None:
        self.kept.pop(key, None)


class Limits:
    """Refuses when told to."""

    refuse = False

    def spend(self, caller: Caller, limit: str | None) -> Sequence[Allowance]:
        return [Allowance("identity", 600, 60, 0 if self.refuse else 599, 1, 9 if self.refuse else 0)]


class Rows:
    """Remembers what the house asked to be audited."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def record_request(self, caller: Caller, **row: Any) -> None:
        self.rows.append({"who": caller.principal.id, **row})


@pytest.fixture
def limits() -> Limits:
    return Limits()


@pytest.fixture
def rows() -> Rows:
    return Rows()


@pytest.fixture
def api(limits: Limits, rows: Rows) -> Api:
    settings = Settings(cors_origins="https://a.example, https://b.example")
    return create_api(settings, [routes()], limits=limits, replies=Replies(), access_log=rows, max_body=1000)


OPERATOR = as_user(Role.OPERATOR)


def call(api: Api, method: str, path: str, **more: Any) -> dict[str, Any]:
    return api.handle(http_event(method, path, **more), None)


def is_problem(response: dict[str, Any], status: int, code: str) -> bool:
    body = answer(response)
    return bool(
        response["statusCode"] == status
        and response["headers"]["Content-Type"] == "application/problem+json"
        and body["code"] == code
        and body["status"] == status
        and body["instance"] == "request-1"
        and body["type"].endswith(f"/api/v1/problems/{code}")
    )


def test_a_route_that_does_not_say_who_may_call_it_stops_the_api() -> None:
    router = Router()

    @router.get("/api/v1/forgotten")
    def forgotten() -> None: ...

    with pytest.raises(Misconfigured, match="GET /api/v1/forgotten"):
        create_api(Settings(), [router])


def test_nobody_gets_401_with_a_challenge(api: Api) -> None:
    response = call(api, "GET", "/api/v1/things")
    assert is_problem(response, 401, "unauthenticated")
    assert response["headers"]["WWW-Authenticate"].startswith("Bearer")


def test_a_role_without_the_permission_gets_403_that_names_it(api: Api) -> None:
    response = call(api, "POST", "/api/v1/things", body={"name": "x"}, verdict=as_user(Role.VIEWER))
    assert is_problem(response, 403, "permission_missing")
    assert "hosts:write" in answer(response)["detail"]


def test_who_may_not_call_a_route_does_not_learn_its_schema(api: Api) -> None:
    response = call(api, "POST", "/api/v1/things", body={"nonsense": 1}, verdict=as_user(Role.VIEWER))
    assert response["statusCode"] == 403


def test_an_agent_may_not_do_what_people_do(api: Api) -> None:
    assert call(api, "GET", "/api/v1/things", verdict=as_agent("host_1"))["statusCode"] == 403
    assert is_problem(call(api, "GET", "/api/v1/mine", verdict=as_agent("host_1")), 403, "people_only")


def test_a_token_does_what_its_scopes_say_and_its_owner_may(api: Api) -> None:
    assert call(api, "GET", "/api/v1/things", verdict=as_token("hosts:read"))["statusCode"] == 200
    assert call(api, "GET", "/api/v1/things", verdict=as_token("rules:read"))["statusCode"] == 403
    of_viewer = as_token("hosts:write", role=Role.VIEWER)
    assert call(api, "POST", "/api/v1/things", body={"name": "x"}, verdict=of_viewer)["statusCode"] == 403


@pytest.mark.parametrize(
    ("reason", "status", "code"),
    [
        ("expired", 401, "credential_expired"),
        ("revoked", 401, "credential_revoked"),
        ("malformed", 401, "credential_malformed"),
        ("unavailable", 503, "dependency_unavailable"),
    ],
)
def test_why_the_authoriser_refused_reaches_the_caller(api: Api, reason: str, status: int, code: str) -> None:
    refused = {"kind": "refused", "reason": reason}
    assert is_problem(call(api, "GET", "/api/v1/things", verdict=refused), status, code)


@pytest.mark.parametrize(
    "verdict",
    [
        {"kind": "user", "id": "user_1", "role": "emperor", "session_id": "s"},
        {"kind": "user", "id": "user_1"},
        {"kind": "system", "id": "system"},
        {"kind": "token", "id": "1", "role": "admin", "owner_id": "user_1", "scopes": "everything"},
        {"kind": "god"},
    ],
)
def test_a_verdict_that_makes_no_sense_proves_nothing(api: Api, verdict: dict[str, str]) -> None:
    assert call(api, "GET", "/api/v1/things", verdict=verdict)["statusCode"] == 401


@pytest.mark.parametrize(
    ("method", "path", "more", "status", "code"),
    [
        ("GET", "/api/v1/nothing", {}, 404, "not_found"),
        ("DELETE", "/api/v1/things", {}, 405, "method_not_allowed"),
        ("GET", "/api/v1/things", {"query": {"limit": "201"}}, 422, "invalid_input"),
        ("GET", "/api/v1/things", {"query": {"limit": "\x00"}}, 422, "invalid_input"),
        ("POST", "/api/v1/things", {"body": {"name": 1}}, 422, "invalid_input"),
        ("POST", "/api/v1/things", {"body": {"name": "x", "role": "admin"}}, 422, "invalid_input"),
        ("POST", "/api/v1/things", {"body": {"name": "nul \x00"}}, 422, "invalid_input"),
        ("POST", "/api/v1/things", {"body": '{"name": "\\ud800"}'}, 422, "invalid_input"),
        ("POST", "/api/v1/things", {"body": "{"}, 400, "invalid_json"),
        ("POST", "/api/v1/things", {"body": '{"name": NaN}'}, 400, "invalid_json"),
        ("POST", "/api/v1/things", {"body": '{"name": "a", "name": "b"}'}, 400, "invalid_json"),
        ("POST", "/api/v1/things", {"body": '{"name": ' + "9" * 900 + "}"}, 422, "invalid_input"),
        ("POST", "/api/v1/things", {"body": "[" * 900}, 400, "invalid_json"),
        ("POST", "/api/v1/things", {"body": "x" * 1001}, 413, "too_large"),
        (
            "POST",
            "/api/v1/things",
            {"body": "name=x", "headers": {"content-type": "application/x-www-form-urlencoded"}},
            415,
            "unsupported_media_type",
        ),
        ("GET", "/api/v1/things/gone", {}, 404, "not_found"),
        ("GET", "/api/v1/things/down", {}, 503, "dependency_unavailable"),
        ("GET", "/api/v1/things/bug", {}, 500, "internal"),
    ],
)
def test_every_refusal_is_a_problem_body(
    api: Api, method: str, path: str, more: dict[str, Any], status: int, code: str
) -> None:
    assert is_problem(call(api, method, path, verdict=OPERATOR, **more), status, code)


def test_a_wrong_field_is_named_by_its_path(api: Api) -> None:
    body = answer(call(api, "POST", "/api/v1/things", body={"name": 1, "role": 2}, verdict=OPERATOR))
    assert [error["loc"] for error in body["errors"]] == ["body.name", "body.role"]


def test_an_answer_never_tells_what_went_wrong_inside(api: Api) -> None:
    for path in ("/api/v1/things/bug", "/api/v1/things/down"):
        text = json.dumps(call(api, "GET", path))
        assert "hunter2" not in text
        assert "10.0.0.1" not in text


def test_an_answer_without_content_has_an_empty_body_not_a_null(api: Api) -> None:
    response = call(api, "DELETE", "/api/v1/things/1", verdict=OPERATOR)
    assert (response["statusCode"], response["body"]) == (204, "")


def test_405_says_which_methods_there_are(api: Api) -> None:
    assert call(api, "DELETE", "/api/v1/things")["headers"]["Allow"] == "GET, POST"


def test_an_unavailable_dependency_says_when_to_come_back(api: Api) -> None:
    assert call(api, "GET", "/api/v1/things/down")["headers"]["Retry-After"] == "7"


def test_every_answer_carries_the_security_headers_and_its_request_id(api: Api) -> None:
    for path in ("/api/v1/things/1", "/api/v1/nothing", "/api/v1/things/bug"):
        headers = call(api, "GET", path)["headers"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Strict-Transport-Security"].startswith("max-age=")
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Request-Id"] == "request-1"


def test_preflight_is_answered_for_a_known_origin_only_and_without_a_credential(api: Api) -> None:
    known = call(api, "OPTIONS", "/api/v1/things", headers={"origin": "https://b.example"})
    assert known["statusCode"] == 204
    assert known["headers"]["Access-Control-Allow-Origin"] == "https://b.example"
    assert "If-Match" in known["headers"]["Access-Control-Allow-Headers"]
    assert "POST" in known["headers"]["Access-Control-Allow-Methods"]
    assert known["headers"]["Vary"] == "Origin"
    other = call(api, "OPTIONS", "/api/v1/things", headers={"origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in other["headers"]


def test_without_configured_origins_no_browser_may_call() -> None:
    api = create_api(Settings(cors_origins=""), [routes()])
    headers = call(api, "GET", "/api/v1/things/1", headers={"origin": "https://a.example"})["headers"]
    assert not [name for name in headers if name.startswith("Access-Control")]


def test_over_the_limit_is_429_with_retry_after_and_the_standard_headers(api: Api, limits: Limits) -> None:
    fine = call(api, "GET", "/api/v1/things/1")
    assert fine["headers"]["RateLimit"] == '"identity";r=599;t=1'
    assert fine["headers"]["RateLimit-Policy"] == '"identity";q=600;w=60'
    limits.refuse = True
    refused = call(api, "GET", "/api/v1/things/1")
    assert is_problem(refused, 429, "rate_limited")
    assert refused["headers"]["Retry-After"] == "9"


def test_the_same_request_with_the_same_key_happens_once(api: Api) -> None:
    def post(key: str, name: str, **more: Any) -> dict[str, Any]:
        event = http_event(
            "POST",
            "/api/v1/things",
            body={"name": name},
            headers={"Idempotency-Key": key},
            verdict=more.get("verdict", OPERATOR),
        )
        return api.handle(event, None)

    first, again = post("k1", "x"), post("k1", "x")
    assert (first["statusCode"], answer(first)) == (201, {"id": "1"})
    assert (again["statusCode"], again["body"]) == (201, first["body"])
    assert again["headers"]["Location"] == first["headers"]["Location"]
    assert again["headers"]["Idempotent-Replayed"] == "true"
    assert is_problem(post("k1", "y"), 422, "idempotency_key_reused")
    assert answer(post("k2", "x")) == {"id": "2"}
    assert answer(post("k1", "x", verdict=as_user(Role.ADMIN, "user_2"))) == {"id": "3"}
    assert is_problem(post("", "x"), 422, "idempotency_key_invalid")


def test_a_request_that_failed_may_be_repeated_with_its_key(api: Api) -> None:
    def post(name: object) -> int:
        event = http_event(
            "POST",
            "/api/v1/things",
            body={"name": name},
            headers={"Idempotency-Key": "k"},
            verdict=OPERATOR,
        )
        return int(api.handle(event, None)["statusCode"])

    assert post(1) == 422
    assert post("right") == 201


def test_changes_and_denials_are_audited_and_plain_reads_are_not(api: Api, rows: Rows) -> None:
    call(api, "GET", "/api/v1/things", verdict=OPERATOR)
    call(api, "POST", "/api/v1/things", body={"name": "x"}, verdict=OPERATOR)
    call(api, "POST", "/api/v1/things", body={"name": "x"}, verdict=as_user(Role.GUEST, "user_9"))
    call(api, "POST", "/api/v1/things", body={}, verdict=OPERATOR)
    found = [(row["who"], row["action"], row["outcome"]) for row in rows.rows]
    assert found == [("user_1", "thing.create", "done"), ("user_9", "thing.create", "denied")]


# Cursors, ETags and JSON on their own


POSITIONS = st.lists(st.none() | st.text() | st.integers(), max_size=4)


@given(POSITIONS, st.dictionaries(st.text(), st.text() | st.integers(), max_size=3))
def test_a_cursor_comes_back_as_it_went_out(position: list[Any], bound_to: dict[str, Any]) -> None:
    cursors = Cursors(b"key")
    assert cursors.decode(cursors.encode(position, bound_to), bound_to) == position


@given(st.text() | st.from_regex(r"[A-Za-z0-9_-]{1,20}\.[A-Za-z0-9_-]{1,30}", fullmatch=True))
def test_a_made_up_cursor_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Cursors(b"key").decode(text, {"list": "hosts"})
    assert (caught.value.status, caught.value.code) == (400, "invalid_cursor")


def test_a_cursor_does_not_fit_another_filter_or_another_installation() -> None:
    cursor = Cursors(b"key").encode(["a"], {"list": "hosts", "status": "live"})
    for key, bound_to in ((b"key", {"list": "hosts"}), (b"other", {"list": "hosts", "status": "live"})):
        with pytest.raises(InvalidInput):
            Cursors(key).decode(cursor, bound_to)


def test_if_match_lets_only_the_stored_version_through_and_says_whether_the_write_depends_on_it() -> None:
    for sent, expected in ((None, None), ("*", None), ('"3"', 3), ('"2", "3"', 3)):
        assert check_if_match(sent, 3) == expected
    for sent in ('"2"', 'W/"3"', "3", ""):
        with pytest.raises(PreconditionFailed):
            check_if_match(sent, 3)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.text(st.characters(exclude_characters="\x00", codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('abc[{"\\'), inner, max_size=3),
    max_leaves=20,
)


@given(JSON)
def test_json_means_what_the_standard_library_says(value: Any) -> None:
    assert parse_json(json.dumps(value)) == value


@given(st.text() | st.text('[]{}",:\\x1'))
def test_any_text_is_either_json_or_refused(text: str) -> None:
    refused = None
    try:
        parse_json(text)
    except InvalidInput as error:
        refused = error.code
    assert refused in {None, "invalid_json", "invalid_input"}


def test_nesting_is_bounded_and_brackets_in_text_do_not_count() -> None:
    assert parse_json("[" * MAX_DEPTH + "]" * MAX_DEPTH) is not None
    assert parse_json(json.dumps("[" * 1000)) == "[" * 1000
    with pytest.raises(InvalidInput):
        parse_json("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))
