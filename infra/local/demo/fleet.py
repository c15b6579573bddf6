"""Twenty believable hosts, the same for the same seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

GIB = 1024**3


@dataclass(frozen=True, slots=True)
class DemoHost:
    """A simulated machine. ``busy`` is the share of processor time at full traffic; sizes are in bytes."""

    name: str
    role: str
    labels: Mapping[str, str]
    cpus: int
    memory_bytes: int
    busy: float
    memory_base: float
    mounts: Mapping[str, int]
    disk_base: Mapping[str, float]
    device: str
    interface: str = "eth0"
    os: str = "Debian GNU/Linux 12 (bookworm)"
    kernel: str = "6.1.0-28-amd64"
    utc_offset_h: float = 0.0
    is_metal: bool = False
    has_swap: bool = False
    processes: tuple[str, ...] = field(default=())


_ROLES: dict[str, tuple[int, tuple[int, ...], tuple[int, ...], float, float, tuple[str, ...]]] = {
    # role: (how many, processors, memory in GiB, busy, memory in use, its processes)
    "web": (5, (4, 8), (8, 16), 0.52, 0.42, ("nginx", "gunicorn", "gunicorn", "node")),
    "api": (4, (8, 16), (16, 32), 0.58, 0.55, ("uvicorn", "python3", "envoy", "python3")),
    "db": (3, (16, 32), (64, 128), 0.38, 0.72, ("postgres", "postgres", "pgbouncer", "walwriter")),
    "cache": (3, (4, 8), (32, 64), 0.22, 0.66, ("valkey-server", "valkey-server", "haproxy", "stunnel")),
    "batch": (3, (8, 16), (32, 64), 0.12, 0.30, ("python3", "spark-submit", "java", "rsync")),
    "queue": (2, (4, 8), (16, 32), 0.33, 0.48, ("beam.smp", "java", "nats-server", "epmd")),
}
_REGIONS = (("eu-central", 1.0), ("eu-west", 0.0), ("us-east", -5.0))
_SYSTEMS = (
    ("Debian GNU/Linux 12 (bookworm)", "6.1.0-28-amd64"),
    ("Ubuntu 24.04.1 LTS", "6.8.0-51-generic"),
    ("Rocky Linux 9.5", "5.14.0-503.el9.x86_64"),
)


def fleet(seed: int = 7) -> tuple[DemoHost, ...]:
    """Return twenty hosts: web, api, db, cache, batch and queue machines in three regions."""
    chance = np.random.default_rng([seed, 1])
    hosts: list[DemoHost] = []
    for role, (count, cpus, memory, busy, memory_base, processes) in _ROLES.items():
        for number in range(1, count + 1):
            region, offset = _REGIONS[int(chance.choice(3, p=(0.5, 0.25, 0.25)))]
            system, kernel = _SYSTEMS[int(chance.choice(3, p=(0.6, 0.3, 0.1)))]
            size = int(chance.integers(len(cpus)))
            mounts, base = (
                {"/": int(chance.choice((40, 80, 160))) * GIB},
                {"/": float(chance.uniform(28, 55))},
            )
            if role in ("db", "batch"):
                path = "/var/lib/postgresql" if role == "db" else "/srv/work"
                mounts[path] = int(chance.choice((500, 1000, 2000))) * GIB
                base[path] = float(chance.uniform(45, 68))
            metal = role == "db"
            hosts.append(
                DemoHost(
                    name=f"{role}-{number}",
                    role=role,
                    labels={
                        "env": "staging" if number == count and role in ("web", "api") else "prod",
                        "role": role,
                        "region": region,
                    },
                    cpus=cpus[size],
                    memory_bytes=memory[size] * GIB,
                    busy=busy * float(chance.uniform(0.85, 1.15)),
                    memory_base=memory_base * float(chance.uniform(0.9, 1.1)),
                    mounts=mounts,
                    disk_base=base,
                    device="nvme0n1" if metal else "vda",
                    interface="eno1" if metal else "eth0",
                    os=system,
                    kernel=kernel,
                    utc_offset_h=offset,
                    is_metal=metal,
                    has_swap=role in ("batch", "db"),
                    processes=processes,
                )
            )
    return tuple(hosts)
