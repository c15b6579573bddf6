"""The host that rules and detectors are tried on: one sample a minute."""

from __future__ import annotations

from farwatch.domain.hosts import Host

HOST = Host(id="host_a", name="web-1", interval_s=60.0)
