"""Attacks, tried and refused."""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import json
import re
import time
from typing import Any

import jwt
import pytest

from farwatch.adapters.access_tokens import LIFETIME_S, JwtAccessTokens
from farwatch.domain.rbac import COMMAND_LINE, Permission, Role, permissions_of
from farwatch.domain.severity import Severity
from farwatch.http.access import access_of
from farwatch.http.clock import now_ms
from farwatch.ports.deliveries import Notification
from farwatch.ports.proofs import CredentialRefused
from functions.api.handler import handler
from infra.local.api_reference import assembled_api
from tests.api_events import as_agent, as_token, as_user, http_event
from tests.gateway import PASSWORD, Gateway

# Forged, stale and foreign access tokens


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@pytest.fixture
def claims(gateway: Gateway) -> dict[str, Any]:
    """The claims of a good token of an administrator, whose session lives."""
    token = gateway.as_role(Role.ADMIN)
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


@pytest.fixture
def key(gateway: Gateway) -> bytes:
    return base64.b64decode(gateway.container.adapters.secrets.jwt_keys["k1"])


def signed(claims: dict[str, Any], key: bytes, algorithm: str = "HS256", kid: str | None = "k1") -> str:
    return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": kid} if kid else {})


def refused(gateway: Gateway, token: str) -> bool:
    """Whether the authoriser refuses the token, and the API answers 401 to it."""
    answer = gateway("GET", "/api/v1/users", token=token)
    return gateway.verdict(token)["kind"] == "refused" and answer.status == 401


def test_the_control_is_accepted(gateway: Gateway, claims: dict[str, Any], key: bytes) -> None:
    assert gateway.verdict(signed(claims, key))["kind"] == "user"


def test_algorithm_none_in_any_spelling(gateway: Gateway, claims: dict[str, Any]) -> None:
    for name in ("none", "None", "NONE", "nOnE", ""):
        header = b64(json.dumps({"alg": name, "typ": "JWT", "kid": "k1"}).encode())
        body = b64(json.dumps(claims).encode())
        for signature in ("", b64(b"x" * 32)):
            assert refused(gateway, f"{header}.{body}.{signature}")


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_another_algorithm_under_the_right_key(
    gateway: Gateway, claims: dict[str, Any], key: bytes, algorithm: str
) -> None:
    assert refused(gateway, signed(claims, key, algorithm))


def test_an_asymmetric_algorithm_named_over_a_symmetric_signature(
    gateway: Gateway, claims: dict[str, Any], key: bytes
) -> None:
    head = b64(json.dumps({"alg": "RS256", "typ": "JWT", "kid": "k1"}).encode())
    body = b64(json.dumps(claims).encode())
    mac = hmac.digest(key, f"{head}.{body}".encode(), hashlib.sha256)
    assert refused(gateway, f"{head}.{body}.{b64(mac)}")


def test_another_key_an_unknown_key_id_and_tricks_with_it(
    gateway: Gateway, claims: dict[str, Any], key: bytes
) -> None:
    assert refused(gateway, signed(claims, b"k" * 32))
    for kid in ("k2", "../../dev/null", "k1' OR '1'='1", None):
        assert refused(gateway, signed(claims, key, kid=kid))
    with_embedded_key = jwt.encode(
        claims,
        b"k" * 32,
        algorithm="HS256",
        headers={"kid": "k1", "jwk": {"kty": "oct", "k": b64(b"k" * 32)}, "jku": "https://evil.example/keys"},
    )
    assert refused(gateway, with_embedded_key)


@pytest.mark.parametrize(
    "change",
    [
        {"exp": 1},
        {"nbf": 4_000_000_000},
        {"iat": 4_000_000_000, "exp": 4_000_000_600},
        {"exp": 4_000_000_000},
        {"aud": "another-api"},
        {"iss": "another-issuer"},
        {"sub": "user_somebody_else"},
        {"sid": "made-up"},
        {"exp": "soon"},
        {"sub": None},
        {"aud": None},
        {"iss": None},
        {"sid": None},
        {"exp": None},
    ],
)
def test_wrong_or_missing_claims_under_the_right_key(
    gateway: Gateway, claims: dict[str, Any], key: bytes, change: dict[str, Any]
) -> None:
    changed = {name: value for name, value in {**claims, **change}.items() if value is not None}
    assert refused(gateway, signed(changed, key))


def test_a_tampered_payload_and_a_role_in_the_token_change_nothing(gateway: Gateway, key: bytes) -> None:
    token = gateway.as_role(Role.GUEST)
    head, body, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    forged = b64(json.dumps({**claims, "role": "admin"}).encode())
    assert refused(gateway, f"{head}.{forged}.{signature}")
    # Even somebody who could sign would find that the role is read from the session, not from the token.
    assert gateway.verdict(signed({**claims, "role": "admin"}, key))["role"] == "guest"


def test_a_token_is_good_for_ten_minutes_and_keys_can_be_rotated() -> None:
    old, new = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))
    before = JwtAccessTokens({"k1": old}, "k1")
    during = JwtAccessTokens({"k1": old, "k2": new}, "k2")
    after = JwtAccessTokens({"k2": new}, "k2")
    token = before.issue("user_1", "session", 1_000_000)
    assert during.read(token, 1_000_000).user_id == "user_1"
    assert jwt.get_unverified_header(during.issue("user_1", "session", 0))["kid"] == "k2"
    with pytest.raises(CredentialRefused, match="invalid"):
        after.read(token, 1_000_000)
    with pytest.raises(CredentialRefused, match="expired"):
        before.read(token, 1_000_000 + (LIFETIME_S + 6) * 1000)
    with pytest.raises(CredentialRefused, match="invalid"):
        before.read(token, 1_000_000 - 60_000)


@pytest.mark.parametrize(
    "header",
    [
        "Basic YWRtaW46YWRtaW4=",
        "Bearer",
        "Bearer ",
        "Bearer a.b.c",
        "Bearer " + "a" * 100_000,
        "Bearer fwa_0123456789abcdef_" + "0" * 64,
        "Bearer fwt_0123456789abcdef_" + "0" * 64,
        "Bearer fwe_0123456789abcdef_" + "0" * 64,
        "Bearer \x00",
        "Bearer ünïcode",
        "Bearer eyJhbGciOiJIUzI1NiJ9..",
        "🙈",
    ],
)
def test_anything_else_in_the_header(gateway: Gateway, header: str) -> None:
    assert gateway.verdict_for(header)["kind"] == "refused"


def test_a_credential_with_another_ones_id_or_kind(gateway: Gateway) -> None:
    _, mine = gateway.enrolled("web-1")
    _, other = gateway.enrolled("web-2")
    swapped = "_".join(["fwa", other.split("_")[1], mine.split("_")[2]])
    as_token = "fwt" + mine[3:]
    for credential in (swapped, as_token, mine.upper(), mine + "0", mine[:-1]):
        assert gateway.verdict(credential)["kind"] == "refused"


# Other people's things


def test_every_route_lets_in_whom_its_permission_allows_and_nobody_else(gateway: Gateway) -> None:
    host_id, credential = gateway.enrolled()
    agent = as_agent(host_id, credential.split("_")[1])
    verdicts: dict[str, tuple[dict[str, str], frozenset[Permission]]] = {
        "nobody": ({}, frozenset()),
        "agent": (agent, frozenset({Permission.METRICS_INGEST})),
        "token": (
            as_token("hosts:read", "rules:read"),
            frozenset({Permission.HOSTS_READ, Permission.RULES_READ}),
        ),
    }
    for role in Role:
        verdicts[role] = (as_user(role, gateway.add_user(role)), permissions_of(role))
    let_in = turned_away = 0
    for route in assembled_api().routes:
        access = access_of(route.func)
        assert access is not None
        path = "".join(
            part if i % 2 == 0 else "x_1" for i, part in enumerate(re.split("<(.*?)>", route.path))
        )
        for name, (verdict, allowed) in verdicts.items():
            if access.public is not None or route.func.__name__ in {"logout", "logout_everywhere"}:
                continue
            may = access.permission in allowed if access.permission is not None else name in set(Role)
            answer = gateway.send(http_event(route.method, path, verdict=verdict), handler)
            where = (name, route.method, path, answer.raw)
            if may:
                assert answer.status not in {401, 403}, where
                let_in += 1
            else:
                assert answer.status == (401 if name == "nobody" else 403), where
                turned_away += 1
    assert min(let_in, turned_away) > 50


def test_a_person_cannot_end_or_see_somebody_elses_sessions(gateway: Gateway) -> None:
    victim, attacker = gateway.as_role(Role.VIEWER), gateway.as_role(Role.VIEWER)
    assert len(gateway("GET", "/api/v1/auth/sessions", token=attacker).body["items"]) == 1
    gateway("POST", "/api/v1/auth/logout-everywhere", token=attacker)
    assert gateway("GET", "/api/v1/auth/me", token=victim).status == 200


def test_what_belongs_to_a_person_is_not_found_by_anybody_else(gateway: Gateway) -> None:
    """Own and other's, for every route that takes the id of something personal; administrators included."""
    made = gateway.container
    victim = gateway.add_user(Role.VIEWER, "victim@example.com")
    note = "ntf_" + "0" * 22
    notification = Notification(
        note, victim, "evt_1", "inc_1", "incident.opened", Severity.HIGH, "title", "private", now_ms()
    )
    assert made.adapters.inbox.add(notification)
    own = gateway.sign_in("victim@example.com").body["access_token"]
    for role in (Role.VIEWER, Role.OPERATOR, Role.ADMIN):
        other = gateway.as_role(role)
        assert gateway("POST", f"/api/v1/notifications/{note}/read", token=other).status == 404
        assert gateway("POST", "/api/v1/notifications/read", token=other).body == {"marked": 0}
        assert gateway("GET", "/api/v1/notifications", token=other).body["items"] == []
        spied = gateway("GET", "/api/v1/events", token=other, query={"topic": f"user:{victim}"})
        assert spied.status == 403
    assert gateway("GET", "/api/v1/notifications", token=own).body["unread"] == 1
    assert gateway("GET", "/api/v1/events", token=own, query={"topic": f"user:{victim}"}).status == 200
    assert gateway("POST", f"/api/v1/notifications/{note}/read", token=own).status == 204


def test_preferences_are_always_the_callers_own(gateway: Gateway) -> None:
    mine, other = gateway.as_role(Role.VIEWER), gateway.as_role(Role.ADMIN)
    before = gateway("GET", "/api/v1/preferences", token=mine)
    changed = gateway("PUT", "/api/v1/preferences", {"timezone": "Asia/Tokyo", "user_id": "x"}, token=other)
    assert changed.status == 422, "nobody's id is taken from a body"
    assert gateway("PUT", "/api/v1/preferences", {"timezone": "Asia/Tokyo"}, token=other).status == 200
    assert gateway("GET", "/api/v1/preferences", token=mine).body == before.body


def test_an_agent_renews_its_own_credential_only(gateway: Gateway) -> None:
    first, mine = gateway.enrolled("web-1")
    _, other = gateway.enrolled("web-2")
    renewed = gateway("POST", "/api/v1/agents/credential", {"host_id": "host_other"}, token=mine)
    assert renewed.body["host_id"] == first
    assert gateway.verdict(other)["kind"] == "agent"


def test_an_idempotency_key_never_shows_somebody_elses_answer(gateway: Gateway) -> None:
    body = {"name": "x", "scopes": ["hosts:read"]}
    answers = [
        gateway(
            "POST",
            "/api/v1/tokens",
            body,
            token=gateway.as_role(Role.ADMIN),
            headers={"Idempotency-Key": "same"},
        )
        for _ in range(2)
    ]
    assert answers[0].body["token"] != answers[1].body["token"]


def test_a_kept_answer_is_not_readable_in_redis(gateway: Gateway) -> None:
    admin = gateway.as_role(Role.ADMIN)
    body = {"name": "x", "scopes": ["hosts:read"]}
    made = gateway("POST", "/api/v1/tokens", body, token=admin, headers={"Idempotency-Key": "k"})
    redis = gateway.container.adapters.redis
    kept = [redis.get(name) for name in redis.keys("reply:*")]
    assert len(kept) == 1
    assert made.body["token"].encode() not in kept[0]  # type: ignore[operator]
    again = gateway("POST", "/api/v1/tokens", body, token=admin, headers={"Idempotency-Key": "k"})
    assert again.body == made.body


# Sessions


def test_a_session_cannot_be_fixed_before_signing_in(gateway: Gateway) -> None:
    gateway.add_user(Role.VIEWER, "v@example.com")
    attempt = {"email": "v@example.com", "password": PASSWORD, "session_id": "chosen"}
    assert gateway("POST", "/api/v1/auth/login", attempt).status == 422
    planted = gateway(
        "POST",
        "/api/v1/auth/login",
        {"email": "v@example.com", "password": PASSWORD},
        headers={"Cookie": "session=chosen", "X-Session-Id": "chosen"},
    )
    session = jwt.decode(planted.body["access_token"], options={"verify_signature": False})["sid"]
    assert session != "chosen"
    assert gateway.sign_in("v@example.com").body["refresh_token"].split(".")[0] != session


def test_two_thieves_racing_with_one_refresh_token_do_not_both_win(gateway: Gateway) -> None:
    gateway.add_user(Role.VIEWER, "v@example.com")
    token = gateway.sign_in("v@example.com").body["refresh_token"]
    answers = [gateway("POST", "/api/v1/auth/refresh", {"refresh_token": token}) for _ in range(3)]
    assert [a.status for a in answers] == [200, 401, 401]
    assert gateway.verdict(answers[0].body["access_token"])["kind"] == "refused"


def test_a_made_up_refresh_token_does_not_end_the_session_it_names(gateway: Gateway) -> None:
    gateway.add_user(Role.VIEWER, "v@example.com")
    signed_in = gateway.sign_in("v@example.com").body
    session = signed_in["refresh_token"].split(".")[0]
    made_up = gateway("POST", "/api/v1/auth/refresh", {"refresh_token": f"{session}.{'x' * 43}"})
    assert (made_up.status, made_up.body["code"]) == (401, "refresh_refused")
    assert gateway.verdict(signed_in["access_token"])["kind"] == "user"


def test_mass_assignment(gateway: Gateway) -> None:
    admin = gateway.as_role(Role.ADMIN)
    user_id = gateway.add_user(Role.GUEST)
    for extra in ({"id": "user_x"}, {"password_hash": "x"}, {"email": "x@example.com"}, {"version": 9}):
        answer = gateway("PATCH", f"/api/v1/users/{user_id}", {"name": "N", **extra}, token=admin)
        assert answer.status == 422, extra
    invited = gateway(
        "POST", "/api/v1/invitations", {"email": "i@example.com", "name": "I", "role": "guest"}, token=admin
    )
    secret = invited.body["link"].split("=")[1]
    accept = {"token": secret, "password": PASSWORD, "role": "admin"}
    assert gateway("POST", "/api/v1/auth/invitations/accept", accept).status == 422
    enrolment = gateway.container.enrol.create_enrolment_token(COMMAND_LINE, now_ms())
    wanted = {"token": enrolment.text, "hostname": "h", "host_id": "host_chosen", "id": "host_chosen"}
    assert gateway("POST", "/api/v1/agents/enrol", wanted).body["host_id"] != "host_chosen"


# Hostile text


HOSTILE = [
    "'; DROP TABLE users; --",
    "' OR '1'='1",
    "1; SELECT pg_sleep(9)",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{7*7}} ${7*7} #{7*7} %{7*7}",
    "../../etc/passwd",
    "\u202eevil",
    "a" * 200,
    "🙈" * 50,
]


@pytest.mark.parametrize("text", HOSTILE)
def test_text_is_stored_and_shown_as_it_was_sent(gateway: Gateway, text: str) -> None:
    admin = gateway.as_role(Role.ADMIN)
    invited = {"email": "x@example.com", "name": text, "role": "guest"}
    assert gateway("POST", "/api/v1/invitations", invited, token=admin).body["name"] == text
    made = gateway("POST", "/api/v1/tokens", {"name": text, "scopes": ["hosts:read"]}, token=admin)
    listed = gateway("GET", "/api/v1/tokens", token=admin)
    assert [token["name"] for token in listed.body["items"]] == [made.body["name"]] == [text]
    host_id, _ = gateway.enrolled(text, os=text, kernel=text, machine_id=text, labels={"rack": text})
    assert gateway("GET", f"/api/v1/agents/{host_id}", token=admin).body["name"] == text
    for query in ("actor_id", "action", "target", "outcome"):
        found = gateway("GET", "/api/v1/audit", token=admin, query={query: text})
        assert (found.status, found.body["items"]) == (200, [])
    assert gateway.sign_in(text).status in {401, 422}
    assert listed.headers["Content-Type"] == "application/json"
    assert listed.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("text", ["a\nb", "a\r\nSet-Cookie: x=1", "a\tb", "\x1b[31mred", "nul\x00"])
def test_text_that_could_split_a_line_or_a_header_is_refused(gateway: Gateway, text: str) -> None:
    admin = gateway.as_role(Role.ADMIN)
    answer = gateway("POST", "/api/v1/tokens", {"name": text, "scopes": ["hosts:read"]}, token=admin)
    assert answer.status == 422
    enrolment = gateway.container.enrol.create_enrolment_token(COMMAND_LINE, now_ms())
    body = {"token": enrolment.text, "hostname": f"h{text}h"}
    assert gateway("POST", "/api/v1/agents/enrol", body).status == 422


def test_what_a_stranger_sends_cannot_forge_a_log_line(
    gateway: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = 'x\n{"level":"INFO","message":"request","status":200,"principal":"user:admin"}'
    gateway("GET", f"/api/v1/{fake}", headers={"User-Agent": fake, "X-Request-Id": fake})
    gateway("POST", "/api/v1/auth/login", {"email": fake, "password": fake})
    for line in capsys.readouterr().out.splitlines():
        assert json.loads(line).get("principal") != "user:admin"


# Too much


def test_deep_json_a_bomb_and_a_body_too_large_cost_little(gateway: Gateway) -> None:
    bomb = base64.b64encode(gzip.compress(b"0" * 50_000_000)).decode()
    bodies: list[tuple[str, bool, dict[str, str]]] = [
        ("[" * 100_000, False, {}),
        ('{"a":' * 100_000, False, {}),
        ('"\\"' * 80_000, False, {}),
        ("9" * 200_000, False, {}),
        ("x" * 300_000, False, {}),
        (bomb, True, {"content-encoding": "gzip"}),
        ("not base64!", True, {}),
        (base64.b64encode(b"\xff\xfe").decode(), True, {}),
    ]
    for text, encoded, headers in bodies:
        event = http_event("POST", "/api/v1/auth/login", body=text, headers=headers)
        event["isBase64Encoded"] = encoded
        started = time.process_time()
        answer = gateway.send(event, handler)
        assert answer.status in {400, 413, 422}, text[:20]
        assert answer.body["code"] in {"invalid_json", "invalid_body", "too_large", "invalid_input"}
        assert time.process_time() - started < 0.5


def test_ten_thousand_sign_ins_are_mostly_refused_before_they_cost_a_hash(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.add_user(Role.VIEWER, "v@example.com")
    hashed = 0
    real = gateway.container.adapters.passwords.fits

    def counting(password: str, stored: str | None) -> bool:
        nonlocal hashed
        hashed += 1
        return real(password, stored)

    monkeypatch.setattr(gateway.container.adapters.passwords, "fits", counting)
    event = http_event("POST", "/api/v1/auth/login", body={"email": "v@example.com", "password": "guess"})
    statuses = [gateway.send(event, handler).status for _ in range(10_000)]
    assert set(statuses) == {401, 429}
    # Thirty a minute per address; a slow machine may need more than a minute for all of it.
    assert hashed <= 30


def test_guessing_from_many_addresses_is_slowed_down_as_well(gateway: Gateway) -> None:
    gateway.add_user(Role.VIEWER, "v@example.com")
    statuses = []
    for n in range(40):
        gateway.address = f"198.51.100.{n}"
        statuses.append(gateway.sign_in("v@example.com", "guess").status)
    assert statuses[:20] == [401] * 20
    assert statuses[20:].count(401) <= 1
