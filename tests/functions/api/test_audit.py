"""The audit log: complete, append-only, provable, and free of secrets."""

from __future__ import annotations

import psycopg
import pytest

from farwatch.domain.audit import verify
from farwatch.domain.rbac import COMMAND_LINE, Role
from tests.gateway import PASSWORD, Gateway


@pytest.fixture
def admin(gateway: Gateway) -> str:
    return gateway.as_role(Role.ADMIN)


def actions(gateway: Gateway, admin: str, **query: str) -> list[tuple[str, str]]:
    answer = gateway("GET", "/api/v1/audit", token=admin, query={"limit": "200", **query})
    assert answer.status == 200, answer.raw
    return [(row["action"], row["outcome"]) for row in reversed(answer.body["items"])]


def test_what_people_do_and_what_they_are_denied_is_there_in_order(gateway: Gateway, admin: str) -> None:
    gateway.sign_in("nobody@example.com", "wrong")
    viewer = gateway.as_role(Role.VIEWER)
    gateway("GET", "/api/v1/users", token=viewer)
    gateway("GET", "/api/v1/users", token=admin)
    gateway("GET", "/api/v1/users")
    gateway("POST", "/api/v1/auth/logout", token=viewer)
    assert actions(gateway, admin) == [
        ("auth.login", "done"),
        ("auth.login", "denied"),
        ("auth.login", "done"),
        ("user.list", "denied"),
        ("user.list", "done"),
        ("user.list", "denied"),
        ("auth.logout", "done"),
    ]
    assert actions(gateway, admin, outcome="denied", action="auth.login") == [("auth.login", "denied")]


def test_a_change_is_recorded_once_with_before_and_after_and_where_from(gateway: Gateway, admin: str) -> None:
    user_id = gateway.add_user(Role.VIEWER)
    gateway("PATCH", f"/api/v1/users/{user_id}", {"role": "operator"}, token=admin)
    rows = gateway("GET", "/api/v1/audit", token=admin, query={"target": user_id}).body["items"]
    assert len(rows) == 1
    assert (rows[0]["before"]["role"], rows[0]["after"]["role"]) == ("viewer", "operator")
    assert (rows[0]["address"], rows[0]["actor_kind"]) == ("192.0.2.7", "user")
    assert rows[0]["at"].endswith("Z")


def test_the_log_can_be_asked_from_where_something_was_done(gateway: Gateway, admin: str) -> None:
    gateway.address = "198.51.100.9"
    gateway.sign_in("nobody@example.com", "wrong")
    assert actions(gateway, admin, address="198.51.100.9") == [("auth.login", "denied")]
    assert actions(gateway, admin, address="203.0.113.1") == []


def test_a_change_that_fails_leaves_no_row(gateway: Gateway, admin: str) -> None:
    gateway("PATCH", "/api/v1/users/user_nobody", {"role": "operator"}, token=admin)
    assert actions(gateway, admin) == [("auth.login", "done")]


def test_rows_can_neither_be_changed_nor_deleted(gateway: Gateway, admin: str, postgres_url: str) -> None:
    for statement in ("UPDATE audit_log SET entry = '{}'", "DELETE FROM audit_log", "TRUNCATE audit_log"):
        with (
            psycopg.connect(postgres_url) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"),
        ):
            connection.execute(statement)


def tamper(postgres_url: str, statement: str) -> None:
    """Do what only somebody with the table owner's rights can do."""
    with psycopg.connect(postgres_url) as connection:
        connection.execute("ALTER TABLE audit_log DISABLE TRIGGER ALL")
        connection.execute(statement)


def grow(gateway: Gateway, rows: int = 6) -> None:
    for n in range(rows):
        gateway.container.adapters.audit.record(COMMAND_LINE, action="test", target=f"thing-{n}")


def test_an_untouched_chain_is_whole(gateway: Gateway) -> None:
    grow(gateway)
    verdict = verify(gateway.container.adapters.audit.links())
    assert (verdict.rows, verdict.head_seq, verdict.broken_at) == (6, 6, None)


@pytest.mark.parametrize(
    ("statement", "broken_at"),
    [
        (
            """UPDATE audit_log SET entry = replace(entry::text, 'thing-2', 'thing-9')::json WHERE seq = 3""",
            3,
        ),
        ("DELETE FROM audit_log WHERE seq = 4", 5),
        ("DELETE FROM audit_log WHERE seq = 1", 2),
        ("UPDATE audit_log SET hash = sha256('x') WHERE seq = 2", 2),
        (
            """WITH b AS (SELECT entry FROM audit_log WHERE seq = 5)
               UPDATE audit_log SET entry = b.entry, hash = sha256(previous || convert_to(b.entry::text, 'UTF8'))
               FROM b WHERE seq = 6""",
            6,
        ),
    ],
)
def test_tampering_is_found_at_the_row(
    gateway: Gateway, postgres_url: str, statement: str, broken_at: int
) -> None:
    grow(gateway)
    tamper(postgres_url, statement)
    assert verify(gateway.container.adapters.audit.links()).broken_at == broken_at


def test_cutting_off_the_end_is_found_by_a_head_noted_earlier(gateway: Gateway, postgres_url: str) -> None:
    grow(gateway)
    before = verify(gateway.container.adapters.audit.links())
    head = (before.head_seq, before.head_hash)
    grow(gateway, 1)
    assert verify(gateway.container.adapters.audit.links(), head).broken_at is None
    tamper(postgres_url, "DELETE FROM audit_log WHERE seq > 4")
    assert verify(gateway.container.adapters.audit.links()).broken_at is None
    assert verify(gateway.container.adapters.audit.links(), head).reason.startswith("ends before row 6")


def test_no_secret_ever_reaches_a_row(gateway: Gateway, admin: str, postgres_url: str) -> None:
    host_id, credential = gateway.enrolled()
    made = gateway("POST", "/api/v1/tokens", {"name": "x", "scopes": ["hosts:read"]}, token=admin)
    enrolment = gateway("POST", "/api/v1/enrolment-tokens", {}, token=admin)
    invited = gateway(
        "POST", "/api/v1/invitations", {"email": "b@example.com", "name": "B", "role": "guest"}, token=admin
    )
    with psycopg.connect(postgres_url) as connection:
        row = connection.execute("SELECT string_agg(entry::text, E'\\n') FROM audit_log").fetchone()
    assert row is not None
    for secret in (
        PASSWORD,
        admin,
        credential,
        made.body["token"],
        enrolment.body["token"],
        invited.body["link"].split("=")[1],
    ):
        assert secret not in row[0]
    assert host_id in row[0]


def test_values_under_secret_sounding_names_are_left_out_whatever_a_caller_passes(gateway: Gateway) -> None:
    gateway.container.adapters.audit.record(
        COMMAND_LINE,
        action="test",
        target="x",
        after={"webhook_url": "https://h/1", "nested": [{"routing_key": "k"}], "token_id": "t", "plain": 1},
    )
    rows = gateway.container.adapters.audit.links()
    text = "".join(link.text for link in rows)
    assert "https://h/1" not in text
    assert '"k"' not in text
    assert '"token_id":"t"' in text


def test_the_log_is_paged_by_cursor_and_only_for_those_who_may(gateway: Gateway, admin: str) -> None:
    grow(gateway, 5)
    first = gateway("GET", "/api/v1/audit", token=admin, query={"limit": "3", "action": "test"}).body
    assert [row["target"] for row in first["items"]] == ["thing-4", "thing-3", "thing-2"]
    more = {"limit": "3", "action": "test", "cursor": first["next_cursor"]}
    second = gateway("GET", "/api/v1/audit", token=admin, query=more).body
    assert [row["target"] for row in second["items"]] == ["thing-1", "thing-0"]
    assert second["next_cursor"] is None
    operator = gateway.as_role(Role.OPERATOR)
    assert gateway("GET", "/api/v1/audit", token=operator).status == 403
