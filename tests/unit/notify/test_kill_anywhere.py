"""A worker killed at any database statement, at any commit, before or after: the story comes out the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import pytest

from farwatch.adapters.postgres.database import Connection, Database
from farwatch.domain.events import EventKind
from farwatch.domain.routing import Channel
from farwatch.domain.signals import SignalState
from farwatch.wire.messages import encode_event
from tests.unit.notify.makers import a_signal
from tests.unit.notify.world import Killed, World


class Fuse:
    """Kills the worker at the ``burns_at``-th step; 0 never."""

    def __init__(self) -> None:
        self.steps = 0
        self.burns_at = 0

    def step(self) -> None:
        self.steps += 1
        if self.steps == self.burns_at:
            raise Killed


class FusedConnection:
    """A connection that counts what is done on it."""

    def __init__(self, connection: Connection, fuse: Fuse) -> None:
        self._connection = connection
        self._fuse = fuse

    def execute(self, *arguments: Any) -> Any:
        self._fuse.step()
        return self._connection.execute(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class FusedDatabase(Database):
    """A database whose user can be killed at every statement, before every commit and after it."""

    def __init__(self, url: str, fuse: Fuse) -> None:
        super().__init__(url)
        self._fuse = fuse

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        with super().transaction() as connection:
            yield cast(Connection, FusedConnection(connection, self._fuse))
            self._fuse.step()
        self._fuse.step()


@pytest.mark.long
def test_a_worker_killed_anywhere_changes_nothing_about_who_is_told_what(postgres_url: str) -> None:
    fuse = Fuse()
    world = World(postgres_url, database=FusedDatabase(postgres_url, fuse))
    world.add_user("usr_ada")  # told by mail and in the app; the other channels differ only in the far side
    number = 0
    while True:
        number += 1
        fuse.steps, fuse.burns_at = 0, number
        survived = play(world, fuse, host=f"host_{number}")
        fuse.burns_at = 0
        check(world, f"host_{number}")
        if survived:
            break
    assert number > 60, "the story has many steps; fewer means that the fuse was not in the way"
    world.database.close()


def play(world: World, fuse: Fuse, host: str) -> bool:
    """Play trouble and its end on one host, restarting whoever is killed; return whether nobody was."""
    kills = 0

    def until_done(work: Callable[[], None]) -> None:
        nonlocal kills
        try:
            work()
        except Killed:
            kills += 1
            fuse.burns_at = 0
            work()  # the queue delivers the message again

    signal = a_signal(host_id=host, host_name=host, at=world.now, started_at=world.now - 1)
    until_done(lambda: world.signal(signal))
    until_done(lambda: pump(world))
    world.now += 1000
    until_done(lambda: world.signal(replace(signal, state=SignalState.RESOLVED, at=world.now)))
    until_done(lambda: pump(world))
    for _ in range(2):
        until_done(lambda: world.sweep(120))
        until_done(lambda: pump(world))
    return kills == 0


def pump(world: World) -> None:
    while world.queues.waiting:
        channel, event = world.queues.take()
        try:
            world.notify.handle(event, channel)
        except Killed:
            world.queues.waiting.append((channel, encode_event(event)))
            raise


def check(world: World, host: str) -> None:
    mails = world.far[Channel.EMAIL].arrived
    arrived = {delivery_id: event.kind for _, delivery_id, event in mails if event.host_id == host}
    assert list(arrived.values()) == [EventKind.OPENED, EventKind.RESOLVED], host
    kept = [n for n in world.inbox.find("usr_ada", unread=True, limit=10) if f"on {host}:" in n.title]
    assert sorted(n.kind for n in kept) == [EventKind.OPENED, EventKind.RESOLVED], host
    assert world.settled(), host
