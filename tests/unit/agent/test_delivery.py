"""The decisions of delivery, in virtual time, against a back end and a network that misbehave."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector_agent import batch, delivery
from collector_agent.delivery import (
    Accepted,
    Confirm,
    Delivery,
    Failed,
    Policy,
    Poll,
    Send,
    Unauthorised,
    Wait,
)
from collector_agent.log import Log
from collector_agent.spool import Head, Spool
from tests.unit.agent.payloads import number_of, payload

POLICY = Policy()


def memory_spool() -> Spool:
    return Spool(None, Log("error", stream=io.StringIO()))


class World:
    """A spool, the decisions, a network and a back end, on one virtual clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.spool = memory_spool()
        self.delivery = Delivery(POLICY, uniform=lambda low, high: (low + high) / 2)
        self.counter = 0
        self.queue: list[tuple[Send, list[int]]] = []
        self.stored: list[int] = []
        self.stored_through: dict[str, int] = {}
        self.quarantined: list[int] = []
        self.sent_at: list[float] = []

    def take(self, samples: int = 1) -> None:
        self.counter += 1
        self.spool.append(payload(self.counter, samples))

    def work_queue(self) -> None:
        for send, numbers in self.queue:
            expected = max(self.stored_through.get(send.spool_id, 0) + 1, send.oldest)
            if send.seq == expected:
                self.stored_through[send.spool_id] = send.seq
                self.stored += numbers
        self.queue.clear()

    def step(self, fate: str = "good") -> bool:
        """Do what is due; return false when there is nothing to do but wait (the clock then moves on)."""
        head = self.spool.head()
        action = self.delivery.next(self.now, head, self.spool.next_after)
        if isinstance(action, Wait):
            self.now = min(action.until, self.now + 60.0)
            return False
        outcome = self._fate(action, fate)
        self.now += 0.01
        for effect in self.delivery.answered(self.now, action, head, outcome):
            self._apply(effect)
        return True

    def _fate(self, action: Send | Poll, fate: str) -> delivery.Outcome:
        if fate == "lost request":
            return Failed()
        if fate == "busy":
            return Failed(retry_after=7.0)
        if fate == "unauthorised":
            return Unauthorised()
        if isinstance(action, Send):
            if fate == "refused":
                return delivery.Refused("no")
            if fate == "too large":
                return delivery.TooLarge()
            self.sent_at.append(self.now)
            item = self.spool.read(action.spool_id, action.seq)
            assert item is not None
            self.queue.append((action, [number_of(item)]))
        through = self.stored_through.get(action.spool_id, 0)
        return Failed() if fate == "lost answer" else Accepted(through)

    def _apply(self, effect: delivery.Effect) -> None:
        match effect:
            case Confirm(spool_id, through):
                self.spool.confirm(spool_id, through)
            case delivery.Quarantine(spool_id, seq, _):
                item = self.spool.read(spool_id, seq)
                assert item is not None
                self.quarantined.append(number_of(item))
                self.spool.quarantine(spool_id, seq, "no")
            case delivery.Split(spool_id, seq):
                item = self.spool.read(spool_id, seq)
                assert item is not None
                parts = batch.split(item.data)
                if parts is None:
                    self.quarantined.append(number_of(item))
                    self.spool.quarantine(spool_id, seq, "no")
                else:
                    self.spool.split(spool_id, seq, parts)
            case delivery.Renew(spool_id):
                self.spool.renew(spool_id)


FATES = (
    "good", "good", "good", "lost request", "lost answer", "busy", "unauthorised", "refused", "too large",
    "take", "take", "work", "work", "lose queue", "wait",
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(FATES), max_size=120))
def test_whatever_happens_every_batch_is_stored_once_and_in_order_or_refused(events: list[str]) -> None:
    world = World()
    for event in events:
        if event == "take":
            world.take()
        elif event == "work":
            world.work_queue()
        elif event == "lose queue":
            world.queue.clear()
        elif event == "wait":
            world.now += 11.0
        else:
            world.step(event)
    world.take()
    for _ in range(2000):
        world.step()
        world.work_queue()
        if world.spool.batches == 0:
            break
    assert world.spool.batches == 0, "delivery has come to a halt"
    assert world.stored == sorted(set(world.stored))
    # A batch whose answer was lost may be stored and then refused when it is sent again.
    assert {*world.stored, *world.quarantined} == set(range(1, world.counter + 1))


def test_a_batch_is_kept_until_it_is_stored_and_not_merely_accepted() -> None:
    world = World()
    world.take()
    while not world.queue:
        world.step()
    assert world.spool.batches == 1
    world.work_queue()
    while world.spool.batches:
        world.step()
    assert world.stored == [1]


def test_several_batches_may_be_unconfirmed_but_not_more_than_the_window() -> None:
    world = World()
    for _ in range(100):
        world.take()
    for _ in range(500):
        world.step()
        if world.now > 1009:
            break
    assert len(world.sent_at) == POLICY.window_batches


def test_what_a_back_end_has_forgotten_is_sent_again_after_ten_seconds_in_order() -> None:
    world = World()
    for _ in range(5):
        world.take()
    while len(world.queue) < 5:
        world.step()
    first_round = list(world.sent_at)
    world.queue.clear()
    while len(world.queue) < 5:
        world.step()
    assert [send.seq for send, _ in world.queue] == [1, 2, 3, 4, 5]
    assert 10.0 <= world.sent_at[5] - first_round[0] < 13.0


def test_a_back_end_that_never_stores_is_asked_ever_more_seldom() -> None:
    world = World()
    world.take()
    while world.now < 1000 + 3600:
        world.step()
        world.queue.clear()
    gaps = [b - a for a, b in zip(world.sent_at, world.sent_at[1:], strict=False)]
    assert gaps[0] < 20
    assert gaps[-1] >= POLICY.stall_max
    assert len(world.sent_at) < 30


def test_a_backlog_is_replayed_at_a_bounded_rate() -> None:
    world = World()
    for _ in range(200):
        world.take()
    while world.spool.batches:
        world.step()
        world.work_queue()
    took = world.sent_at[-1] - world.sent_at[0]
    assert 199 / POLICY.replay_per_second <= took < 1.5 * 200 / POLICY.replay_per_second
    assert world.stored == list(range(1, 201))


def test_a_new_start_asks_first_and_sends_only_what_is_not_stored() -> None:
    world = World()
    for _ in range(3):
        world.take()
    head = world.spool.head()
    assert head is not None
    world.stored_through[head.spool_id] = 2
    while world.spool.batches:
        world.step()
        world.work_queue()
    assert world.stored == [3]


def test_a_back_end_that_knows_more_than_was_sent_makes_numbering_start_again() -> None:
    world = World()
    world.take()
    head = world.spool.head()
    assert head is not None
    world.stored_through[head.spool_id] = 40
    while world.spool.batches:
        world.step()
        world.work_queue()
    assert world.stored == [1]


def test_a_refused_credential_is_tried_once_a_minute() -> None:
    world = World()
    world.take()
    asked = sum(world.step("unauthorised") for _ in range(20))
    assert asked == pytest.approx((world.now - 1000) / POLICY.unauthorised_wait, abs=1.5)


def test_back_off_grows_to_a_minute_and_honours_retry_after() -> None:
    decisions = Delivery(POLICY, uniform=lambda _, high: high)
    head = Head("s", 1, 1)
    waits = []
    now = 0.0
    for _ in range(10):
        action = decisions.next(now, head, lambda *_: 1)
        assert isinstance(action, Poll | Send)
        decisions.answered(now, action, head, Failed())
        waiting = decisions.next(now, head, lambda *_: 1)
        assert isinstance(waiting, Wait)
        waits.append(waiting.until - now)
        now = waiting.until
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    decisions.answered(now, Poll("s"), head, Failed(retry_after=120.0))
    waiting = decisions.next(now, head, lambda *_: 1)
    assert isinstance(waiting, Wait)
    assert waiting.until - now >= 120


def test_an_idle_agent_asks_now_and_then_so_that_it_hears_of_a_new_interval() -> None:
    world = World()
    world.take()
    while world.spool.batches:
        world.step()
        world.work_queue()
    began = world.now
    polls = 0
    while world.now < began + 601:
        polls += world.step()
    assert polls == 10
