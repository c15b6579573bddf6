"""The sender over real HTTP, against a server that misbehaves."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from collector_agent.delivery import Policy
from collector_agent.log import Log
from collector_agent.sender import Sender
from collector_agent.spool import Spool
from collector_agent.transport import Transport
from tests.unit.agent.backend import CREDENTIAL, PROBLEM, Backend
from tests.unit.agent.eventually import eventually
from tests.unit.agent.payloads import payload

FAST = Policy(
    replay_per_second=1000.0,
    stall=0.3,
    stall_max=1.0,
    idle_poll=0.1,
    busy_poll=0.02,
    poll_max=0.2,
    heartbeat=0.3,
    backoff_first=0.02,
    backoff_max=0.2,
    unauthorised_wait=0.2,
)


class Setup:
    def __init__(self, backend: Backend, folder: Path) -> None:
        self.lines = io.StringIO()
        log = Log("info", stream=self.lines)
        self.spool = Spool(folder, log)
        self.intervals: list[float] = []
        self.sender = Sender(
            self.spool,
            Transport(backend.url, timeout=0.5),
            log,
            host_id="host_1",
            credential=CREDENTIAL,
            own=lambda: {"spool_batches": self.spool.batches},
            policy=FAST,
            on_interval=self.intervals.append,
        )
        self.taken = 0

    def take(self, count: int = 1, samples: int = 3) -> None:
        for _ in range(count):
            self.taken += 1
            self.spool.append(payload(self.taken, samples))
            self.sender.spooled()

    def events(self) -> list[str]:
        return [json.loads(line)["event"] for line in self.lines.getvalue().splitlines()]


@pytest.fixture
def setup(backend: Backend, tmp_path: Path) -> Iterator[Setup]:
    setup = Setup(backend, tmp_path / "state")
    setup.sender.start()
    yield setup
    setup.sender.stop(1.0)
    setup.spool.close()


def in_turn(*troubles: Any) -> Callable[[str], Any]:
    """Misbehave in the given ways, one request after another, then behave."""
    left = iter(troubles)
    return lambda _: next(left, None)


def everything_is_stored_once(backend: Backend, setup: Setup, samples: int = 3) -> None:
    eventually(lambda: backend.flush() and setup.spool.batches == 0)
    assert set(backend.samples.values()) == {1}
    values = [series["values"][0] for message in backend.stored for series in message["series"]]
    assert sorted(values) == sorted(n for n in range(1, setup.taken + 1) for _ in range(samples))
    assert values == sorted(values)


@pytest.mark.parametrize(
    "trouble",
    [
        (503, {}, {"title": "busy"}),
        (429, {"Retry-After": "0", "Content-Type": PROBLEM}, {"title": "slow down"}),
        (500, {"Content-Type": "text/html"}, b"<h1>oops</h1>"),
        (302, {"Location": "http://127.0.0.1:1/"}, b""),
        (404, {}, {"message": "Not Found"}),
        (400, {"Content-Type": "text/html"}, b"a proxy speaks, not the back end"),
        (200, {"Content-Type": "text/html"}, b"<html>log in to the network</html>"),
        (202, {}, {"stored_through": "all of it"}),
        (202, {}, [1, 2]),
        (202, {}, b"[" * 100_000),
        (202, {}, b"x" * 400_000),
        "cut",
        "cut after",
        "hang",
    ],
    ids=str,
)
def test_no_misbehaviour_of_the_server_loses_or_doubles_a_sample(
    backend: Backend, setup: Setup, trouble: Any
) -> None:
    backend.lag = 1
    backend.trouble = in_turn(None, trouble, None, trouble, trouble)
    setup.take(10)
    everything_is_stored_once(backend, setup)


def test_a_server_that_is_away_and_comes_back_gets_everything(tmp_path: Path) -> None:
    first = Backend()
    port = int(first.url.split(":")[2].split("/")[0])
    setup = Setup(first, tmp_path / "state")
    setup.sender.start()
    setup.take(3)
    eventually(lambda: setup.spool.batches == 0)
    first.close()
    setup.take(20)
    eventually(lambda: "back end cannot be reached, batches are kept" in setup.events())
    second = Backend(port)
    second.stored_through = first.stored_through
    second.stored, second.samples = first.stored, first.samples
    everything_is_stored_once(second, setup)
    setup.sender.stop(1.0)
    setup.spool.close()
    second.close()


def test_a_server_that_forgets_its_queue_is_sent_everything_again(backend: Backend, setup: Setup) -> None:
    backend.lag = 1000
    setup.take(10)
    eventually(lambda: len(backend.queue) == 10)
    backend.lose_queue()
    backend.lag = 0
    everything_is_stored_once(backend, setup)
    told = "back end takes batches but does not confirm them, they are kept and sent again"
    assert setup.events().count(told) == 1


def test_a_refused_batch_is_put_aside_and_the_rest_goes_on(
    backend: Backend, setup: Setup, tmp_path: Path
) -> None:
    refusal = (
        422,
        {"Content-Type": PROBLEM},
        {"detail": "no", "errors": [{"loc": "series[0]", "msg": "bad"}]},
    )
    backend.lag = 1
    backend.trouble = in_turn(None, None, refusal)
    setup.take(4)
    eventually(lambda: backend.flush() and setup.spool.batches == 0)
    (kept,) = (tmp_path / "state" / "quarantine").glob("*.json")
    record = json.loads(kept.read_text())
    assert "series[0]: bad" in record["reason"]
    assert record["batch"]["series"][0]["values"] == [2]
    assert [message["series"][0]["values"][0] for message in backend.stored] == [1, 3, 4]
    assert setup.spool.quarantined_batches == 1


def test_a_batch_that_is_too_large_is_split_until_it_fits(backend: Backend, setup: Setup) -> None:
    too_large = (413, {"Content-Type": PROBLEM}, {"title": "Content Too Large"})
    backend.trouble = in_turn(None, too_large, None, too_large)
    setup.take(3, samples=9)
    eventually(lambda: backend.flush() and setup.spool.batches == 0)
    assert set(backend.samples.values()) == {1}
    assert len(backend.samples) == 27
    assert len(backend.stored) == 5
    assert setup.spool.quarantined_batches == 0


def test_a_revoked_credential_stops_sending_loudly_and_keeps_everything(
    backend: Backend, setup: Setup
) -> None:
    backend.credential = "fwa_other"
    setup.take(5)
    eventually(lambda: setup.sender.learned.unauthorised)
    assert setup.spool.batches == 5
    assert any("does not accept this agent's credential" in event for event in setup.events())
    assert CREDENTIAL not in setup.lines.getvalue()
    backend.credential = CREDENTIAL
    everything_is_stored_once(backend, setup)
    assert not setup.sender.learned.unauthorised


def test_rejected_samples_are_reported_and_not_sent_again(backend: Backend, setup: Setup) -> None:
    backend.reject = lambda _: 2
    setup.take(1)
    eventually(lambda: setup.spool.batches == 0)
    assert setup.sender.learned.samples_rejected == 2
    assert len(backend.messages) == 1
    assert "back end rejected samples" in setup.events()


@pytest.mark.parametrize(
    ("said", "obeyed"),
    [(30.0, [30.0]), (0.001, [1.0]), (1e9, [3600.0]), ("soon", []), (True, []), (-5, []), (float("nan"), [])],
)
def test_the_interval_of_the_answer_is_obeyed_within_bounds(
    backend: Backend, setup: Setup, said: Any, obeyed: list[float]
) -> None:
    backend.interval_s = said
    setup.take(1)
    eventually(lambda: setup.spool.batches == 0)
    assert setup.intervals == obeyed


def test_a_clock_that_is_off_is_measured_against_the_server(backend: Backend, setup: Setup) -> None:
    backend.clock_offset = 120.0
    setup.take(1)
    eventually(lambda: setup.spool.batches == 0)
    assert setup.sender.learned.clock_skew_s == pytest.approx(120, abs=2)
    assert "clock of this host is off" in setup.events()


def test_one_connection_is_kept_for_all_requests(backend: Backend, setup: Setup) -> None:
    opened: list[Any] = []
    original = backend._server.process_request
    backend._server.process_request = lambda *a: (opened.append(a), original(*a))[1]  # type: ignore[method-assign,func-returns-value]
    for _ in range(5):
        setup.take(1)
        eventually(lambda: setup.spool.batches == 0)
    assert len(opened) == 1


def test_a_server_that_answers_byte_by_byte_is_broken_off(backend: Backend, setup: Setup) -> None:
    held = threading.Event()

    def drip(_: str) -> Any:
        backend.trouble = lambda _: None
        held.wait(0.3)
        return None

    backend.trouble = drip
    setup.take(1)
    eventually(lambda: setup.sender._transport._started is not None)
    assert setup.sender._transport.abort_if_older(0.0)
    held.set()
    everything_is_stored_once(backend, setup)
