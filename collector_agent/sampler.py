"""Runs the collectors at a tick, and keeps a failing or slow one from spoiling the rest."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from collector_agent.collectors import Collector, Sample
from collector_agent.collectors.cpu import Cpu
from collector_agent.collectors.disk import DiskSpace, DiskTraffic
from collector_agent.collectors.memory import Memory
from collector_agent.collectors.network import Network
from collector_agent.collectors.own import Own
from collector_agent.collectors.processes import TopProcess, TopProcesses
from collector_agent.collectors.sensors import Sensors
from collector_agent.collectors.system import System
from collector_agent.config import Config
from collector_agent.globs import Globs
from collector_agent.log import Log

_SLOW = 1.0
_REST_AFTER_SLOW = 30.0


class Sampler:
    """Takes all samples of a tick.

    A collector that raises is skipped for that tick; one that took longer than a second is left alone for
    thirty times as long.  Both are logged (not at every tick) and counted in ``failures``.
    """

    def __init__(
        self,
        collectors: Sequence[Collector],
        log: Log,
        *,
        metrics: Globs | None = None,
        top: TopProcesses | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._collectors = collectors
        self._log = log
        self._metrics = metrics or Globs(["*"])
        self._top = top
        self._monotonic = monotonic
        self._resting: dict[str, float] = {}
        self.failures: dict[str, int] = {}

    def sample(self, now: float) -> tuple[list[Sample], list[TopProcess]]:
        """Return the samples and the top processes at monotonic second ``now``."""
        samples: list[Sample] = []
        for collector in self._collectors:
            if now < self._resting.get(collector.name, now):
                continue
            started = self._monotonic()
            try:
                samples += [sample for sample in collector.collect(now) if self._metrics(sample[0])]
            except Exception as error:  # noqa: BLE001 - one broken collector must not stop the others
                self._failed(collector.name, f"{type(error).__name__}: {error}")
            took = self._monotonic() - started
            if took > _SLOW:
                self._resting[collector.name] = now + _REST_AFTER_SLOW * took
                self._failed(
                    collector.name, f"took {took:.1f} s and rests for {_REST_AFTER_SLOW * took:.0f} s"
                )
        return samples, self._look(now, samples)

    def _look(self, now: float, samples: Sequence[Sample]) -> list[TopProcess]:
        if self._top is None:
            return []
        busy = next((value for name, _, value in samples if name == "cpu.percent"), 0.0)
        try:
            return self._top.look(now, busy)
        except Exception as error:  # noqa: BLE001 - as above
            self._failed("top_processes", f"{type(error).__name__}: {error}")
            return []

    def _failed(self, name: str, problem: str) -> None:
        self.failures[name] = self.failures.get(name, 0) + 1
        self._log.seldom(
            f"collector {name}",
            300,
            "warning",
            "collector failed and is skipped",
            collector=name,
            problem=problem,
            failures=self.failures[name],
        )


def from_config(config: Config, log: Log, spool_state: Callable[[], tuple[int, int]]) -> Sampler:
    """Return a sampler with the collectors that ``config`` asks for."""
    wanted = Globs(config.collectors)
    collectors: list[Collector] = [
        Cpu(per_core=config.per_core),
        Memory(),
        DiskSpace(Globs(config.mounts), log),
        DiskTraffic(Globs(config.devices)),
        Network(Globs(config.interfaces)),
        System(),
        Sensors(Globs(config.sensors)),
        Own(spool_state),
    ]
    return Sampler(
        [collector for collector in collectors if wanted(collector.name)],
        log,
        metrics=Globs(config.metrics),
        top=TopProcesses(config.top_processes) if config.top_processes else None,
    )
