"""Messages are lost, doubled and shuffled, workers die between any two steps, far sides are down: nobody is told twice,
nobody is told late that something began, and everybody who was told that it began is told that it ended.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import pytest

from farwatch.domain.events import EventKind
from farwatch.domain.routing import Channel
from farwatch.domain.severity import Severity
from farwatch.domain.signals import Signal, SignalState
from farwatch.errors import Unavailable
from farwatch.wire.messages import encode_event
from tests.unit.notify.conftest import populate
from tests.unit.notify.makers import a_signal
from tests.unit.notify.world import FarSide, Killed, World

HOSTS = 25


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_whatever_fails_everybody_is_told_once_and_in_order(postgres_url: str, seed: int) -> None:
    storm = Storm(World(postgres_url, seed=seed, lose=0.15, double=0.25), HOSTS)
    storm.begin()
    storm.end()
    storm.calm_down()
    storm.check()
    storm.world.database.close()


class Storm:
    """Hosts that go through trouble at once, on a back end where everything that can fail does."""

    def __init__(self, world: World, hosts: int) -> None:
        self.world = world
        populate(world)
        world.add_user("usr_bob")
        self.cpu = [a_signal(host_id=f"host_{n}", host_name=f"web-{n}") for n in range(hosts)]
        self.disk = [
            replace(signal, source="disk", fingerprint=f"disk-{signal.host_id}", severity=Severity.CRITICAL)
            for signal in self.cpu
        ]
        self.killed_after_sending: set[str] = set()
        for far in world.far.values():
            far.before = self._fail_before
            far.after = lambda far=far: self._die_after(far)  # type: ignore[misc]  # a default binds the loop's value

    def _fail_before(self) -> None:
        chance = self.world.rng.random()
        if chance < 0.05:
            raise Killed
        if chance < 0.20:
            raise Unavailable("far", "HTTP 503")

    def _die_after(self, far: FarSide) -> None:
        if self.world.rng.random() < 0.03:
            self.killed_after_sending.add(far.arrived[-1][1])
            raise Killed

    def begin(self) -> None:
        """Every host fires, some a second and worse signal; the topic is down one time in five."""
        world = self.world
        for cpu, disk in zip(self.cpu, self.disk, strict=True):
            world.queues.down = world.rng.random() < 0.2
            world.signal(cpu)
            if world.rng.random() < 0.5:
                world.signal(disk)
            self._handle(world.rng.randrange(4))
        world.queues.down = False

    def end(self) -> None:
        """Every signal ends, in any order, with late copies of the firing ones in between."""
        world = self.world
        for number in world.rng.sample(range(len(self.cpu)), len(self.cpu)):
            world.now += 1000
            both = [self.cpu[number], self.disk[number]]
            for signal in world.rng.sample(both, 2):
                world.signal(_ended(signal, world.now))
                world.signal(self.cpu[number])
            self._handle(world.rng.randrange(3))

    def calm_down(self) -> None:
        """Work through the queues and sweep until everything is settled."""
        for _ in range(80):
            self._handle(len(self.world.queues.waiting) * 3)
            if not self.world.queues.waiting and self.world.settled():
                return
            self.world.sweep(self.world.rng.choice([30, 61, 120, 300]))
        raise AssertionError("it never settled")

    def _handle(self, most: int) -> None:
        for _ in range(most):
            if not self.world.queues.waiting:
                return
            channel, event = self.world.queues.take()
            try:
                self.world.notify.handle(event, channel)
            except Killed:
                self.world.queues.waiting.append((channel, encode_event(event)))

    def check(self) -> int:
        """Check the promises at every far side; return how many deliveries there were."""
        assert {state for _, _, state in self.world.states()} == {"delivered"}
        for far in self.world.far.values():
            self._check_far_side(far)
        for user in ("usr_ada", "usr_bob"):
            kinds = [kept.kind for kept in self.world.inbox.find(user, unread=True, limit=1_000_000)]
            assert kinds.count(EventKind.OPENED) == len(self.cpu)
            assert kinds.count(EventKind.RESOLVED) == len(self.cpu)
        return sum(self.world.states().values())

    def _check_far_side(self, far: FarSide) -> None:
        """A second copy is allowed only where the worker died after sending, and carries the id of the first."""
        arrived: dict[tuple[str, str], list[tuple[int, EventKind]]] = defaultdict(list)
        seen: set[str] = set()
        for recipient, delivery_id, event in far.arrived:
            if delivery_id in seen:
                assert delivery_id in self.killed_after_sending
                continue
            seen.add(delivery_id)
            arrived[recipient, event.incident_id].append((event.seq, event.kind))
        recipients = 2 if far is self.world.far[Channel.EMAIL] else 1
        assert len(arrived) == recipients * len(self.cpu)
        for story in arrived.values():
            assert story == sorted(story)
            kinds = [kind for _, kind in story]
            assert kinds[0] is EventKind.OPENED
            assert kinds[-1] is EventKind.RESOLVED
            assert kinds.count(EventKind.OPENED) == kinds.count(EventKind.RESOLVED) == 1


def _ended(signal: Signal, at: int) -> Signal:
    return replace(signal, state=SignalState.RESOLVED, at=at)
