"""Signing in, staying signed in, signing out, and what an administrator can do about people."""

from __future__ import annotations

import pytest

from farwatch.adapters.mail import SmtpMail
from farwatch.domain.rbac import COMMAND_LINE, Role, permissions_of
from farwatch.errors import Conflict, Unavailable
from farwatch.http.clock import now_ms
from tests.gateway import PASSWORD, Answered, Gateway

ADMIN = "admin@example.com"


@pytest.fixture
def admin(gateway: Gateway) -> Answered:
    gateway.container.auth.create_first_admin(COMMAND_LINE, ADMIN, "Ada", PASSWORD, now_ms())
    return gateway.sign_in(ADMIN)


def test_the_first_administrator_can_be_made_once(gateway: Gateway, admin: Answered) -> None:
    assert admin.status == 200
    assert admin.body["user"]["role"] == "admin"
    with pytest.raises(Conflict):
        gateway.container.auth.create_first_admin(COMMAND_LINE, "b@example.com", "B", PASSWORD, now_ms())


def test_who_signed_in_may_do_what_the_role_may(gateway: Gateway, admin: Answered) -> None:
    me = gateway("GET", "/api/v1/auth/me", token=admin.body["access_token"])
    assert me.status == 200
    assert me.body["email"] == ADMIN
    assert set(me.body["permissions"]) == {str(p) for p in permissions_of(Role.ADMIN)}


def test_a_wrong_password_and_an_unknown_person_look_the_same(gateway: Gateway, admin: Answered) -> None:
    wrong = gateway.sign_in(ADMIN, "not the password")
    unknown = gateway.sign_in("nobody@example.com", "not the password")
    assert (wrong.status, wrong.body["code"]) == (401, "login_failed")
    assert {**wrong.body, "instance": ""} == {**unknown.body, "instance": ""}


def test_an_address_is_the_same_in_capitals_and_with_spaces_around(gateway: Gateway, admin: Answered) -> None:
    assert gateway.sign_in(f"  {ADMIN.upper()} ").status == 200


def test_a_refresh_token_works_once_and_reuse_ends_the_session(gateway: Gateway, admin: Answered) -> None:
    def refresh(token: str) -> Answered:
        return gateway("POST", "/api/v1/auth/refresh", {"refresh_token": token})

    second = refresh(admin.body["refresh_token"])
    assert second.status == 200
    assert second.body["refresh_token"] != admin.body["refresh_token"]
    third = refresh(second.body["refresh_token"])
    assert third.status == 200
    stolen = refresh(admin.body["refresh_token"])
    assert (stolen.status, stolen.body["code"]) == (401, "refresh_reused")
    assert refresh(third.body["refresh_token"]).body["code"] == "refresh_refused"
    assert gateway("GET", "/api/v1/auth/me", token=third.body["access_token"]).status == 401


def test_signing_out_ends_this_session_at_once_and_no_other(gateway: Gateway, admin: Answered) -> None:
    other = gateway.sign_in(ADMIN)
    token = admin.body["access_token"]
    assert gateway("POST", "/api/v1/auth/logout", token=token).status == 204
    refused = gateway("GET", "/api/v1/auth/me", token=token)
    assert (refused.status, refused.body["code"]) == (401, "credential_revoked")
    spent = gateway("POST", "/api/v1/auth/refresh", {"refresh_token": admin.body["refresh_token"]})
    assert spent.status == 401
    assert gateway("GET", "/api/v1/auth/me", token=other.body["access_token"]).status == 200


def test_signing_out_everywhere_ends_every_session(gateway: Gateway, admin: Answered) -> None:
    other = gateway.sign_in(ADMIN)
    listed = gateway("GET", "/api/v1/auth/sessions", token=other.body["access_token"])
    assert sorted(session["current"] for session in listed.body["items"]) == [False, True]
    ended = gateway("POST", "/api/v1/auth/logout-everywhere", token=other.body["access_token"])
    assert ended.body == {"sessions": 2}
    for answer in (admin, other):
        assert gateway("GET", "/api/v1/auth/me", token=answer.body["access_token"]).status == 401


def test_a_new_password_ends_the_other_sessions_and_keeps_this_one(gateway: Gateway, admin: Answered) -> None:
    other = gateway.sign_in(ADMIN)
    change = {"current_password": PASSWORD, "new_password": "a wholly different phrase"}
    token = admin.body["access_token"]
    assert gateway("PUT", "/api/v1/auth/password", change, token=token).status == 204
    assert gateway("GET", "/api/v1/auth/me", token=token).status == 200
    assert gateway("GET", "/api/v1/auth/me", token=other.body["access_token"]).status == 401
    assert gateway.sign_in(ADMIN).status == 401
    assert gateway.sign_in(ADMIN, "a wholly different phrase").status == 200


@pytest.mark.parametrize(
    "weak",
    ["short", "aaaaaaaaaaaaaaaa", "abcdefghijklmnop", "password1234", "admin@example.com", "farwatch1234"],
)
def test_a_password_that_is_easily_guessed_is_refused(gateway: Gateway, admin: Answered, weak: str) -> None:
    change = {"current_password": PASSWORD, "new_password": weak}
    answer = gateway("PUT", "/api/v1/auth/password", change, token=admin.body["access_token"])
    assert (answer.status, answer.body["code"]) == (422, "password_unfit")
    assert weak not in answer.raw


def test_guessing_gets_slower_and_slower(gateway: Gateway, admin: Answered) -> None:
    statuses = [gateway.sign_in(ADMIN, f"guess number {n}").status for n in range(7)]
    assert statuses[:5] == [401] * 5
    assert 429 in statuses[5:]
    waiting = gateway.sign_in(ADMIN)
    assert waiting.status == 429
    assert 1 <= int(waiting.headers["Retry-After"]) <= 300
    gateway.address = "198.51.100.9"
    assert gateway.sign_in(ADMIN).status == 200, "the right person elsewhere is not locked out"


def test_an_invitation_makes_a_user_with_the_invited_role_once(gateway: Gateway, admin: Answered) -> None:
    token = admin.body["access_token"]
    invited = gateway(
        "POST",
        "/api/v1/invitations",
        {"email": "Bob@Example.com", "name": "Bob", "role": "viewer"},
        token=token,
    )
    assert (invited.status, invited.body["mailed"]) == (201, False)
    assert [i["email"] for i in gateway("GET", "/api/v1/invitations", token=token).body["items"]] == [
        "bob@example.com"
    ]
    secret = invited.body["link"].split("invitation=")[1]
    accept = {"token": secret, "password": "short"}
    assert gateway("POST", "/api/v1/auth/invitations/accept", accept).body["code"] == "password_unfit"
    accept["password"] = "bob has a long password"
    accepted = gateway("POST", "/api/v1/auth/invitations/accept", accept)
    assert (accepted.status, accepted.body["user"]["role"]) == (200, "viewer")
    assert gateway("POST", "/api/v1/auth/invitations/accept", accept).body["code"] == "token_spent"
    again = {"email": "bob@example.com", "name": "Bob", "role": "admin"}
    assert gateway("POST", "/api/v1/invitations", again, token=token).body["code"] == "already_exists"


def test_a_revoked_invitation_is_worthless(gateway: Gateway, admin: Answered) -> None:
    token = admin.body["access_token"]
    invited = gateway(
        "POST", "/api/v1/invitations", {"email": "c@example.com", "name": "C", "role": "guest"}, token=token
    )
    path = invited.headers["Location"]
    assert gateway("DELETE", path, token=token).status == 204
    assert gateway("DELETE", path, token=token).status == 404
    accept = {"token": invited.body["link"].split("invitation=")[1], "password": "a very long password"}
    assert gateway("POST", "/api/v1/auth/invitations/accept", accept).status == 401


def test_a_changed_role_ends_the_sessions_and_needs_the_newest_version(
    gateway: Gateway, admin: Answered
) -> None:
    token = admin.body["access_token"]
    user_id = gateway.add_user(Role.OPERATOR, "op@example.com")
    operator = gateway.sign_in("op@example.com").body["access_token"]
    read = gateway("GET", f"/api/v1/users/{user_id}", token=token)
    match = {"If-Match": read.headers["ETag"]}
    changed = gateway("PATCH", f"/api/v1/users/{user_id}", {"role": "viewer"}, token=token, headers=match)
    assert (changed.status, changed.body["role"]) == (200, "viewer")
    assert gateway("GET", "/api/v1/auth/me", token=operator).status == 401
    stale = gateway("PATCH", f"/api/v1/users/{user_id}", {"role": "admin"}, token=token, headers=match)
    assert (stale.status, stale.body["code"]) == (412, "version_conflict")


def test_a_disabled_person_can_do_nothing_until_enabled(gateway: Gateway, admin: Answered) -> None:
    token = admin.body["access_token"]
    user_id = gateway.add_user(Role.VIEWER, "v@example.com")
    viewer = gateway.sign_in("v@example.com")
    path = f"/api/v1/users/{user_id}"
    assert gateway("PATCH", path, {"disabled": True}, token=token).body["disabled"] is True
    assert gateway("GET", "/api/v1/auth/me", token=viewer.body["access_token"]).status == 401
    assert gateway.sign_in("v@example.com").status == 401
    assert gateway("PATCH", path, {"disabled": False}, token=token).body["disabled"] is False
    assert gateway.sign_in("v@example.com").status == 200


def test_the_last_administrator_stays(gateway: Gateway, admin: Answered) -> None:
    token = admin.body["access_token"]
    path = f"/api/v1/users/{admin.body['user']['id']}"
    for change in ({"role": "viewer"}, {"disabled": True}):
        answer = gateway("PATCH", path, change, token=token)
        assert (answer.status, answer.body["code"]) == (409, "last_admin")


def test_a_reset_link_sets_a_password_once(gateway: Gateway, admin: Answered) -> None:
    token = admin.body["access_token"]
    user_id = gateway.add_user(Role.VIEWER, "v@example.com")
    viewer = gateway.sign_in("v@example.com").body["access_token"]
    link = gateway("POST", f"/api/v1/users/{user_id}/password-reset", token=token).body["link"]
    reset = {"token": link.split("reset=")[1], "new_password": "yet another long one"}
    assert gateway("PUT", "/api/v1/auth/password-reset", reset).status == 204
    assert gateway("GET", "/api/v1/auth/me", token=viewer).status == 401
    assert gateway.sign_in("v@example.com", "yet another long one").status == 200
    assert gateway("PUT", "/api/v1/auth/password-reset", reset).body["code"] == "token_spent"


def test_asking_for_a_reset_tells_nothing_about_who_exists(gateway: Gateway, admin: Answered) -> None:
    answers = [
        gateway("POST", "/api/v1/auth/password-reset", {"email": email})
        for email in (ADMIN, "nobody@example.com")
    ]
    assert [(a.status, a.raw) for a in answers] == [(204, ""), (204, "")]


def test_a_mail_server_that_is_away_costs_no_invitation_and_tells_nobody_who_exists(
    gateway: Gateway, admin: Answered, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise Unavailable("mail server", "refused")

    monkeypatch.setattr(SmtpMail, "configured", True)
    monkeypatch.setattr(SmtpMail, "send", away)
    answers = [
        gateway("POST", "/api/v1/auth/password-reset", {"email": email})
        for email in (ADMIN, "nobody@example.com")
    ]
    assert [(a.status, a.raw) for a in answers] == [(204, ""), (204, "")]
    body = {"email": "d@example.com", "name": "D", "role": "guest"}
    invited = gateway("POST", "/api/v1/invitations", body, token=admin.body["access_token"])
    assert (invited.status, invited.body["mailed"]) == (201, False)
    accept = {"token": invited.body["link"].split("invitation=")[1], "password": "a very long password"}
    assert gateway("POST", "/api/v1/auth/invitations/accept", accept).status == 200


def test_users_are_listed_in_pages(gateway: Gateway, admin: Answered) -> None:
    token = admin.body["access_token"]
    for _ in range(4):
        gateway.add_user(Role.GUEST)
    seen: list[str] = []
    query = {"limit": "2"}
    while True:
        page = gateway("GET", "/api/v1/users", token=token, query=query)
        seen += [user["id"] for user in page.body["items"]]
        if page.body["next_cursor"] is None:
            break
        query["cursor"] = page.body["next_cursor"]
    assert len(seen) == len(set(seen)) == 5
    crossed = gateway("GET", "/api/v1/agents", token=token, query={"cursor": query["cursor"]})
    assert (crossed.status, crossed.body["code"]) == (400, "invalid_cursor")
