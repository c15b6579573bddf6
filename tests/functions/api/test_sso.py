"""Signing in through an identity provider: a real key server, forged and honest tokens."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from farwatch.adapters.oidc import OidcProvider
from farwatch.adapters.redis.client import connect
from farwatch.adapters.redis.sessions import RedisSpentIdentities
from farwatch.domain.rbac import Role
from farwatch.errors import Misconfigured
from farwatch.http.clock import now_ms
from farwatch.services.auth import SsoRoles
from tests.gateway import Answered, Gateway

ISSUER = "https://id.example.com"
CLIENT = "farwatch-dashboard"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SERIAL = itertools.count()
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def jwks_url() -> Iterator[str]:
    key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key()))
    document = json.dumps({"keys": [{**key, "kid": "idp-1", "use": "sig", "alg": "RS256"}]}).encode()

    class Keys(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(document)

        def log_message(self, *_: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Keys)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/keys"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def sso(gateway: Gateway, jwks_url: str) -> Gateway:
    auth = gateway.container.auth
    auth._provider = OidcProvider(ISSUER, CLIENT, jwks_url)
    auth._sso_roles = SsoRoles.parse("sre=operator, it-admins=admin", "")
    return gateway


def id_token(key: Any = KEY, kid: str = "idp-1", algorithm: str = "RS256", **claims: Any) -> str:
    now = now_ms() // 1000
    standard = {
        "iss": ISSUER,
        "aud": CLIENT,
        "sub": "subject-1",
        "iat": now,
        "exp": now + 300,
        "email": "Eve@Example.com",
        "email_verified": True,
        "name": "Eve",
        "groups": ["sre"],
        "jti": str(next(SERIAL)),
    }
    sent = {name: value for name, value in {**standard, **claims}.items() if value is not None}
    return jwt.encode(sent, key, algorithm=algorithm, headers={"kid": kid})


def exchange(gateway: Gateway, token: str) -> Answered:
    return gateway("POST", "/api/v1/auth/oidc", {"id_token": token})


def test_somebody_new_is_admitted_with_the_mapped_role(sso: Gateway) -> None:
    answer = exchange(sso, id_token())
    assert answer.status == 200, answer.raw
    user = answer.body["user"]
    assert (user["email"], user["role"], user["has_password"]) == ("eve@example.com", "operator", False)
    assert exchange(sso, id_token()).body["user"]["id"] == user["id"]
    assert sso.sign_in("eve@example.com").status == 401, "there is no password to guess"


def test_an_identity_token_signs_in_once_also_at_another_process_and_after_a_restart(sso: Gateway) -> None:
    token = id_token()
    assert exchange(sso, token).status == 200
    sso.container.auth._spent = RedisSpentIdentities(connect(sso.container.adapters.secrets.redis_url))
    again = exchange(sso, token)
    assert (again.status, again.body["code"]) == (401, "sso_spent")
    assert exchange(sso, id_token(jti="another")).status == 200


def test_the_same_signature_written_differently_is_the_same_token(sso: Gateway) -> None:
    token = id_token()
    assert exchange(sso, token).status == 200
    answer = exchange(sso, f"{token}==")  # base64 with its padding
    assert (answer.status, answer.body["code"]) == (401, "sso_spent")


def test_of_many_who_present_one_token_at_once_one_signs_in(sso: Gateway) -> None:
    spent = RedisSpentIdentities(sso.container.adapters.redis)
    until = now_ms() + 60_000
    with ThreadPoolExecutor(8) as pool:
        first = list(pool.map(lambda _: spent.spend("token", until), range(40)))
    assert first.count(True) == 1


def test_a_spent_token_is_remembered_for_as_long_as_it_would_be_accepted(sso: Gateway) -> None:
    exchange(sso, id_token(exp=now_ms() // 1000 + 500))
    redis = sso.container.adapters.redis
    (key,) = redis.keys("spent_identity:*")
    assert 500_000 < redis.pttl(key) <= 530_000


def test_while_nobody_can_tell_whether_a_token_was_spent_it_signs_nobody_in(sso: Gateway) -> None:
    auth = sso.container.auth
    working, auth._spent = auth._spent, RedisSpentIdentities(connect("redis://127.0.0.1:1/0"))
    token = id_token()
    assert exchange(sso, token).status == 503
    auth._spent = working
    assert exchange(sso, token).status == 200


def test_the_role_follows_the_groups_and_the_old_sessions_end(sso: Gateway) -> None:
    first = exchange(sso, id_token())
    second = exchange(sso, id_token(groups=["sre", "it-admins"]))
    assert second.body["user"]["role"] == "admin"
    assert sso.verdict(first.body["access_token"])["kind"] == "refused"


def test_a_person_with_a_password_is_linked_by_verified_address_once(sso: Gateway) -> None:
    user_id = sso.add_user(Role.VIEWER, "eve@example.com")
    assert exchange(sso, id_token()).body["user"]["id"] == user_id
    stranger = exchange(sso, id_token(sub="subject-2"))
    assert (stranger.status, stranger.body["code"]) == (401, "sso_refused")


def test_who_is_in_no_mapped_group_is_refused_unless_there_is_a_default(sso: Gateway) -> None:
    assert exchange(sso, id_token(groups=[])).status == 401
    sso.container.auth._sso_roles = SsoRoles.parse("", "guest")
    assert exchange(sso, id_token(groups=[])).body["user"]["role"] == "guest"


def test_a_disabled_person_is_refused(sso: Gateway) -> None:
    admin = sso.as_role(Role.ADMIN)
    user_id = exchange(sso, id_token()).body["user"]["id"]
    sso("PATCH", f"/api/v1/users/{user_id}", {"disabled": True}, token=admin)
    assert exchange(sso, id_token()).status == 401


@pytest.mark.parametrize(
    "changes",
    [
        {"key": OTHER_KEY},
        {"kid": "idp-2"},
        {"iss": "https://evil.example"},
        {"aud": "another-client"},
        {"aud": [CLIENT, "other"], "azp": "other"},
        {"exp": 1},
        {"iat": 4_000_000_000, "exp": 4_000_000_300},
        {"sub": None},
        {"email": None},
        {"email_verified": False},
        {"email_verified": None},
        {"key": "k" * 32, "algorithm": "HS256"},
        {"key": "", "algorithm": "none"},
    ],
)
def test_a_token_that_does_not_hold_is_refused(sso: Gateway, changes: dict[str, Any]) -> None:
    answer = exchange(sso, id_token(**changes))
    assert (answer.status, answer.body["code"]) == (401, "sso_refused")


def test_a_public_key_used_as_a_shared_secret_is_refused(sso: Gateway) -> None:
    import base64
    import hashlib
    import hmac

    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    head, body, _ = id_token().split(".")
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"idp-1"}').rstrip(b"=").decode()
    pem = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    mac = base64.urlsafe_b64encode(hmac.digest(pem, f"{head}.{body}".encode(), hashlib.sha256)).rstrip(b"=")
    assert exchange(sso, f"{head}.{body}.{mac.decode()}").status == 401


def test_a_key_server_that_is_down_is_a_503(sso: Gateway) -> None:
    sso.container.auth._provider = OidcProvider(ISSUER, CLIENT, "http://127.0.0.1:1/keys")
    assert exchange(sso, id_token()).status == 503


@pytest.mark.parametrize(
    ("issuer", "keys"),
    [("http://id.example.com", "https://id.example.com/keys"), (ISSUER, "http://id.example.com/keys")],
)
def test_a_provider_over_plain_http_is_refused_unless_it_is_on_this_machine(issuer: str, keys: str) -> None:
    with pytest.raises(Misconfigured, match="must be https"):
        OidcProvider(issuer, CLIENT, keys)
    OidcProvider("http://127.0.0.1:8080", CLIENT, "http://localhost:8080/keys")


def test_without_a_provider_the_door_says_so(gateway: Gateway) -> None:
    answer = exchange(gateway, id_token())
    assert (answer.status, answer.body["code"]) == (409, "sso_not_configured")


def test_a_mapping_that_is_none_stops_at_the_start() -> None:
    for text in ("sre", "sre=emperor"):
        with pytest.raises(Misconfigured):
            SsoRoles.parse(text, "")
