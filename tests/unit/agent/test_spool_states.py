"""The spool under any interleaving of work, crashes, torn writes and disk failures."""

from __future__ import annotations

import io
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from collector_agent.log import Log
from collector_agent.spool import Limits, Spool
from collector_agent.store import Store
from tests.unit.agent.payloads import number_of, payload

MAX_BATCHES = 12


class Disk:
    """Opens stores that fail while ``full`` is set, as SQLite does on a full or read-only disk."""

    def __init__(self) -> None:
        self.full = False

    def open(self, path: Path | None) -> Store:
        if path is not None and self.full:
            raise sqlite3.OperationalError("unable to open database file")
        disk = self

        class OnDisk(Store):
            def transaction(self, *, sync: bool = True) -> Any:
                if self.path is not None and disk.full:
                    raise sqlite3.OperationalError("database or disk is full")
                return super().transaction(sync=sync)

            def add_to_fact(self, name: str, amount: int) -> None:
                if self.path is not None and disk.full:
                    raise sqlite3.OperationalError("attempt to write a readonly database")
                super().add_to_fact(name, amount)

        return OnDisk(path)


class SpoolMachine(RuleBasedStateMachine):
    """Keeps a ledger of every batch ever appended; in the end each must be accounted for, once."""

    def __init__(self) -> None:
        super().__init__()
        memory_disk = Path("/dev/shm")  # syncing to a real disk would take minutes
        self.root = Path(
            tempfile.mkdtemp(prefix="spool-test-", dir=memory_disk if memory_disk.is_dir() else None)
        )
        self.lives = 0
        self.now = 0.0
        self.disk = Disk()
        self.counter = 0
        self.done: set[int] = set()
        self.in_memory: set[int] = set()
        self.forgiven: set[int] = set()
        self.counts_lost = 0
        self.blind = False  # the disk could not even be opened, so what it has counted is not in the counter
        self.seen: dict[tuple[str, int], int] = {}
        self.quiet = Log("error", stream=io.StringIO())
        self.spool: Spool

    @initialize()
    def begin(self) -> None:
        self.folder = self.root / "0"
        self._open()

    def _open(self) -> None:
        self.spool = Spool(
            self.folder,
            self.quiet,
            Limits(MAX_BATCHES, 10**9, 10**9),
            machine_id="m",
            monotonic=lambda: self.now,
            open_store=self.disk.open,
        )

    def teardown(self) -> None:
        self.disk.full = False
        self.now += 1000
        self.append(1)  # an append is what makes a spool go back to a disk that works again
        assert not self.spool.degraded
        dropped = self.spool.dropped_samples + self.counts_lost
        left = self._drain(self.spool)
        self.spool.close()
        shutil.rmtree(self.root)
        assert left == sorted(set(left)), "delivered out of order or twice"
        gone = set(range(1, self.counter + 1)) - set(left)
        assert len(gone - self.done - self.forgiven) <= dropped <= len(gone)

    # -- what can happen -----------------------------------------------------------------------------------

    @rule(count=st.integers(1, 4))
    def append(self, count: int) -> None:
        for _ in range(count):
            self.counter += 1
            self.spool.append(payload(self.counter))
            if self.spool.degraded:
                self.in_memory.add(self.counter)
            else:
                self.in_memory.clear()
                self.blind = False

    @rule(ahead=st.integers(0, 5))
    def confirm(self, ahead: int) -> None:
        head = self.spool.head()
        if head is None:
            assert self.spool.batches == 0 or self.spool.degraded
            return
        following = self.spool.next_after(head.spool_id, head.oldest + ahead - 1)
        through = head.oldest + ahead if following is None else min(following, head.oldest + ahead)
        gone = [n for (spool, seq), n in self._visible().items() if spool == head.spool_id and seq <= through]
        self.spool.confirm(head.spool_id, through)
        self.done.update(gone)

    @precondition(lambda self: not self.spool.degraded and not self.disk.full)
    @rule()
    def quarantine_the_second(self) -> None:
        head = self.spool.head()
        second = None if head is None else self.spool.next_after(head.spool_id, head.oldest)
        if head is None or second is None:
            return
        number = self._visible()[head.spool_id, second]
        before = self.spool.quarantined_batches
        self.spool.quarantine(head.spool_id, second, "refused")
        assert self.spool.quarantined_batches == before + 1
        self.done.add(number)

    @precondition(lambda self: not self.spool.degraded and not self.disk.full)
    @rule()
    def renew(self) -> None:
        head = self.spool.head()
        if head is not None:
            self.spool.renew(head.spool_id)
            after = self.spool.head()
            assert after is not None
            assert after.spool_id != head.spool_id
            assert after.oldest == 1

    @rule()
    def step_back_in_time(self) -> None:
        self.spool.begin_generation()

    @rule()
    def disk_fills_up(self) -> None:
        self.disk.full = True

    @rule()
    def disk_works_again(self) -> None:
        self.disk.full = False
        self.now += 1000

    @rule()
    def close_and_open(self) -> None:
        counted = self.spool.dropped_samples
        self.spool.close()
        self._next_life(counted)

    @rule()
    def kill(self) -> None:
        """The process is killed: what is in the files now is what the next one finds."""
        counted = self.spool.dropped_samples
        self._move_to(self._files())
        self._next_life(counted)

    def _next_life(self, counted: int) -> None:
        if self.spool.degraded:
            self.forgiven |= self.in_memory
            self.in_memory.clear()
            self.counts_lost += counted if self.blind else counted - self._counted_on_disk()
        self._open()
        self.blind = self.disk.full

    @precondition(lambda self: not self.spool.degraded and not self.disk.full)
    @rule(share=st.floats(0, 1))
    def kill_during_append(self, share: float) -> None:
        """The power goes while a batch is being written: the log ends anywhere inside what was added."""
        before = self._files()
        self.append(1)
        after = self._files()
        self.no_number_is_ever_given_to_two_contents()  # the batch may have been sent before the power went
        log = "spool.db-wal"
        if before.get("spool.db") == after["spool.db"] and after[log].startswith(before.get(log, b"")):
            start, end = len(before.get(log, b"")), len(after[log])
            after[log] = after[log][: start + int(share * (end - start))]
            self.forgiven.add(self.counter)
        self._move_to(after)
        self._open()

    # -- what must hold ------------------------------------------------------------------------------------

    @invariant()
    def no_number_is_ever_given_to_two_contents(self) -> None:
        for key, number in self._visible().items():
            assert self.seen.setdefault(key, number) == number

    # -- means ---------------------------------------------------------------------------------------------

    def _visible(self) -> dict[tuple[str, int], int]:
        """Return the batches of the spool id that is being delivered, by their numbers."""
        head = self.spool.head()
        found: dict[tuple[str, int], int] = {}
        if head is None:
            return found
        seq: int | None = head.oldest
        while seq is not None:
            item = self.spool.read(head.spool_id, seq)
            assert item is not None
            found[head.spool_id, seq] = number_of(item)
            seq = self.spool.next_after(head.spool_id, seq)
        return found

    def _counted_on_disk(self) -> int:
        if not (self.folder / "spool.db").exists():
            return 0
        store = Store(self.folder / "spool.db")
        try:
            return int(store.fact("dropped_samples") or 0)
        finally:
            store.close()

    def _files(self) -> dict[str, bytes]:
        names = ("spool.db", "spool.db-wal")
        return {n: (self.folder / n).read_bytes() for n in names if (self.folder / n).exists()}

    def _move_to(self, files: dict[str, bytes]) -> None:
        self.lives += 1
        self.folder = self.root / str(self.lives)
        self.folder.mkdir()
        for name, content in files.items():
            (self.folder / name).write_bytes(content)

    def _drain(self, spool: Spool) -> list[int]:
        numbers: list[int] = []
        while (head := spool.head()) is not None:
            item = spool.read(head.spool_id, head.oldest)
            assert item is not None
            number = number_of(item)
            assert self.seen.setdefault((head.spool_id, head.oldest), number) == number
            numbers.append(number)
            spool.confirm(head.spool_id, head.oldest)
        return numbers


TestSpoolStates = SpoolMachine.TestCase
TestSpoolStates.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
