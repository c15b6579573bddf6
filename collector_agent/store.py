"""One SQLite file (or memory database) of batches: the storage below the spool.

SQLite in write-ahead mode is used because it already is what a spool needs: a commit is all or nothing
whenever the process is killed, every frame of the log is checksummed so that a torn tail is cut off on
opening, and a full or read-only disk is an error that leaves what was there intact.  A batch is synced to
disk before ``append`` returns; deletions are not, because a deletion that is lost only means that a batch is
sent again.
"""

from __future__ import annotations

import os
import sqlite3
import zlib
from pathlib import Path
from typing import NamedTuple

from collector_agent.batch import Payload

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS generations (
  gen INTEGER PRIMARY KEY,
  spool_id TEXT NOT NULL UNIQUE,
  last_seq INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS batches (
  gen INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  samples INTEGER NOT NULL,
  first_ms INTEGER NOT NULL,
  last_ms INTEGER NOT NULL,
  crc INTEGER NOT NULL,
  payload BLOB NOT NULL,
  PRIMARY KEY (gen, seq)
);
"""


class Generation(NamedTuple):
    """A run of sequence numbers under one spool id, and where it stands."""

    gen: int
    spool_id: str
    oldest: int
    last_seq: int


class Batch(NamedTuple):
    """One stored batch with its payload."""

    seq: int
    payload: Payload


def new_spool_id() -> str:
    """Return a fresh spool id (128 random bits as hex)."""
    return os.urandom(16).hex()


class Store:
    """Batches in order of generation and sequence number.

    Every method is one transaction.  Errors of SQLite (``sqlite3.Error``) come through to the caller, who
    decides whether to fall back.  Not safe for use by several threads at once; the spool holds the lock.
    """

    def __init__(self, path: Path | None) -> None:
        """Open or make the database at ``path``; ``None`` for one in memory."""
        self.path = path
        self._db = sqlite3.connect(
            path or ":memory:",
            timeout=5.0,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=32,
        )
        try:
            if path is not None:
                path.chmod(0o600)
            self._db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA wal_autocheckpoint = 256")
            self._db.execute("PRAGMA journal_size_limit = 1048576")
            self._db.execute("PRAGMA cache_size = -256")
            if not self._tables():
                self._db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
            # A damaged file may open and fail later: look at all of it now, while a way back is at hand.
            self._check()
            row = self._db.execute(
                "SELECT count(*), total(length(payload)), total(samples) FROM batches"
            ).fetchone()
        except BaseException:
            self._db.close()
            raise
        self.batches, self.bytes, self.samples = int(row[0]), int(row[1]), int(row[2])

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def _check(self) -> None:
        verdict = self._db.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != ("ok",):
            raise sqlite3.DatabaseError(f"damaged: {verdict}")

    def _tables(self) -> bool:
        return self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'batches'").fetchone() is not None

    # -- facts ---------------------------------------------------------------------------------------------

    def fact(self, name: str) -> str | int | None:
        """Return a stored fact or ``None``."""
        row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else row[0]

    def set_fact(self, name: str, value: str | int) -> None:
        """Store a fact."""
        self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def add_to_fact(self, name: str, amount: int) -> None:
        """Add to a counter."""
        self._db.execute(
            "INSERT INTO facts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
            (name, amount),
        )

    # -- generations ---------------------------------------------------------------------------------------

    def begin_generation(self, spool_id: str, last_seq: int = 0) -> int:
        """Add a generation after all others and return its number."""
        cursor = self._db.execute(
            "INSERT INTO generations (gen, spool_id, last_seq)"
            " VALUES ((SELECT coalesce(max(gen), 0) + 1 FROM generations), ?, ?)",
            (spool_id, last_seq),
        )
        return int(cursor.lastrowid or 0)

    def last_generation(self) -> Generation | None:
        """Return the generation that appends go to."""
        row = self._db.execute(
            "SELECT gen, spool_id, 0, last_seq FROM generations ORDER BY gen DESC LIMIT 1"
        ).fetchone()
        return None if row is None else Generation(*row)

    def head(self) -> Generation | None:
        """Return the first generation that still holds batches, with the lowest sequence number in it."""
        row = self._db.execute(
            "SELECT g.gen, g.spool_id, b.seq, g.last_seq FROM batches b JOIN generations g USING (gen)"
            " ORDER BY b.gen, b.seq LIMIT 1"
        ).fetchone()
        return None if row is None else Generation(*row)

    def generation(self, spool_id: str) -> int | None:
        """Return the number of the generation with this spool id."""
        row = self._db.execute("SELECT gen FROM generations WHERE spool_id = ?", (spool_id,)).fetchone()
        return None if row is None else int(row[0])

    def renew_all(self) -> None:
        """Give every generation a new spool id."""
        with self.transaction():
            for (gen,) in self._db.execute("SELECT gen FROM generations").fetchall():
                self._db.execute("UPDATE generations SET spool_id = ? WHERE gen = ?", (new_spool_id(), gen))

    # -- batches -------------------------------------------------------------------------------------------

    def append(self, payload: Payload, *, new_generation: bool = False) -> None:
        """Store a batch under the next sequence number of the last generation and sync it to disk."""
        with self.transaction():
            last = self.last_generation()
            if last is None or new_generation:
                gen, seq = self.begin_generation(new_spool_id(), 1), 1
            else:
                gen, seq = last.gen, last.last_seq + 1
                self._db.execute("UPDATE generations SET last_seq = ? WHERE gen = ?", (seq, gen))
            self._insert(gen, seq, payload)
            self.set_fact("last_ms", payload.last_ms)
        self._count(1, payload)

    def _insert(self, gen: int, seq: int, payload: Payload) -> None:
        self._db.execute(
            "INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                gen,
                seq,
                payload.samples,
                payload.first_ms,
                payload.last_ms,
                zlib.crc32(payload.data),
                payload.data,
            ),
        )

    def next_after(self, gen: int, seq: int) -> int | None:
        """Return the lowest sequence number above ``seq`` in the generation."""
        row = self._db.execute(
            "SELECT min(seq) FROM batches WHERE gen = ? AND seq > ?", (gen, seq)
        ).fetchone()
        return None if row[0] is None else int(row[0])

    def read(self, gen: int, seq: int) -> Payload | None:
        """Return a payload; ``None`` when it is not there or its checksum is wrong."""
        row = self._db.execute(
            "SELECT payload, samples, first_ms, last_ms, crc FROM batches WHERE gen = ? AND seq = ?",
            (gen, seq),
        ).fetchone()
        if row is None or not isinstance(row[0], bytes) or zlib.crc32(row[0]) != row[4]:
            return None
        return Payload(*row[:4])

    def remove(self, gen: int, first: int, last: int, *, dropped: bool = False) -> tuple[int, int]:
        """Delete batches ``first`` to ``last``; return how many and how many samples they held.

        With ``dropped`` the samples are added to the counter of samples given up, in the same transaction.
        """
        where = "FROM batches WHERE gen = ? AND seq BETWEEN ? AND ?"
        with self.transaction(sync=False):
            batches, size, samples = self._db.execute(
                f"SELECT count(*), total(length(payload)), total(samples) {where}",
                (gen, first, last),
            ).fetchone()
            if batches:
                self._db.execute(f"DELETE {where}", (gen, first, last))
                if dropped:
                    self.add_to_fact("dropped_samples", int(samples))
                # An emptied generation that no append can reach any more has served its purpose.
                self._db.execute(
                    "DELETE FROM generations WHERE gen < (SELECT max(gen) FROM generations)"
                    " AND gen NOT IN (SELECT gen FROM batches)"
                )
        self.batches -= batches
        self.bytes -= int(size)
        self.samples -= int(samples)
        return int(batches), int(samples)

    def shrink(self) -> None:
        """Give pages that have become free back to the file system."""
        self._db.execute("PRAGMA incremental_vacuum(64)").fetchall()

    def replace(self, gen: int, seq: int, parts: tuple[Payload, ...]) -> None:
        """Put ``parts`` in the place of batch ``seq``, moving it and all later ones to a new spool id.

        Sequence numbers are never given to other contents: what follows is numbered afresh in a generation
        of its own, between this one and the next.
        """
        with self.transaction():
            self._db.execute("UPDATE generations SET gen = -gen - 1 WHERE gen > ?", (gen,))
            self._db.execute("UPDATE generations SET gen = -gen WHERE gen < 0")
            self._db.execute("UPDATE batches SET gen = -gen - 1 WHERE gen > ?", (gen,))
            self._db.execute("UPDATE batches SET gen = -gen WHERE gen < 0")
            self._db.execute(
                "INSERT INTO generations VALUES (?, ?, ?)", (gen + 1, new_spool_id(), len(parts))
            )
            last = self._db.execute("SELECT last_seq FROM generations WHERE gen = ?", (gen,)).fetchone()[0]
            removed = self._db.execute(
                "SELECT length(payload), samples FROM batches WHERE gen = ? AND seq = ?", (gen, seq)
            ).fetchall()
            self._db.execute("DELETE FROM batches WHERE gen = ? AND seq = ?", (gen, seq))
            for index, part in enumerate(parts, start=1):
                self._insert(gen + 1, index, part)
            self._db.execute(
                "UPDATE batches SET gen = ?, seq = seq - ? + ? WHERE gen = ? AND seq > ?",
                (gen + 1, seq, len(parts), gen, seq),
            )
            self._db.execute(
                "UPDATE generations SET last_seq = ? WHERE gen = ?",
                (len(parts) + max(0, last - seq), gen + 1),
            )
            self._db.execute(
                "DELETE FROM generations WHERE gen = ? AND gen NOT IN (SELECT gen FROM batches)", (gen,)
            )
        for size, samples in removed:
            self.batches -= 1
            self.bytes -= size
            self.samples -= samples
        for part in parts:
            self._count(1, part)

    def everything(self) -> list[tuple[Generation, list[Batch]]]:
        """Return all generations with their readable batches, in order."""
        result: list[tuple[Generation, list[Batch]]] = []
        generations = self._db.execute(
            "SELECT gen, spool_id, 0, last_seq FROM generations ORDER BY gen"
        ).fetchall()
        for row in generations:
            generation = Generation(*row)
            seqs = self._db.execute(
                "SELECT seq FROM batches WHERE gen = ? ORDER BY seq", (row[0],)
            ).fetchall()
            batches = []
            for (seq,) in seqs:
                payload = self.read(generation.gen, seq)
                if payload is not None:
                    batches.append(Batch(seq, payload))
            result.append((generation, batches))
        return result

    def take_in(self, content: list[tuple[Generation, list[Batch]]], facts: dict[str, int]) -> None:
        """Add whole generations after the present ones, and counts to the counters, in one transaction."""
        with self.transaction():
            for generation, batches in content:
                gen = self.begin_generation(generation.spool_id, generation.last_seq)
                for batch in batches:
                    self._insert(gen, batch.seq, batch.payload)
                    self.set_fact("last_ms", batch.payload.last_ms)
            for name, amount in facts.items():
                self.add_to_fact(name, amount)
        for _, batches in content:
            for batch in batches:
                self._count(1, batch.payload)

    def _count(self, batches: int, payload: Payload) -> None:
        self.batches += batches
        self.bytes += len(payload.data)
        self.samples += payload.samples

    def transaction(self, *, sync: bool = True) -> _Transaction:
        """Return a context manager: commit at its end, roll back on an error; nested ones join."""
        return _Transaction(self._db, sync=sync)


class _Transaction:
    def __init__(self, db: sqlite3.Connection, *, sync: bool) -> None:
        self._db = db
        self._sync = sync
        self._joined = False

    def __enter__(self) -> None:
        self._joined = self._db.in_transaction
        if not self._joined:
            self._db.execute(f"PRAGMA synchronous = {'FULL' if self._sync else 'NORMAL'}")
            self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *_: object) -> None:
        if self._joined:
            return
        if kind is not None:
            if self._db.in_transaction:  # SQLite itself rolls back on some errors, such as a full disk
                self._db.execute("ROLLBACK")
            return
        try:
            self._db.execute("COMMIT")
        except sqlite3.Error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
