"""Traffic, errors and drops of network interfaces."""

from __future__ import annotations

import psutil

from collector_agent.collectors import Sample
from collector_agent.globs import Globs
from collector_agent.rates import Rates


class Network:
    """Rates of every interface that ``interfaces`` lets through and that has ever carried a packet."""

    name = "network"

    def __init__(self, interfaces: Globs) -> None:
        self._include = interfaces
        self._rates = Rates()

    def collect(self, now: float) -> list[Sample]:
        """Return ``net.*`` per interface."""
        samples: list[Sample] = []
        for interface, counters in psutil.net_io_counters(pernic=True, nowrap=False).items():
            if not self._include(interface):
                continue
            if counters.packets_sent == 0 and counters.packets_recv == 0:
                continue
            labels = (("interface", interface),)
            for metric, value in (
                ("net.bytes_sent_per_second", counters.bytes_sent),
                ("net.bytes_received_per_second", counters.bytes_recv),
                ("net.packets_sent_per_second", counters.packets_sent),
                ("net.packets_received_per_second", counters.packets_recv),
                ("net.errors_per_second", counters.errin + counters.errout),
                ("net.drops_per_second", counters.dropin + counters.dropout),
            ):
                rate = self._rates.rate((metric, interface), value, now)
                if rate is not None:
                    samples.append((metric, labels, rate))
        self._rates.forget_unseen()
        return samples
