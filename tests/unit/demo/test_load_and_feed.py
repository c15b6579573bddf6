"""Setting the demonstration up, filling it again, and keeping it alive over the agents' own wire."""

from __future__ import annotations

import io
import json
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collector_agent.log import Log
from farwatch.domain.samples import SampleBlock
from infra.local.demo import DemoError, enrol, load
from infra.local.demo.feed import feed, main
from infra.local.demo.load import DemoState
from infra.local.demo.trouble import DAY_MS, HOUR_MS, MINUTE_MS
from tests.unit.agent.backend import Backend
from tests.unit.agent.eventually import eventually

NOW = 1_790_000_040_000 // MINUTE_MS * MINUTE_MS


class Store:
    """Remembers what is written, as the metric store's port takes it."""

    def __init__(self) -> None:
        self.blocks: list[tuple[int, str, SampleBlock]] = []
        self.cells: Counter[tuple[int, str, int]] = Counter()

    def write(self, host_id: str, block: SampleBlock, now: int) -> None:
        assert now <= block.times[0]
        self._keep(0, host_id, block)

    def write_history(self, host_id: str, block: SampleBlock, tier_s: int) -> None:
        assert (block.times % (tier_s * 1000) == 0).all()
        self._keep(tier_s, host_id, block)

    def _keep(self, tier_s: int, host_id: str, block: SampleBlock) -> None:
        self.blocks.append((tier_s, host_id, block))
        self.cells.update((tier_s, host_id, int(at)) for at in block.times)

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the demonstration has no business with {name}")


def set_up(backend: Backend, folder: Path, now: int = NOW, **known: Any) -> int:
    is_known = known.get("is_known", lambda _: True)
    return enrol(api_url=backend.url, folder=folder, new_token=lambda: "fwe_good", is_known=is_known, now=now)


def test_the_fleet_is_enrolled_once_and_its_credentials_are_private(backend: Backend, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    assert set_up(backend, folder) == 20
    assert {message["hostname"] for message in backend.messages} >= {"web-1", "db-3", "queue-2"}
    assert len({message["machine_id"] for message in backend.messages}) == 20
    kept = list((folder / "agents").glob("*/credentials.json"))
    assert [path.stat().st_mode & 0o777 for path in kept] == [0o600] * 20
    assert backend.credential not in (folder / "fleet.json").read_text()
    assert set_up(backend, folder) == 0
    assert json.loads((folder / "manifest.json").read_text())


def test_a_fleet_that_the_back_end_has_forgotten_is_enrolled_anew(backend: Backend, tmp_path: Path) -> None:
    set_up(backend, tmp_path)
    assert set_up(backend, tmp_path, is_known=lambda _: False) == 20


def test_a_refused_token_is_an_error_that_says_why(backend: Backend, tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="the token is not valid"):
        enrol(api_url=backend.url, folder=tmp_path, new_token=lambda: "fwe_bad", is_known=bool, now=NOW)


def test_loading_needs_an_enrolled_fleet(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="not enrolled"):
        load(Store(), folder=tmp_path)


def test_history_is_written_in_three_resolutions_and_once(backend: Backend, tmp_path: Path) -> None:
    store = Store()
    set_up(backend, tmp_path)
    loaded = load(store, folder=tmp_path, now=NOW, days=3)
    assert loaded.hosts == 20
    assert loaded.samples == sum(block.count() for _, _, block in store.blocks) > 500_000
    assert max(store.cells.values()) == 1
    spans = {}
    for tier in (0, 60, 3600):
        blocks = [block for t, _, block in store.blocks if t == tier]
        spans[tier] = (min(b.times[0] for b in blocks), max(b.times[-1] for b in blocks))
    assert spans[0] == (NOW - 2 * HOUR_MS, NOW - 30_000)
    assert spans[60] == (NOW - 3 * DAY_MS, NOW - MINUTE_MS)
    assert spans[3600][0] <= NOW - 3 * DAY_MS + HOUR_MS
    assert spans[3600][1] <= NOW - HOUR_MS


def test_hourly_values_are_the_means_of_the_minutes(backend: Backend, tmp_path: Path) -> None:
    store = Store()
    set_up(backend, tmp_path)
    load(store, folder=tmp_path, now=NOW, days=1)
    host_id = store.blocks[0][1]
    hourly = next(b for t, h, b in store.blocks if t == 3600 and h == host_id)
    minutes = next(b for t, h, b in store.blocks if t == 60 and h == host_id and len(b.times) == 1440)
    at = int(hourly.times[-1])
    inside = (minutes.times >= at) & (minutes.times < at + HOUR_MS)
    assert np.allclose(minutes.values[inside].mean(axis=0), hourly.values[-1])


def test_a_second_load_fills_only_the_time_since(backend: Backend, tmp_path: Path) -> None:
    set_up(backend, tmp_path)
    load(Store(), folder=tmp_path, now=NOW, days=2)
    store = Store()
    load(store, folder=tmp_path, now=NOW + 30 * MINUTE_MS, days=2)
    raw = [block for tier, _, block in store.blocks if tier in (0, 60)]
    assert min(int(block.times[0]) for block in raw) == NOW
    assert max(int(block.times[-1]) for block in raw) < NOW + 30 * MINUTE_MS


def test_the_feeder_sends_for_all_hosts_as_agents_do(backend: Backend, tmp_path: Path) -> None:
    backend.interval_s = 1.0
    backend.lag = 5
    set_up(backend, tmp_path)
    state = DemoState.read(tmp_path)
    assert state is not None
    stop = threading.Event()
    log = Log("error", stream=io.StringIO())
    thread = threading.Thread(
        target=feed, args=(state, tmp_path, backend.url, log, stop), kwargs={"stagger_s": 0.05}
    )
    thread.start()
    try:
        eventually(lambda: len({m["host_id"] for m in backend.stored}) >= 18 and len(backend.stored) > 25)
    finally:
        stop.set()
        thread.join(10)
    assert not thread.is_alive()
    assert set(backend.samples.values()) == {1}
    assert all(message["top_processes"] for message in backend.stored)


def test_the_feeder_says_so_when_there_is_nothing_to_feed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--home", str(tmp_path)]) == 1
    assert "there is no demonstration" in capsys.readouterr().err
