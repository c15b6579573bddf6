"""The running agent: sample, spool, deliver, until told to stop."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import time
from pathlib import Path
from typing import Any

from collector_agent import __version__, sampler, state
from collector_agent.batch import Builder
from collector_agent.config import Config
from collector_agent.delivery import Policy
from collector_agent.log import Log
from collector_agent.renewal import Renewal
from collector_agent.sender import Sender
from collector_agent.spool import Limits, Spool
from collector_agent.state import Credentials
from collector_agent.ticker import Ticker
from collector_agent.transport import Transport

_LONGEST_SLEEP = 15.0
_STATUS_EVERY = 10.0
_STOP_WITHIN = 1.5
_FIRST_TICK_AFTER = 1.0


class Agent:
    """One agent on one host.  The state folder must be locked by the caller."""

    def __init__(
        self, config: Config, credentials: Credentials, log: Log, policy: Policy | None = None
    ) -> None:
        self._config = config
        self._credentials = credentials
        self._log = log
        self._started_at = time.time()
        self._stopping = False
        self._samples_taken = 0
        self._last_sample_ms: int | None = None
        self._status_at = float("-inf")
        # Signals and other threads wake the main loop through a socket: unlike a lock, writing to one is safe
        # inside a signal handler.
        self._bell, self._ringer = socket.socketpair()
        self._bell.settimeout(0)
        self._ringer.settimeout(0)
        self.spool = Spool(
            config.state_dir,
            log,
            Limits(
                config.spool_max_batches,
                int(config.spool_max_mb * 2**20),
                int(config.memory_max_mb * 2**20),
            ),
            machine_id=machine_id(),
        )
        self._sampler = sampler.from_config(
            config, log, lambda: (self.spool.batches, self.spool.dropped_samples)
        )
        self._ticker = Ticker(credentials.interval_s or config.interval_s)
        if self.spool.last_ms is not None:
            self._ticker.resume_after(self.spool.last_ms)
        self._builder = Builder(version=__version__, started_at_ms=round(self._started_at * 1000))
        transport = Transport(
            config.server or credentials.server, timeout=config.timeout_s, ca_file=config.ca_file or None
        )
        self.sender = Sender(
            self.spool,
            transport,
            log,
            host_id=credentials.host_id,
            credential=credentials.credential,
            own=self._own,
            renewal=Renewal(config.state_dir, credentials, transport, log),
            policy=policy or Policy(replay_per_second=config.replay_per_second),
            jitter_s=config.jitter_s,
            on_interval=self._interval_told,
        )

    def stop(self) -> None:
        """Ask the main loop to end; safe inside a signal handler."""
        self._stopping = True
        self._ring()

    def run(self) -> None:
        """Sample and deliver until :meth:`stop`; then spool what was taken and leave quickly."""
        self._log.info(
            "agent started",
            version=__version__,
            host_id=self._credentials.host_id,
            server=self._config.server or self._credentials.server,
            interval_s=self._ticker.interval,
            spooled_batches=self.spool.batches,
        )
        self.sender.start()
        self.prime()
        wait = min(_FIRST_TICK_AFTER, self._ticker.wait(time.time()))
        try:
            while not self._stopping:
                if self._slept(wait):
                    self.tick()
                wait = self._ticker.wait(time.time())
        finally:
            self.close()

    def prime(self) -> None:
        """Take a first look, so that the first tick has rates."""
        self._sampler.sample(time.monotonic())

    def tick(self) -> None:
        """Take one round of samples, and spool a batch when it is time."""
        tick = self._ticker.tick(time.time())
        if tick is None:
            return
        if tick.stepped_back:
            self._log.warning("clock was set back, samples go on under a new spool id")
            self.flush()
            self.spool.begin_generation()
        samples, top = self._sampler.sample(time.monotonic())
        before = self._builder.samples
        self._builder.add(tick.time_ms, samples, top)
        self._samples_taken += self._builder.samples - before
        self._last_sample_ms = tick.time_ms
        if self._builder.over_budget:
            self._log.seldom(
                "budget",
                3600,
                "warning",
                "more series than a batch may hold",
                left_out=self._builder.over_budget,
            )
            self._builder.over_budget = 0
        gathered = (tick.time_ms - self._builder.times[0]) / 1000 + self._ticker.interval
        if gathered >= self._config.flush_s or self._builder.full():
            self.flush()
        self._save_status()

    def flush(self) -> None:
        """Spool what has been gathered."""
        payload = self._builder.take(self._ticker.interval)
        if payload is not None:
            self.spool.append(payload)
            self.sender.spooled()

    def close(self) -> None:
        """Spool the last samples, stop delivery and close the spool."""
        self.flush()
        self.sender.stop(_STOP_WITHIN)
        self._save_status(stopped=True)
        self.spool.close()
        self._bell.close()
        self._ringer.close()
        self._log.info("agent stopped", samples_taken=self._samples_taken)

    def status(self) -> dict[str, Any]:
        """Return what ``farwatch-agent status`` shows."""
        learned = self.sender.learned
        return {
            "pid": os.getpid(),
            "version": __version__,
            "updated_at": time.time(),
            "started_at": self._started_at,
            "server": self._config.server or self._credentials.server,
            "host_id": self._credentials.host_id,
            "interval_s": self._ticker.interval,
            "samples_taken": self._samples_taken,
            "last_sample_ms": self._last_sample_ms,
            "collector_failures": self._sampler.failures,
            "spool_batches": self.spool.batches,
            "spool_bytes": self.spool.bytes,
            "spool_degraded": self.spool.degraded,
            "dropped_samples": self.spool.dropped_samples,
            "quarantined_batches": self.spool.quarantined_batches,
            **vars(learned),
        }

    def _own(self) -> dict[str, float]:
        import psutil

        return {
            "spool_batches": self.spool.batches,
            "spool_bytes": self.spool.bytes,
            "dropped_samples": self.spool.dropped_samples,
            "quarantined_batches": self.spool.quarantined_batches,
            "cpu_seconds": round(time.process_time(), 3),
            "rss_bytes": psutil.Process().memory_info().rss,
        }

    def _interval_told(self, interval: float) -> None:
        if interval != self._ticker.interval:
            self._log.info(
                "interval changed by the back end", interval_s=interval, before=self._ticker.interval
            )
            self._ticker.interval = interval
            self._ring()

    def _save_status(self, *, stopped: bool = False) -> None:
        now = time.monotonic()
        if now - self._status_at < _STATUS_EVERY and not stopped:
            return
        self._status_at = now
        try:
            state.save_status(self._config.state_dir, {**self.status(), "stopped": stopped})
        except OSError as error:
            self._log.seldom("status", 600, "warning", "status cannot be written", error=str(error))

    def _ring(self) -> None:
        with contextlib.suppress(OSError):  # the buffer is full of rings already, or the agent has stopped
            self._ringer.send(b"x")

    def _slept(self, seconds: float) -> bool:
        """Sleep by the monotonic clock; return false when a ring (stop, new interval) ended it early."""
        until = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._bell, selectors.EVENT_READ)
            while True:
                self.sender.check()
                left = until - time.monotonic()
                if left <= 0:
                    return True
                if selector.select(min(left, _LONGEST_SLEEP)):
                    with contextlib.suppress(BlockingIOError):
                        self._bell.recv(4096)
                    return False


def machine_id() -> str:
    """Return what identifies this installation of the operating system, or an empty text."""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        with contextlib.suppress(OSError):
            return Path(path).read_text("ascii", "replace")[:64].strip()
    return ""
