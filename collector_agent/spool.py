"""The spool: every batch taken and not yet confirmed as stored, on disk where that is possible.

Batches are numbered 1, 2, 3 … under a *spool id*.  A number is never given to two different contents: where
that could happen (the process was killed and its last commits may be gone, the disk was replaced by memory,
the clock was set back, a batch had to be split) numbering starts again under a new spool id, as a new
*generation*.  Generations are delivered one after another, oldest first.

What the spool promises: a batch that ``append`` returned for is delivered, or counted in
``dropped_samples``, or lies in the quarantine folder.  On disk this holds across ``kill -9`` and loss of
power; in memory, which is used while the disk is full or read-only, for as long as the process lives.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from collector_agent.batch import Payload
from collector_agent.log import Log
from collector_agent.store import Batch, Generation, Store, new_spool_id

T = TypeVar("T")

_TRY_DISK_EVERY = 15.0
_QUARANTINE_KEEP = 100
_DAMAGED_KEEP = 2


class Limits(NamedTuple):
    """How much the spool may hold: on disk, and in memory while there is no disk."""

    batches: int = 10_000
    bytes: int = 64 * 1024 * 1024
    memory_bytes: int = 4 * 1024 * 1024


class Head(NamedTuple):
    """Where delivery stands: the spool id to send from, its oldest batch and the last number given out."""

    spool_id: str
    oldest: int
    last_seq: int


class Spool:
    """A bounded queue of batches that survives the process; safe for use from several threads."""

    def __init__(
        self,
        folder: Path | None,
        log: Log,
        limits: Limits | None = None,
        *,
        machine_id: str = "",
        monotonic: Callable[[], float] = time.monotonic,
        open_store: Callable[[Path | None], Store] = Store,
    ) -> None:
        """Open the spool in ``folder`` (``None``: in memory only); ``machine_id`` marks it as this host's.

        A spool that cannot be opened is no error: the agent runs from memory and says so.  A damaged one is
        put aside and what is readable in it is saved.
        """
        self._folder = folder
        self._path = None if folder is None else folder / "spool.db"
        self._log = log
        self._limits = limits or Limits()
        self._machine_id = machine_id
        self._monotonic = monotonic
        self._open_store = open_store
        self._lock = threading.RLock()
        self._disk: Store | None = None
        self._memory: Store | None = None
        self._fresh_disk = True
        self._fresh_memory = True
        self._confirmed: dict[str, int] = {}
        self._memory_dropped = 0
        self._memory_quarantined = 0
        self._try_disk_at = float("-inf")
        self._reason = ""
        self._last_ms: int | None = None
        with self._lock:
            self._open_disk()

    # -- what the outside asks -----------------------------------------------------------------------------

    @property
    def degraded(self) -> str:
        """Why batches are kept in memory and not on disk; empty when all is well."""
        with self._lock:
            return self._reason

    @property
    def batches(self) -> int:
        """Batches not yet confirmed."""
        with self._lock:
            return sum(store.batches for store in self._stores())

    @property
    def bytes(self) -> int:
        """Compressed size of the batches not yet confirmed."""
        with self._lock:
            return sum(store.bytes for store in self._stores())

    @property
    def samples(self) -> int:
        """Samples in the batches not yet confirmed."""
        with self._lock:
            return sum(store.samples for store in self._stores())

    @property
    def dropped_samples(self) -> int:
        """Samples given up since the spool was made."""
        return self._counter("dropped_samples", self._memory_dropped)

    @property
    def quarantined_batches(self) -> int:
        """Batches the back end refused, since the spool was made."""
        return self._counter("quarantined_batches", self._memory_quarantined)

    @property
    def last_ms(self) -> int | None:
        """Stamp of the last sample taken, also by earlier runs; ``None`` for a new spool."""
        return self._last_ms

    def append(self, payload: Payload) -> None:
        """Keep a batch until it is confirmed, dropping and counting the oldest when the spool is full."""
        with self._lock:
            self._last_ms = payload.last_ms
            self._heal()
            if self._memory is None and self._disk is not None:
                try:
                    self._append_to(self._disk, payload, self._limits.bytes)
                except sqlite3.Error as error:
                    self._fall_back(error)
                else:
                    return
            if self._memory is None:
                self._memory = self._open_store(None)
                self._fresh_memory = True
            self._append_to(self._memory, payload, self._limits.memory_bytes)

    def begin_generation(self) -> None:
        """Number the batches from here on under a new spool id."""
        with self._lock:
            self._fresh_disk = self._fresh_memory = True

    def head(self) -> Head | None:
        """Return what is to be delivered first, or ``None`` when everything is confirmed."""
        with self._lock:
            for store in self._stores():
                head = self._guarded(store, store.head)
                if head is None:
                    continue
                floor = self._confirmed.get(head.spool_id, 0)
                if floor < head.oldest:
                    return Head(head.spool_id, head.oldest, head.last_seq)
                # Confirmed, but the disk would not let go of it: pass over it until it does.
                following = store.next_after(head.gen, floor)
                if following is not None:
                    return Head(head.spool_id, following, head.last_seq)
            return None

    def next_after(self, spool_id: str, seq: int) -> int | None:
        """Return the lowest number above ``seq`` that is held under ``spool_id``."""
        with self._lock:
            found = self._find(spool_id)
            if found is None:
                return None
            store, gen = found
            return self._guarded(store, lambda: store.next_after(gen, seq))

    def read(self, spool_id: str, seq: int) -> Payload | None:
        """Return a batch; one that is damaged is dropped, counted and ``None``."""
        with self._lock:
            found = self._find(spool_id)
            if found is None:
                return None
            store, gen = found
            payload = self._guarded(store, lambda: store.read(gen, seq))
            if payload is None:
                self._log.error("damaged batch dropped", spool_id=spool_id, seq=seq)
                self._drop(store, gen, seq)
            return payload

    def confirm(self, spool_id: str, through: int) -> int:
        """Forget the batches up to ``through``, which are stored; return how many there were."""
        with self._lock:
            found = self._find(spool_id)
            if found is None:
                return 0
            store, gen = found
            try:
                removed, _ = store.remove(gen, 0, through)
            except sqlite3.Error as error:
                self._confirmed[spool_id] = max(through, self._confirmed.get(spool_id, 0))
                self._fall_back(error)
                return 0
            self._confirmed.pop(spool_id, None)
            if store.batches == 0:
                self._guarded(store, store.shrink)
            return removed

    def quarantine(self, spool_id: str, seq: int, reason: str) -> None:
        """Put a batch that the back end refused into the quarantine folder, which keeps the newest 100."""
        with self._lock:
            found = self._find(spool_id)
            if found is None:
                return
            store, gen = found

            def move() -> None:
                payload = store.read(gen, seq)
                with store.transaction():
                    store.remove(gen, seq, seq)
                    if store is self._disk:
                        store.add_to_fact("quarantined_batches", 1)
                if payload is not None:
                    self._write_quarantine(spool_id, seq, payload, reason)

            self._guarded(store, move)
            if store is not self._disk:
                self._memory_quarantined += 1

    def split(self, spool_id: str, seq: int, parts: tuple[Payload, ...]) -> None:
        """Put ``parts`` in the place of a batch; it and what follows go under a new spool id."""
        with self._lock:
            found = self._find(spool_id)
            if found is not None:
                store, gen = found
                self._guarded(store, lambda: store.replace(gen, seq, parts))

    def renew(self, spool_id: str) -> None:
        """Send what is held under ``spool_id`` under a new one: the back end knows it from somewhere else."""
        with self._lock:
            found = self._find(spool_id)
            head = self.head()
            if found is None or head is None or head.spool_id != spool_id:
                return
            store, gen = found

            def move() -> None:
                payload = store.read(gen, head.oldest)
                store.replace(gen, head.oldest, () if payload is None else (payload,))

            self._guarded(store, move)

    def close(self) -> None:
        """Close in good order, so that the next run can go on under the same spool id."""
        with self._lock:
            self._heal(now=True)
            if self._memory is not None and self._memory.batches:
                self._log.error("batches in memory are lost on exit", batches=self._memory.batches)
            if self._disk is not None:
                if not self._fresh_disk:
                    try:
                        with self._disk.transaction():
                            self._disk.set_fact("clean", 1)
                    except sqlite3.Error as error:
                        self._log.warning("spool could not be closed in good order", error=str(error))
                self._disk.close()
                self._disk = None

    # -- inside --------------------------------------------------------------------------------------------

    def _stores(self) -> list[Store]:
        return [store for store in (self._disk, self._memory) if store is not None]

    def _find(self, spool_id: str) -> tuple[Store, int] | None:
        for store in self._stores():
            gen = self._guarded(store, lambda s=store: s.generation(spool_id))  # type: ignore[misc]
            if gen is not None:
                return store, gen
        return None

    def _guarded(self, store: Store, call: Callable[[], T]) -> T | None:
        """Return ``call()``; on an error of the disk say so and return ``None``."""
        try:
            return call()
        except sqlite3.Error as error:
            if store is self._disk:
                self._fall_back(error)
                return None
            raise

    def _append_to(self, store: Store, payload: Payload, max_bytes: int) -> None:
        if store is self._disk:
            store.append(payload, new_generation=self._fresh_disk)
            self._fresh_disk = False
        else:
            store.append(payload, new_generation=self._fresh_memory)
            self._fresh_memory = False
        while store.batches > 1 and (store.batches > self._limits.batches or store.bytes > max_bytes):
            head = store.head()
            if head is None:
                break
            self._log.seldom(
                "spool full",
                60,
                "warning",
                "spool is full, the oldest batch is dropped",
                batches=store.batches,
            )
            self._drop(store, head.gen, head.oldest)

    def _drop(self, store: Store, gen: int, seq: int) -> None:
        """Give up one batch and count its samples."""
        if store is self._disk:
            try:
                store.remove(gen, seq, seq, dropped=True)
            except sqlite3.Error as error:
                self._fall_back(error)
        else:
            self._memory_dropped += store.remove(gen, seq, seq)[1]

    def _counter(self, name: str, in_memory: int) -> int:
        with self._lock:
            disk = self._disk
            stored = self._guarded(disk, lambda: disk.fact(name)) if disk is not None else 0
            return int(stored or 0) + in_memory

    def _fall_back(self, error: sqlite3.Error) -> None:
        if not self._reason:
            self._log.error(
                "spool disk fails, batches are kept in memory", error=str(error), path=str(self._path)
            )
        if self._disk is not None and not isinstance(error, sqlite3.OperationalError):
            # Damaged, not merely unwritable: the next opening puts it aside and saves what it can.
            self._disk.close()
            self._disk = None
        self._reason = str(error)
        self._try_disk_at = self._monotonic() + _TRY_DISK_EVERY

    def _heal(self, *, now: bool = False) -> None:
        """Go back to the disk once it works again, taking along what is in memory."""
        if not self._reason or (not now and self._monotonic() < self._try_disk_at):
            return
        if self._disk is None:
            self._open_disk()
        if self._disk is None:
            return
        try:
            if self._memory is not None:
                self._disk.take_in(
                    self._memory.everything(),
                    {
                        "dropped_samples": self._memory_dropped,
                        "quarantined_batches": self._memory_quarantined,
                    },
                )
            else:
                self._disk.add_to_fact("dropped_samples", 0)  # a write, to see whether the disk takes any
            for spool_id, through in self._confirmed.items():
                gen = self._disk.generation(spool_id)
                if gen is not None:
                    self._disk.remove(gen, 0, through)
            self._confirmed.clear()
        except sqlite3.Error as error:
            self._fall_back(error)
            return
        if self._memory is not None:
            # What was numbered in memory goes on being numbered there, now on disk.
            self._fresh_disk = self._fresh_memory
            self._memory.close()
            self._memory = None
        self._memory_dropped = self._memory_quarantined = 0
        self._log.info("spool disk works again", path=str(self._path))
        self._reason = ""

    def _open_disk(self) -> None:
        try:
            if self._folder is not None:
                self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            saved: list[tuple[Generation, list[Batch]]] = []
            facts: dict[str, int] = {}
            try:
                store = self._open_store(self._path)
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError) or self._folder is None:
                    raise  # full, read-only, locked: the file itself may be sound
                saved, facts = self._put_aside(self._folder, error)
                store = self._open_store(self._path)
            try:
                if saved or facts:
                    store.take_in(saved, facts)
                self._adopt(store)
            except sqlite3.Error:
                store.close()
                raise
        except (sqlite3.Error, OSError) as error:
            self._fall_back(
                error if isinstance(error, sqlite3.Error) else sqlite3.OperationalError(str(error))
            )

    def _adopt(self, store: Store) -> None:
        """Decide how a store that was just opened goes on."""
        if store.fact("machine_id") != self._machine_id:
            if store.fact("machine_id") is not None:
                self._log.warning("spool comes from another machine and gets new ids")
                store.renew_all()
            store.set_fact("machine_id", self._machine_id)
        last_ms = store.fact("last_ms")
        if isinstance(last_ms, int) and self._last_ms is None:
            self._last_ms = last_ms
        # Without a clean end the last commits may be missing, and their numbers may be known to the back end.
        self._fresh_disk = store.fact("clean") != 1
        if not self._fresh_disk:
            store.set_fact("clean", 0)
        self._disk = store

    def _put_aside(
        self, folder: Path, error: sqlite3.DatabaseError
    ) -> tuple[list[tuple[Generation, list[Batch]]], dict[str, int]]:
        """Move a damaged spool away and return the batches that can still be read from it."""
        aside = folder / f"damaged-{int(time.time())}.db"
        for suffix in ("", "-wal", "-shm"):
            source = Path(f"{self._path}{suffix}")
            if source.exists():
                source.rename(f"{aside}{suffix}")
        for old in sorted(folder.glob("damaged-*.db"))[:-_DAMAGED_KEEP]:
            for suffix in ("", "-wal", "-shm"):
                Path(f"{old}{suffix}").unlink(missing_ok=True)
        batches, facts = _salvage(aside)
        self._log.error(
            "spool is damaged and was put aside",
            error=str(error),
            kept=str(aside),
            batches_saved=len(batches),
        )
        if not batches:
            return [], facts
        numbered = [Batch(index, batch.payload) for index, batch in enumerate(batches, start=1)]
        return [(Generation(0, new_spool_id(), 1, len(numbered)), numbered)], facts

    def _write_quarantine(self, spool_id: str, seq: int, payload: Payload, reason: str) -> None:
        if self._folder is None:
            return
        folder = self._folder / "quarantine"
        name = f"{payload.first_ms}-{spool_id[:8]}-{seq}.json"
        record = {
            "reason": reason,
            "spool_id": spool_id,
            "seq": seq,
            "batch": json.loads(zlib.decompress(payload.data)),
        }
        draft = folder / f".{name}"
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            try:
                draft.write_text(json.dumps(record))
                draft.replace(folder / name)
            finally:
                draft.unlink(missing_ok=True)
            for old in sorted(folder.glob("*.json"))[:-_QUARANTINE_KEEP]:
                old.unlink(missing_ok=True)
        except OSError as error:
            self._log.warning("refused batch could not be kept for inspection", error=str(error))


def _salvage(path: Path) -> tuple[list[Batch], dict[str, int]]:
    """Read whatever a damaged database still gives, in the order it was written."""
    batches: list[Batch] = []
    facts: dict[str, int] = {}
    db = sqlite3.connect(path)
    try:
        rows = db.execute(
            "SELECT seq, payload, samples, first_ms, last_ms, crc FROM batches NOT INDEXED ORDER BY rowid"
        )
        for seq, data, samples, first_ms, last_ms, crc in rows:
            if isinstance(data, bytes) and zlib.crc32(data) == crc:
                batches.append(Batch(seq, Payload(data, samples, first_ms, last_ms)))
    except sqlite3.Error:
        # The damage begins here; what came before it is kept, and the caller reports how much that is.
        pass
    try:
        facts = dict(
            db.execute(
                "SELECT name, value FROM facts WHERE name IN ('dropped_samples', 'quarantined_batches')"
            )
        )
    except sqlite3.Error:
        facts = {}
    finally:
        db.close()
    return batches, facts
