"""The decisions of delivery: what to send next, and what an answer means.

This is a state machine without I/O.  The sender asks :meth:`Delivery.next` what to do, does it, and tells the
outcome to :meth:`Delivery.answered`, which returns what must happen to the spool.  All times are monotonic
seconds given as arguments.

The protocol is go-back-N.  Batches of one spool id are sent strictly in order, a few may be unconfirmed, and
a batch is done only when the back end's ``stored_through`` covers it.  When ``stored_through`` stands still
for too long, sending goes back to the oldest unconfirmed batch; the back end drops what it has already.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

from collector_agent.spool import Head


class Policy(NamedTuple):
    """Numbers of the protocol, in seconds unless the name says otherwise."""

    window_batches: int = 32
    replay_per_second: float = 15.0
    stall: float = 10.0
    stall_max: float = 300.0
    idle_poll: float = 8.0
    busy_poll: float = 0.25
    poll_max: float = 30.0
    heartbeat: float = 60.0
    backoff_first: float = 1.0
    backoff_max: float = 60.0
    retry_after_max: float = 600.0
    unauthorised_wait: float = 60.0


class Send(NamedTuple):
    """Send batch ``seq``; ``oldest`` is the lowest number still held."""

    spool_id: str
    seq: int
    oldest: int


class Poll(NamedTuple):
    """Ask how far the back end has stored this spool."""

    spool_id: str


class Wait(NamedTuple):
    """Do nothing until the monotonic second ``until``, or until a batch is spooled."""

    until: float


Action = Send | Poll | Wait
Request = Send | Poll


class Accepted(NamedTuple):
    """The back end took the request and says how far it has stored."""

    stored_through: int


class Refused(NamedTuple):
    """The back end will never take this batch as it is."""

    reason: str


class TooLarge(NamedTuple):
    """The batch is over a limit of the back end."""


class Unauthorised(NamedTuple):
    """The credential is not, or no longer, good."""


class Failed(NamedTuple):
    """No useful answer: the network, an overloaded or a broken back end."""

    retry_after: float | None = None


Outcome = Accepted | Refused | TooLarge | Unauthorised | Failed


class Confirm(NamedTuple):
    """Forget the batches up to ``through``: they are stored."""

    spool_id: str
    through: int


class Quarantine(NamedTuple):
    """Put the batch aside: it was refused."""

    spool_id: str
    seq: int
    reason: str


class Split(NamedTuple):
    """Cut the batch in two: it is too large."""

    spool_id: str
    seq: int


class Renew(NamedTuple):
    """Go on under another spool id: the back end has seen numbers of this one that were never given out."""

    spool_id: str


Effect = Confirm | Quarantine | Split | Renew


class Delivery:
    """Decides what to send next.  One instance serves one agent for the life of the process."""

    def __init__(
        self,
        policy: Policy | None = None,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._policy = policy or Policy()
        self._uniform = uniform
        self._not_before = float("-inf")
        self._failures = 0
        self._went_back = 0
        self._last_trouble: Request | None = None
        self._last_send = float("-inf")
        self._last_answer = float("-inf")
        self._start_on("")

    def _start_on(self, spool_id: str) -> None:
        self._spool_id = spool_id
        self._asked = False
        self._sent = 0  # highest number sent since the last time of going back
        self._moved_at = 0.0
        self._patience = self._policy.stall
        self._asked_again = False
        self._poll_delay = 0.0

    @property
    def failures(self) -> int:
        """Requests in a row that got no useful answer."""
        return self._failures

    @property
    def went_back(self) -> int:
        """How often what was sent and not confirmed in time was begun anew."""
        return self._went_back

    def next(  # noqa: PLR0911 - one way out for each thing that can be due, in order of precedence
        self, now: float, head: Head | None, next_after: Callable[[str, int], int | None]
    ) -> Action:
        """Return what to do at ``now``; ``next_after(spool_id, seq)`` looks into the spool."""
        if now < self._not_before:
            return Wait(self._not_before)
        if head is None:
            return self._heartbeat(now)
        if head.spool_id != self._spool_id:
            self._start_on(head.spool_id)
        if not self._asked:
            return Poll(head.spool_id)
        self._sent = max(self._sent, head.oldest - 1)
        unconfirmed = self._sent - head.oldest + 1
        if unconfirmed > 0 and now - self._moved_at >= self._patience:
            if not self._asked_again:
                return Poll(head.spool_id)
            self._go_back(now, head)
            unconfirmed = 0
        following = next_after(head.spool_id, self._sent)
        # Behind a gap (a refused batch) the back end takes a batch only once all before the gap is stored.
        in_order = following is not None and (unconfirmed == 0 or following == self._sent + 1)
        if following is not None and in_order and unconfirmed < self._policy.window_batches:
            ready = self._last_send + 1.0 / self._policy.replay_per_second
            if now < ready:
                return Wait(ready)
            return Send(head.spool_id, following, head.oldest)
        if unconfirmed == 0:
            return Wait(float("inf"))
        first = self._policy.idle_poll if following is None else self._policy.busy_poll
        poll_at = self._last_answer + max(first, self._poll_delay)
        if now >= poll_at:
            return Poll(head.spool_id)
        return Wait(min(poll_at, self._moved_at + self._patience))

    def _heartbeat(self, now: float) -> Action:
        """With nothing to deliver, ask now and then: an agent that samples hourly hears of a new interval."""
        if not self._spool_id:
            return Wait(float("inf"))
        due = self._last_answer + self._policy.heartbeat
        return Poll(self._spool_id) if now >= due else Wait(due)

    def _go_back(self, now: float, head: Head) -> None:
        self._went_back += 1
        self._sent = head.oldest - 1
        self._patience = min(self._policy.stall_max, 2 * self._patience)
        self._moved_at = now
        self._asked_again = False

    def answered(self, now: float, request: Request, head: Head | None, outcome: Outcome) -> list[Effect]:
        """Take in the outcome of ``request``, made while the spool stood at ``head`` (``None``: empty)."""
        match outcome:
            case Accepted():
                return self._accepted(now, request, head, outcome.stored_through)
            case Failed():
                return self._failed(now, outcome.retry_after)
            case Unauthorised():
                self._failures += 1
                self._not_before = now + self._uniform(0.9, 1.1) * self._policy.unauthorised_wait
                return []
            case Refused() | TooLarge():
                return self._not_taken(now, request, outcome)

    def _accepted(self, now: float, request: Request, head: Head | None, stored_through: int) -> list[Effect]:
        self._failures = 0
        self._last_trouble = None
        self._last_answer = now
        if head is None:
            return []
        if stored_through > head.last_seq:
            self._start_on("")
            return [Renew(head.spool_id)]
        if isinstance(request, Send):
            if self._sent < head.oldest:
                self._moved_at = now
                self._asked_again = False
            self._sent = max(self._sent, request.seq)
            self._last_send = now
            self._poll_delay = 0.0
        else:
            self._asked = True
            self._asked_again = now - self._moved_at >= self._patience
            self._poll_delay = min(self._policy.poll_max, max(self._policy.busy_poll, 2 * self._poll_delay))
        if stored_through < head.oldest:
            return []
        self._sent = max(self._sent, stored_through)
        self._moved_at = now
        self._patience = self._policy.stall
        self._asked_again = False
        self._poll_delay = 0.0
        return [Confirm(head.spool_id, stored_through)]

    def _failed(self, now: float, retry_after: float | None) -> list[Effect]:
        ceiling = min(self._policy.backoff_max, self._policy.backoff_first * 2.0 ** min(self._failures, 16))
        self._failures += 1
        delay = self._uniform(0.0, ceiling)
        if retry_after is not None:
            delay += min(self._policy.retry_after_max, max(0.0, retry_after))
        self._not_before = now + max(0.1, delay)
        return []

    def _not_taken(self, now: float, request: Request, outcome: Refused | TooLarge) -> list[Effect]:
        if isinstance(request, Poll):
            # An older back end without this question: sending answers it as well.
            self._asked = True
            self._asked_again = True
            self._last_answer = now
            self._poll_delay = self._policy.poll_max
            return []
        if request == self._last_trouble:
            # It was refused before and is still in the spool, so the spool cannot be written: do not spin.
            self._failed(now, None)
        else:
            self._failures = 0
        self._last_trouble = request
        if isinstance(outcome, TooLarge):
            return [Split(request.spool_id, request.seq)]
        return [Quarantine(request.spool_id, request.seq, outcome.reason)]
