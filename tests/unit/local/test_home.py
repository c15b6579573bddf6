"""The data folder: what is remembered, who holds it, and which process is meant."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from infra.local.home import (
    AlreadyRunning,
    Home,
    PartState,
    Ports,
    State,
    is_process,
    start_time,
    write_private,
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.create()
    return made


def test_the_folder_is_the_chosen_one_then_the_environments_then_the_checkouts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FARWATCH_HOME", str(tmp_path / "env"))
    assert Home.find(str(tmp_path / "chosen")).root == tmp_path / "chosen"
    assert Home.find().root == tmp_path / "env"
    monkeypatch.delenv("FARWATCH_HOME")
    assert Home.find().root.name == ".farwatch"


def test_a_state_comes_back_as_it_was_saved(home: Home) -> None:
    state = State(7, 8, 9001, ready=True, demo=True, parts={"agent": PartState(1, 2, "running", 3)})
    state.save(home)
    assert State.load(home) == state


@pytest.mark.parametrize("content", ["", "{", "[]", '{"parts": 3}', '{"parts": {"agent": {"pid": 1}}}'])
def test_a_state_that_cannot_be_read_counts_as_none(home: Home, content: str) -> None:
    (home.root / "state.json").write_text(content)
    assert State.load(home) == State()


def test_only_one_holds_the_folder_and_the_next_may_when_it_lets_go(home: Home) -> None:
    with home.held():
        assert home.is_held()
        with pytest.raises(AlreadyRunning), home.held():
            pass
    assert not home.is_held()


def test_a_process_is_known_by_its_start_and_not_only_by_its_number() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        started = start_time(child.pid)
        assert is_process(child.pid, started)
        assert not is_process(child.pid, started + 1)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not is_process(child.pid, started), "a zombie does not run"
    assert not is_process(child.pid, started)
    assert not is_process(0, 0)


def test_a_private_file_is_private_from_its_first_byte_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new", 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_ports_follow_the_base() -> None:
    ports = Ports(9000)
    assert ports.of() == {"dashboard": 9000, "engine": 9001, "postgres": 9002, "valkey": 9003}
    assert ports.urls()["api_url"] == "http://127.0.0.1:9001/_aws/execute-api/farwatch"
