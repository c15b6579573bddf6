"""What the services need to know and keep about hosts and their agents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from farwatch.domain.hosts import Host
from farwatch.domain.rules import Rule


class Hosts(Protocol):
    """The register of hosts, and how far each agent's samples are stored."""

    def get(self, host_id: str) -> Host | None:
        """Return the host, retired ones included."""
        ...

    def all(self) -> list[Host]:
        """Return every host that is not retired, by name."""
        ...

    def newest_seen_at(self) -> int | None:
        """Return when the newest stored batch, of any host, reached the back end (epoch ms); None before the first."""
        ...

    def open_incidents(self, host_ids: list[str]) -> dict[str, int]:
        """Return, for each of the hosts that has any, how many incidents are not resolved."""
        ...

    def stored_through(self, host_id: str, spool_id: str) -> int:
        """Return the highest sequence number stored without a gap, 0 when there is none."""
        ...

    def record_stored(self, host_id: str, spool_id: str, seq: int, at: int, agent_version: str) -> None:
        """Note that everything up to ``seq`` is stored, of what the host had brought by ``at`` (epoch ms)."""
        ...


class Rules(Protocol):
    """The rules in force."""

    def all(self) -> Sequence[Rule]:
        """Return every rule, enabled or not."""
        ...


class AgentCache(Protocol):
    """Quick answers for agents. Losing it costs a database read; every method raises Unavailable when it is down."""

    def stored_through(self, host_id: str, spool_id: str) -> int | None:
        """Return what was last noted, or None."""
        ...

    def note_stored(self, host_id: str, spool_id: str, seq: int) -> None:
        """Keep ``seq`` for the next answer."""
        ...

    def interval(self, host_id: str) -> float | None:
        """Return the cached sampling interval in seconds, or None."""
        ...

    def note_interval(self, host_id: str, interval_s: float) -> None:
        """Keep the interval for at most a minute."""
        ...

    def note_heard(self, host_id: str, at: int) -> None:
        """Keep when the host's agent last knocked at the door (epoch ms)."""
        ...


class Door(Protocol):
    """What the door where agents knock knows, whether or not what they brought is stored yet."""

    def heard(self) -> Mapping[str, int]:
        """Return when each host was last heard at the door (epoch ms), for a day; raises Unavailable when it is down."""
        ...


class HostMemory(Protocol):
    """What ``process`` remembers of a host between batches, as bytes. Losing it means warming up again."""

    def load(self, host_id: str) -> bytes | None:
        """Return what was saved last, or None."""
        ...

    def save(self, host_id: str, memory: bytes, latest: bytes) -> None:
        """Keep ``memory``, and ``latest`` (the newest value of each series) for whoever shows the fleet."""
        ...
