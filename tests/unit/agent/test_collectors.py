"""The collectors against this host and against hosts that misbehave."""

from __future__ import annotations

import io
import json
import os
import threading
import time
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from collector_agent import catalogue, sampler
from collector_agent.collectors import Sample
from collector_agent.collectors.cpu import Cpu
from collector_agent.collectors.disk import DiskSpace, DiskTraffic
from collector_agent.collectors.network import Network
from collector_agent.collectors.processes import TopProcesses
from collector_agent.collectors.sensors import Sensors
from collector_agent.config import Config
from collector_agent.globs import Globs
from collector_agent.guard import Guard
from collector_agent.log import Log
from collector_agent.sampler import Sampler

EVERYTHING = Globs(["*"])
Part = namedtuple("Part", "device mountpoint fstype opts")


@pytest.fixture
def log() -> Log:
    return Log("info", stream=io.StringIO())


def lines(log: Log) -> list[dict[str, Any]]:
    stream = log._stream
    assert isinstance(stream, io.StringIO)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_what_this_host_yields_keeps_to_the_catalogue(log: Log) -> None:
    collecting = sampler.from_config(Config(), log, lambda: (3, 7))
    collecting.sample(time.monotonic())
    time.sleep(0.1)
    samples, top = collecting.sample(time.monotonic())
    assert not collecting.failures
    assert len({(name, labels) for name, labels, _ in samples}) == len(samples)
    for name, labels, value in samples:
        metric = catalogue.BY_NAME[name]
        assert tuple(key for key, _ in labels) == metric.labels
        assert metric.low is None or value >= metric.low
        assert metric.high is None or value <= metric.high + 1e-6
    names = {name for name, _, _ in samples}
    assert {"cpu.percent", "memory.used_percent", "disk.used_percent", "uptime.seconds"} <= names
    assert ("agent.spool_batches", (), 3) in samples
    assert ("agent.dropped_samples", (), 7) in samples
    assert top


def test_memory_and_processor_agree_with_what_the_kernel_says(log: Log) -> None:
    collecting = sampler.from_config(Config(), log, lambda: (0, 0))
    values = {name: value for name, labels, value in collecting.sample(time.monotonic())[0] if not labels}
    assert values["memory.total_bytes"] == psutil.virtual_memory().total
    assert abs(values["memory.used_percent"] - psutil.virtual_memory().percent) < 5
    assert values["load.1m"] == pytest.approx(os.getloadavg()[0], abs=1.0)


def test_processor_shares_never_leave_their_bounds_when_counters_step_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Times = namedtuple("Times", "user nice system idle iowait irq softirq steal")
    readings = [
        [Times(100, 0, 50, 1000, 10, 0, 0, 0), Times(100, 0, 50, 1000, 10, 0, 0, 0)],
        [Times(101, 0, 50, 1001, 9, 0, 0, 0), Times(100, 0, 50, 1000, 10, 0, 0, 0)],
        [Times(105, 0, 51, 1001, 12, 0, 0, 0)],
    ]
    monkeypatch.setattr(psutil, "cpu_times", lambda percpu: readings.pop(0))
    cpu = Cpu()
    assert all(name.startswith("load.") for name, _, _ in cpu.collect(0.0))
    shares = {name: value for name, _, value in cpu.collect(5.0) if name != "cpu.core_percent"}
    assert shares["cpu.percent"] == pytest.approx(50.0)
    assert shares["cpu.iowait_percent"] == 0.0
    # A processor went offline: shares are not known this time, and that is no error.
    assert all(name.startswith("load.") for name, _, _ in cpu.collect(10.0))


def test_a_dead_mount_is_skipped_with_a_warning_and_the_others_are_measured(
    monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    release = threading.Event()
    real = os.statvfs

    def statvfs(path: str) -> Any:
        if path == "/mnt/dead":
            release.wait(60)
        return real("/")

    parts = [Part("/dev/a", "/", "ext4", "rw"), Part("nas:/x", "/mnt/dead", "nfs4", "rw")]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: parts)  # noqa: A006 - the name psutil gives it
    monkeypatch.setattr(os, "statvfs", statvfs)
    space = DiskSpace(EVERYTHING, log, Guard(limit=0.05))
    began = time.monotonic()
    mounts = {dict(labels)["mount"] for _, labels, _ in space.collect(0.0) + space.collect(5.0)}
    assert time.monotonic() - began < 30
    assert mounts == {"/"}
    (line,) = lines(log)
    assert line["mount"] == "/mnt/dead"
    assert "mounts" in line["hint"]
    release.set()


def test_one_device_mounted_twice_is_measured_once_and_images_never(
    monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    parts = [
        Part("/dev/a", "/home/user/bind", "ext4", "rw"),
        Part("/dev/a", "/", "ext4", "rw"),
        Part("/dev/loop1", "/snap/core", "squashfs", "ro"),
    ]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: parts)  # noqa: A006 - as above
    mounts = {dict(labels)["mount"] for _, labels, _ in DiskSpace(EVERYTHING, log).collect(0.0)}
    assert mounts == {"/"}


def test_inside_a_container_the_root_is_measured(monkeypatch: pytest.MonkeyPatch, log: Log) -> None:
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: [])  # noqa: A006 - as above
    mounts = {dict(labels)["mount"] for _, labels, _ in DiskSpace(EVERYTHING, log).collect(0.0)}
    assert mounts == {"/"}


def test_partitions_do_not_count_traffic_twice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sda").mkdir()
    readings = [
        {name: SimpleNamespace(read_bytes=n, write_bytes=0, read_count=0, write_count=0, busy_time=0)
         for name in ("sda", "sda1")}
        for n in (0, 5000)
    ]  # fmt: skip
    monkeypatch.setattr(psutil, "disk_io_counters", lambda perdisk, nowrap: readings.pop(0))
    traffic = DiskTraffic(EVERYTHING, tmp_path)
    traffic.collect(0.0)
    found = {labels for _, labels, _ in traffic.collect(5.0)}
    assert found == {(("device", "sda"),)}


def test_an_interface_made_anew_gives_no_false_spike(monkeypatch: pytest.MonkeyPatch) -> None:
    names = (
        "bytes_sent",
        "bytes_recv",
        "packets_sent",
        "packets_recv",
        "errin",
        "errout",
        "dropin",
        "dropout",
    )
    readings = [{"tun0": SimpleNamespace(**dict.fromkeys(names, n))} for n in (10_000, 20, 1020)]
    monkeypatch.setattr(psutil, "net_io_counters", lambda pernic, nowrap: readings.pop(0))
    network = Network(EVERYTHING)
    network.collect(0.0)
    assert {v for n, _, v in network.collect(5.0) if "bytes" in n} == set()
    assert {v for n, _, v in network.collect(10.0) if "bytes" in n} == {200.0}


def test_sensors_that_are_not_wired_or_share_a_name_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = {
        "coretemp": [
            SimpleNamespace(label="Core 0", current=41.0),
            SimpleNamespace(label="Core 0", current=42.0),
        ],
        "acpitz": [SimpleNamespace(label="", current=-273.0), SimpleNamespace(label="", current=65261.0)],
    }
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: readings, raising=False)
    found = {dict(labels)["sensor"]: value for _, labels, value in Sensors(EVERYTHING).collect(0.0)}
    assert found == {"coretemp/Core 0": 41.0, "coretemp/Core 0 2": 42.0}


def test_the_busiest_process_is_named_whatever_its_name(tmp_path: Path) -> None:
    def write(pid: int, name: bytes, ticks: int, pages: int, started: int = 5) -> None:
        (tmp_path / str(pid)).mkdir(exist_ok=True)
        fields = [b"0"] * 40
        fields[11], fields[19], fields[21] = str(ticks).encode(), str(started).encode(), str(pages).encode()
        fields[0] = b"S"
        (tmp_path / str(pid) / "stat").write_bytes(b"%d (%s) " % (pid, name) + b" ".join(fields))

    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "stat").write_text("")
    (tmp_path / "77").mkdir()  # gone while we look
    write(1, b"init", 0, 10)
    write(2, b") R 1 evil (\xff\n", 0, 20)
    top = TopProcesses(count=1, every=30, proc=tmp_path)
    top.look(100.0, 0.0)
    write(2, b") R 1 evil (\xff\n", 10 * os.sysconf("SC_CLK_TCK"), 20)
    write(1, b"init", 50, 5, started=9)  # another process under a used number has no past
    assert top.look(110.0, 0.0)[0]["cpu_percent"] == 0.0, "not due, and the host is not busy"
    (first,) = top.look(120.0, 99.0)
    assert first["pid"] == 2
    assert first["cpu_percent"] == 50.0
    assert first["name"].startswith(") R 1 evil (")


class Scripted:
    def __init__(self, name: str, behaviour: Any) -> None:
        self.name = name
        self.behaviour = behaviour
        self.calls = 0

    def collect(self, now: float) -> list[Sample]:
        self.calls += 1
        return list(self.behaviour(now))


def test_a_failing_collector_is_skipped_said_once_and_counted(log: Log) -> None:
    good = Scripted("good", lambda _: [("cpu.percent", (), 1.0)])
    bad = Scripted("bad", lambda _: 1 // 0)
    collecting = Sampler([bad, good], log)
    for now in (0.0, 5.0, 10.0):
        assert collecting.sample(now)[0] == [("cpu.percent", (), 1.0)]
    assert collecting.failures == {"bad": 3}
    assert [line["collector"] for line in lines(log)] == ["bad"]


def test_a_slow_collector_rests(log: Log) -> None:
    clock = [0.0]

    def slow(_: float) -> list[Sample]:
        clock[0] += 2.0
        return []

    collector = Scripted("slow", slow)
    collecting = Sampler([collector], log, monotonic=lambda: clock[0])
    for now in (0.0, 5.0, 30.0, 59.0):
        collecting.sample(now)
    assert collector.calls == 1
    collecting.sample(61.0)
    assert collector.calls == 2


def test_collectors_and_metrics_can_be_switched_off(log: Log) -> None:
    config = Config(collectors=("*", "-disk_*"), metrics=("*", "-memory.*"))
    collecting = sampler.from_config(config, log, lambda: (0, 0))
    names = {name for name, _, _ in collecting.sample(0.0)[0]}
    assert not any(name.startswith(("disk.", "memory.")) for name in names)
    assert "load.1m" in names
