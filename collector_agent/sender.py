"""Carries out what :mod:`collector_agent.delivery` decides: reads the spool and speaks HTTP."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from collector_agent import batch, delivery
from collector_agent.delivery import Delivery, Poll, Send, Wait
from collector_agent.log import Log
from collector_agent.renewal import Renewal
from collector_agent.spool import Spool
from collector_agent.transport import Answer, Transport, TransportError

BATCHES_PATH = "/api/v1/metrics/batches"
MIN_INTERVAL, MAX_INTERVAL = 1.0, 3600.0
_LONGEST_REQUEST = 30.0
_SKEW_WORTH_A_WARNING = 30.0


@dataclass
class Learned:
    """What the back end has told the agent, and how delivery goes."""

    told_interval_s: float | None = None
    config_version: str = ""
    clock_skew_s: float | None = None
    last_confirmed_at: float | None = None
    last_error: str = ""
    unauthorised: bool = False
    renewal_error: str = ""
    batches_sent: int = 0
    batches_confirmed: int = 0
    samples_rejected: int = 0


class Sender:
    """Delivers the spool in a thread of its own, so that the network can never hold up sampling."""

    def __init__(
        self,
        spool: Spool,
        transport: Transport,
        log: Log,
        *,
        host_id: str,
        credential: str,
        own: Callable[[], Mapping[str, float]],
        renewal: Renewal | None = None,
        policy: delivery.Policy | None = None,
        jitter_s: float = 0.0,
        on_interval: Callable[[float], None] = lambda _: None,
    ) -> None:
        """``own`` returns the ``self`` part of a message; ``on_interval`` hears of a changed interval.

        With ``renewal``, that says which credential is good now; ``credential`` is then only where it began.
        """
        self._spool = spool
        self._transport = transport
        self._log = log
        self._host_id = host_id
        self._credential = credential
        self._own = own
        self._renewal = renewal
        self._jitter_s = jitter_s
        self._on_interval = on_interval
        self._delivery = Delivery(policy)
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.learned = Learned()

    def start(self) -> None:
        """Begin to deliver."""
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)
        self._thread.start()

    def spooled(self) -> None:
        """Say that there is a new batch."""
        self._wake.set()

    def check(self) -> None:
        """Break off a request that never ends; to be called now and then from another thread."""
        if self._transport.abort_if_older(_LONGEST_REQUEST):
            self._log.warning("request broken off", seconds=_LONGEST_REQUEST)

    def stop(self, within: float) -> None:
        """Stop delivering; an unfinished request gets ``within`` seconds and is then broken off."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(within)
            if self._thread.is_alive():
                self._transport.abort_if_older(0.0)
                self._thread.join(1.0)
        self._transport.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                pause = self.step(time.monotonic())
            except Exception as error:  # noqa: BLE001 - delivery must outlive a fault; it is said loudly
                self._log.error("delivery failed unexpectedly", error=f"{type(error).__name__}: {error}")
                pause = 5.0
            if pause > 0:
                woken = self._wake.wait(None if pause == float("inf") else pause)
                self._wake.clear()
                if woken and self._jitter_s > 0:
                    # Hosts sample at the same moment; they need not all speak at the same moment.
                    self._stop.wait(random.uniform(0.0, self._jitter_s))  # noqa: S311 - spreads load

    def _bearer(self) -> str:
        return self._credential if self._renewal is None else self._renewal.credential

    def step(self, now: float) -> float:
        """Do the one thing that is due at ``now``; return the seconds until the next (0 for at once)."""
        if self._renewal is not None:
            self._renewal.step(now)
        head, went_back = self._spool.head(), self._delivery.went_back
        action = self._delivery.next(now, head, self._spool.next_after)
        if head is not None and self._delivery.went_back > went_back:
            self._log.seldom(
                "not confirmed",
                60,
                "warning",
                "back end takes batches but does not confirm them, they are kept and sent again",
                spool_id=head.spool_id,
                oldest=head.oldest,
            )
        if isinstance(action, Wait):
            return max(0.0, action.until - now)
        outcome = self._ask(action) if isinstance(action, Poll) else self._send(action)
        if outcome is None:
            return 0.0
        for effect in self._delivery.answered(time.monotonic(), action, head, outcome):
            self._apply(effect)
        return 0.0

    def _send(self, action: Send) -> delivery.Outcome | None:
        payload = self._spool.read(action.spool_id, action.seq)
        if payload is None:
            return None  # dropped since the decision was made: decide again
        sent_at = time.time()
        body = batch.message(
            payload.data,
            host_id=self._host_id,
            spool_id=action.spool_id,
            seq=action.seq,
            oldest=action.oldest,
            sent_at_ms=round(sent_at * 1000),
            own=self._own(),
        )
        try:
            answer = self._transport.request("POST", BATCHES_PATH, body=body, credential=self._bearer())
        except TransportError as error:
            return self._no_answer(str(error))
        self.learned.batches_sent += 1
        return self._judge(answer, sent_at, sending=True)

    def _ask(self, action: Poll) -> delivery.Outcome:
        sent_at = time.time()
        try:
            answer = self._transport.request(
                "GET", f"{BATCHES_PATH}/progress?spool_id={action.spool_id}", credential=self._bearer()
            )
        except TransportError as error:
            return self._no_answer(str(error))
        return self._judge(answer, sent_at, sending=False)

    def _no_answer(self, reason: str) -> delivery.Failed:
        self.learned.last_error = reason
        self._log.seldom(
            "no answer", 60, "warning", "back end cannot be reached, batches are kept", error=reason
        )
        return delivery.Failed()

    def _judge(self, answer: Answer, sent_at: float, *, sending: bool) -> delivery.Outcome:
        """Turn an answer into an outcome, following the rules of ``docs/agent.md``."""
        status = answer.status
        body = answer.json()
        stored_through = body.get("stored_through") if body is not None else None
        if status in (200, 202) and body is not None and _is_count(stored_through):
            self._learn(body, sent_at)
            return delivery.Accepted(stored_through)
        self.learned.last_error = answer.explain()
        if status in (401, 403):
            return self._refused(answer)
        if sending and status == 413:
            self._log.warning("batch is too large and is split", answer=answer.explain())
            return delivery.TooLarge()
        if sending and status in (400, 422) and answer.problem() is not None:
            self._log.error("batch was refused and is put aside", answer=answer.explain())
            return delivery.Refused(answer.explain())
        if not sending and status in (400, 404, 405, 422) and answer.problem() is not None:
            return delivery.Refused(answer.explain())
        self._log.seldom(
            f"status {status}",
            60,
            "warning",
            "back end cannot take batches now, they are kept",
            answer=answer.explain(),
            retry_after=answer.retry_after,
        )
        return delivery.Failed(answer.retry_after)

    def _refused(self, answer: Answer) -> delivery.Outcome:
        ours = answer.status == 401 and answer.problem() is not None
        if ours and self._renewal is not None and self._renewal.refused():
            return delivery.Failed()
        self.learned.unauthorised = True
        self._log.seldom(
            "unauthorised",
            300,
            "error",
            "back end does not accept this agent's credential, batches are kept",
            answer=answer.explain(),
            hint="enrol again: farwatch-agent enrol --server URL --token fwe_…",
        )
        return delivery.Unauthorised()

    def _learn(self, body: dict[str, Any], sent_at: float) -> None:
        learned = self.learned
        learned.last_error = ""
        learned.unauthorised = False
        if self._renewal is not None:
            self._renewal.accepted()
            self._renewal.told(time.monotonic(), due=body.get("renew_credential") is True)
            learned.renewal_error = self._renewal.error
        rejected = body.get("rejected")
        if _is_count(rejected) and rejected > 0:
            learned.samples_rejected += rejected
            self._log.warning("back end rejected samples", rejected=rejected, errors=body.get("errors"))
        server_time = body.get("server_time")
        if isinstance(server_time, int | float) and not isinstance(server_time, bool):
            learned.clock_skew_s = server_time / 1000 - (sent_at + time.time()) / 2
            if abs(learned.clock_skew_s) > _SKEW_WORTH_A_WARNING:
                self._log.seldom(
                    "skew",
                    3600,
                    "warning",
                    "clock of this host is off",
                    seconds=round(-learned.clock_skew_s, 1),
                )
        if isinstance(body.get("config_version"), str):
            learned.config_version = body["config_version"]
        interval = body.get("interval_s")
        if isinstance(interval, int | float) and not isinstance(interval, bool) and interval > 0:
            interval = min(MAX_INTERVAL, max(MIN_INTERVAL, float(interval)))
            if interval != learned.told_interval_s:
                learned.told_interval_s = interval
                self._on_interval(interval)

    def _apply(self, effect: delivery.Effect) -> None:
        match effect:
            case delivery.Confirm(spool_id, through):
                self.learned.batches_confirmed += self._spool.confirm(spool_id, through)
                self.learned.last_confirmed_at = time.time()
            case delivery.Quarantine(spool_id, seq, reason):
                self._spool.quarantine(spool_id, seq, reason)
            case delivery.Split(spool_id, seq):
                self._split(spool_id, seq)
            case delivery.Renew(spool_id):
                self._log.warning(
                    "back end has stored more than was sent, numbering starts again", spool_id=spool_id
                )
                self._spool.renew(spool_id)

    def _split(self, spool_id: str, seq: int) -> None:
        payload = self._spool.read(spool_id, seq)
        if payload is None:
            return
        parts = batch.split(payload.data)
        if parts is None:
            self._spool.quarantine(spool_id, seq, "too large for the back end and cannot be split further")
        else:
            self._spool.split(spool_id, seq, parts)


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
