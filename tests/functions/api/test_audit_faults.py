"""PostgreSQL or the session store fails at any step: no session the log does not know, no change without its row."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import psycopg
import pytest

from farwatch.adapters.postgres.database import Connection, Database
from farwatch.adapters.redis.sessions import RedisSessions
from farwatch.domain.rbac import Role
from farwatch.errors import Unavailable
from tests.gateway import PASSWORD, Answered, Gateway

OTHER = "a wholly different phrase"


class Fuse:
    """Lets the ``burns_at``-th step fail, and with ``stays`` every later one; 0 never."""

    def __init__(self) -> None:
        self.disarm()

    def arm(self, burns_at: int, *, stays: bool) -> None:
        self.steps, self.burns_at, self.stays = 0, burns_at, stays

    def disarm(self) -> None:
        self.arm(0, stays=False)

    def burns(self) -> bool:
        self.steps += 1
        return self.steps == self.burns_at or (self.stays and 0 < self.burns_at < self.steps)


class FusedConnection:
    """A connection whose statements can fail."""

    def __init__(self, connection: Connection, fuse: Fuse) -> None:
        self._connection = connection
        self._fuse = fuse

    def execute(self, *arguments: Any) -> Any:
        if self._fuse.burns():
            raise psycopg.OperationalError("gone")
        return self._connection.execute(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def fuse_database(database: Database, fuse: Fuse, patch: pytest.MonkeyPatch) -> None:
    """Let every statement fail, and every commit, before it and after."""
    original = database.transaction

    @contextmanager
    def transaction() -> Iterator[Connection]:
        with original() as connection:
            yield cast(Connection, FusedConnection(connection, fuse))
            if fuse.burns():
                raise psycopg.OperationalError("gone before the commit")
        if fuse.burns():
            raise Unavailable("postgres", "gone after the commit")

    patch.setattr(database, "transaction", transaction)


def fuse_sessions(sessions: RedisSessions, fuse: Fuse, patch: pytest.MonkeyPatch) -> None:
    """Let every call fail, before it did anything and after."""

    def fused(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if fuse.burns():
                raise Unavailable("redis", "gone before")
            result = original(*arguments, **named)
            if fuse.burns():
                raise Unavailable("redis", "gone after")
            return result

        return call

    for name in ("start", "get", "rotate", "end", "end_all"):
        patch.setattr(sessions, name, fused(getattr(sessions, name)))


class World:
    """The API, a fuse in its stores, and what is true afterwards."""

    def __init__(self, gateway: Gateway, fuse: Fuse) -> None:
        self.gateway = gateway
        self.fuse = fuse
        self.email = ""
        self.user_id = ""

    def begin(self) -> None:
        """Start with a new person."""
        self.fuse.disarm()
        self.user_id = self.gateway.add_user(Role.OPERATOR)
        user = self.gateway.container.adapters.people.get(self.user_id)
        assert user is not None
        self.email = user.email

    def sign_in(self, password: str = PASSWORD) -> Answered:
        return self.gateway.sign_in(self.email, password)

    def lives(self, signed_in: Answered) -> bool:
        return self.gateway.verdict(signed_in.body["access_token"])["kind"] == "user"

    def sessions(self) -> int:
        return len(self.gateway.container.adapters.sessions.of_user(self.user_id))

    def rows(self, action: str, outcome: str = "done") -> int:
        with self.gateway.container.adapters.database.transaction() as connection:
            found = connection.execute(
                "SELECT count(*) AS n FROM audit_log WHERE action = %s AND target = %s AND outcome = %s",
                (action, self.user_id, outcome),
            ).fetchone()
        assert found is not None
        return int(found["n"])


@pytest.fixture(params=["once", "and stays away"])
def stays(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "and stays away")


@pytest.fixture
def world(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> World:
    gateway.container.__dict__["rate_limits"] = type("Unlimited", (), {"spend": lambda *_: []})()
    fuse = Fuse()
    fuse_database(gateway.container.adapters.database, fuse, monkeypatch)
    fuse_sessions(gateway.container.adapters.sessions, fuse, monkeypatch)
    return World(gateway, fuse)


def at_every_step(world: World, stays: bool, story: Callable[[Callable[[], None]], Answered]) -> None:
    """Play ``story`` with a failure at step 1, 2, 3 … until one goes through without; it calls its argument to arm."""
    number = 0
    while True:
        number += 1
        world.begin()
        try:
            answer = story(lambda n=number: world.fuse.arm(n, stays=stays))  # type: ignore[misc]
        finally:
            burnt = world.fuse.steps >= number
        if not burnt:
            assert answer.status < 300, answer.raw
            break
        assert answer.status in {200, 204, 503, 401}, (number, answer.raw)
    assert number > 6, "fewer steps mean that the fuse was not in the way"


def test_a_sign_in_without_its_row_does_not_happen(world: World, stays: bool) -> None:
    def story(arm: Callable[[], None]) -> Answered:
        arm()
        answer = world.sign_in()
        steps, world.fuse.burns_at = world.fuse.steps, 0
        if answer.status == 200:
            assert world.rows("auth.login") == 1
            assert world.lives(answer)
        else:
            # A row without a session is possible when the commit's answer is lost; tokens without a row are not.
            assert answer.body.get("access_token") is None
            assert world.rows("auth.login") <= 1
            assert stays or world.sessions() == 0
        world.fuse.steps = steps
        return answer

    at_every_step(world, stays, story)


def test_a_refresh_without_its_row_hands_out_nothing(world: World, stays: bool) -> None:
    def story(arm: Callable[[], None]) -> Answered:
        signed_in = world.sign_in()
        token = {"refresh_token": signed_in.body["refresh_token"]}
        arm()
        answer = world.gateway("POST", "/api/v1/auth/refresh", token)
        steps, world.fuse.burns_at = world.fuse.steps, 0
        if answer.status == 200:
            assert world.rows("auth.refresh") == 1
        else:
            assert world.rows("auth.refresh") <= 1
            again = world.gateway("POST", "/api/v1/auth/refresh", token)
            spent = again.body.get("code") == "refresh_reused"
            assert again.status == 200 or (spent and not world.lives(signed_in))
            assert world.rows("auth.refresh_reused", "denied") == spent
        world.fuse.steps = steps
        return answer

    at_every_step(world, stays, story)


def test_a_database_that_is_away_costs_no_refresh_token(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.add_user(Role.VIEWER, "v@example.com")
    token = {"refresh_token": gateway.sign_in("v@example.com").body["refresh_token"]}
    fuse = Fuse()
    with monkeypatch.context() as patch:
        fuse_database(gateway.container.adapters.database, fuse, patch)
        fuse.arm(1, stays=True)
        assert gateway("POST", "/api/v1/auth/refresh", token).status == 503
    assert gateway("POST", "/api/v1/auth/refresh", token).status == 200


@pytest.mark.parametrize("change", [{"role": "guest"}, {"disabled": True}])
def test_rights_are_taken_away_with_their_row_and_their_sessions_or_not_at_all(
    world: World, stays: bool, change: dict[str, Any]
) -> None:
    admin = world.gateway.as_role(Role.ADMIN)

    def story(arm: Callable[[], None]) -> Answered:
        signed_in = world.sign_in()
        verdict = world.gateway.verdict(admin)
        monkey = pytest.MonkeyPatch()
        monkey.setattr(
            world.gateway, "verdict", lambda _: verdict
        )  # the administrator's session is not the subject
        try:
            arm()
            answer = world.gateway("PATCH", f"/api/v1/users/{world.user_id}", change, token=admin)
            steps, world.fuse.burns_at = world.fuse.steps, 0
        finally:
            monkey.undo()
        user = world.gateway.container.adapters.people.get(world.user_id)
        assert user is not None
        changed = user.role is Role.GUEST or user.disabled_at is not None
        assert world.rows("user.change") == changed, "the change and its row are one"
        assert not (changed and world.lives(signed_in)), "nobody goes on with what was taken away"
        assert answer.status == 503 or changed
        world.fuse.steps = steps
        return answer

    at_every_step(world, stays, story)


def reset_by_link(world: World, signed_in: Answered, arm: Callable[[], None]) -> Answered:
    user = world.gateway.container.adapters.people.get(world.user_id)
    assert user is not None
    from farwatch.domain.rbac import COMMAND_LINE
    from farwatch.http.clock import now_ms

    link = world.gateway.container.auth.reset_link(COMMAND_LINE, user, now_ms())
    body = {"token": re.split("reset=", link)[1], "new_password": OTHER}
    arm()
    return world.gateway("PUT", "/api/v1/auth/password-reset", body)


def change_own(world: World, signed_in: Answered, arm: Callable[[], None]) -> Answered:
    mine = world.sign_in().body["access_token"]
    body = {"current_password": PASSWORD, "new_password": OTHER}
    verdict = world.gateway.verdict(mine)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.gateway, "verdict", lambda _: verdict)
        arm()
        return world.gateway("PUT", "/api/v1/auth/password", body, token=mine)


@pytest.mark.parametrize(
    ("how", "action"), [(reset_by_link, "auth.password_reset"), (change_own, "auth.password_change")]
)
def test_a_new_password_ends_old_sessions_and_has_its_row_or_is_not_set(
    world: World,
    stays: bool,
    how: Callable[[World, Answered, Callable[[], None]], Answered],
    action: str,
) -> None:
    def story(arm: Callable[[], None]) -> Answered:
        stolen = world.sign_in()
        answer = how(world, stolen, arm)
        steps, world.fuse.burns_at = world.fuse.steps, 0
        set_anew = world.sign_in(OTHER).status == 200
        assert world.rows(action) == set_anew
        assert not (set_anew and world.lives(stolen))
        assert answer.status == 503 or set_anew
        world.fuse.steps = steps
        return answer

    at_every_step(world, stays, story)


@pytest.mark.parametrize("path", ["/api/v1/auth/logout", "/api/v1/auth/logout-everywhere"])
def test_signing_out_is_said_to_have_worked_only_when_it_has_and_is_written(
    world: World, stays: bool, path: str
) -> None:
    def story(arm: Callable[[], None]) -> Answered:
        signed_in = world.sign_in()
        token = signed_in.body["access_token"]
        verdict = world.gateway.verdict(token)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(world.gateway, "verdict", lambda _: verdict)
            arm()
            answer = world.gateway("POST", path, token=token)
        steps, world.fuse.burns_at = world.fuse.steps, 0
        rows = world.rows("auth.logout") + world.rows("auth.logout_everywhere")
        if answer.status < 300:
            assert (rows, world.lives(signed_in)) == (1, False)
        else:
            assert not (rows and world.lives(signed_in)), "what is written has happened"
        world.fuse.steps = steps
        return answer

    at_every_step(world, stays, story)


def test_a_sign_in_on_the_old_password_does_not_outlive_a_reset_that_overtakes_it(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_id = gateway.add_user(Role.VIEWER, "v@example.com")
    passwords = gateway.container.adapters.passwords
    real = passwords.fits

    def slow(password: str, stored: str | None) -> bool:
        fits = real(password, stored)
        gateway.container.adapters.people.set_password(
            user_id, passwords.hash(OTHER), 0
        )  # the reset, meanwhile
        return fits

    with monkeypatch.context() as patch:
        patch.setattr(passwords, "fits", slow)
        assert gateway.sign_in("v@example.com").status == 401
    assert gateway.container.adapters.sessions.of_user(user_id) == []
    assert gateway.sign_in("v@example.com", OTHER).status == 200
