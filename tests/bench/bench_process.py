"""What a batch costs ``process``: processor time per sample, for hosts of 30 to 300 series.

Run by ``./farwatch bench process``. The use case runs in this process over a real PostgreSQL and Valkey, with all stock
rules and the default detector; queues are lists. Beside the whole it prints two of its parts, storing and evaluating
(rules, detectors, host score), and as a baseline the same insert with arrays written by psycopg, which a store does
before anybody has looked at the samples. The processor time of the two servers is not in it.
"""

from __future__ import annotations

import os

# One core means one thread, and numpy reads this when it is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from farwatch.adapters.postgres.anomalies import PostgresAnomalies
from farwatch.adapters.postgres.database import Database
from farwatch.adapters.postgres.hosts import PostgresHosts
from farwatch.adapters.postgres.rules import PostgresRules
from farwatch.adapters.postgres.samples import PostgresMetricStore
from farwatch.adapters.redis.agents import RedisAgentCache, RedisHostMemory
from farwatch.adapters.redis.client import connect
from farwatch.domain.catalogue import CATALOGUE
from farwatch.domain.hosts import Host
from farwatch.domain.samples import Batch, SampleBlock, SeriesKey
from farwatch.domain.stock_rules import STOCK_RULES
from farwatch.observability import logger
from farwatch.services.evaluation import Memory, evaluate
from farwatch.services.process import Process
from tests.services import postgres_server, valkey_server

SHAPES = ((30, 1), (100, 1), (100, 6), (300, 1), (300, 6))
"""Series of the host, and samples of each in a batch."""

WARM, TIMED = 60, 150
STEP_MS = 5000
START = 1_790_000_000_000


class Queue:
    """Takes what is sent and forgets it."""

    def send(self, messages: Any) -> None:
        """Do nothing: what sending costs is the queue's affair."""


def series(count: int) -> tuple[SeriesKey, ...]:
    """Return so many series: the catalogue's metrics, again and again, with a device as label."""
    names = [entry.name for entry in CATALOGUE if "*" not in entry.name]
    rounds = range(-(-count // len(names)))
    return tuple(SeriesKey.of(name, {"device": f"d{i}"}) for i in rounds for name in names)[:count]


def batches(host: str, count: int, rows: int) -> list[Batch]:
    """Return the batches of a quiet host."""
    rng = np.random.default_rng(1)
    keys, level = series(count), rng.uniform(10, 40, count)
    made = []
    for seq in range(1, WARM + TIMED + 1):
        times = START + STEP_MS * np.arange(seq * rows, (seq + 1) * rows, dtype=np.int64)
        block = SampleBlock(times, keys, level + rng.normal(0, 1, (rows, count)))
        made.append(Batch(f"batch-{seq}", host, "spool", seq, 1, int(times[-1]), block))
    return made


def cost(work: Callable[[Batch], object], of: Sequence[Batch]) -> float:
    """Return the processor time of ``work`` in µs per sample, once it is warm."""
    for batch in of[:WARM]:
        work(batch)
    began = time.process_time()
    for batch in of[WARM:]:
        work(batch)
    return 1e6 * (time.process_time() - began) / sum(batch.samples.count() for batch in of[WARM:])


def plain_insert(database: Database, batch: Batch) -> None:
    """Store the batch with arrays written by psycopg."""
    block = batch.samples
    ids = np.broadcast_to(np.arange(len(block.series)) + 1_000_000, block.values.shape)
    times = np.broadcast_to(block.times[:, None], block.values.shape)
    with database.transaction() as connection:
        connection.execute(
            """INSERT INTO samples (series_id, at, value)
               SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::float8[]) ON CONFLICT DO NOTHING""",
            (ids.ravel().tolist(), times.ravel().tolist(), block.values.ravel().tolist()),
        )


def main(say: Callable[[str], None] = print) -> None:
    """Measure and print the table."""
    logger.setLevel("WARNING")
    say("processor time in µs per sample, and in ms per batch for the whole")
    say("  series  samples   process                     storing  evaluating  baseline: insert by psycopg")
    with postgres_server() as server, valkey_server() as redis_url, server.database() as url:
        database, redis = Database(url), connect(redis_url)
        store, queue = PostgresMetricStore(database), Queue()
        rules = PostgresRules(database)
        for rule in STOCK_RULES:
            rules.put(rule)
        process = Process(
            store,
            PostgresHosts(database, STEP_MS / 1000),
            rules,
            RedisAgentCache(redis),
            RedisHostMemory(redis),
            PostgresAnomalies(database),
            queue,
            queue,
            queue,
        )
        for count, rows in SHAPES:
            hosts = [f"{part}-{count}-{rows}" for part in ("whole", "stored", "evaluated", "baseline")]
            with database.transaction() as connection:
                for host in hosts:
                    connection.execute("INSERT INTO hosts (id, name) VALUES (%s, %s)", (host, host))
            made = [batches(host, count, rows) for host in hosts]
            memory, watched = Memory(), Host(hosts[2], hosts[2], interval_s=STEP_MS / 1000)
            whole = cost(lambda batch: process.handle(batch, batch.sent_at), made[0])
            stored = cost(lambda batch: store.write(batch.host_id, batch.samples, batch.sent_at), made[1])
            evaluated = cost(
                lambda batch, memory=memory, host=watched: evaluate(
                    memory, batch, host, STOCK_RULES, batch.sent_at
                ),
                made[2],
            )
            baseline = cost(lambda batch: plain_insert(database, batch), made[3])
            say(
                f"{count:8d} {rows:8d} {whole:9.1f} µs {whole * count * rows / 1000:9.1f} ms "
                f"{stored:12.1f} µs {evaluated:8.1f} µs {baseline:10.1f} µs"
            )


if __name__ == "__main__":
    main()
