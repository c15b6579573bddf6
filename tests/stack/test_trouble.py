"""What `up` says when it cannot start, and what is left when it could not: nothing."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from infra.local.home import Home, State
from infra.local.supervisor import free
from tests.stack.running import farwatch, free_base


@pytest.mark.parametrize("high", [False, True])
def test_a_taken_port_is_named_with_its_user_and_the_way_out(tmp_path: Path, high: bool) -> None:
    base = (
        next(b for b in range(64_990, 60_000, -10) if all(free(b + i) for i in range(4)))
        if high
        else free_base()
    )
    home = Home(tmp_path / "home")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", base + 2))
        taken.listen()
        done = farwatch("up", "--port-base", str(base), home=home)
    assert done.returncode == 1
    assert f"Port {base + 2}, which postgres needs, is taken" in done.stderr
    assert "--port-base" in done.stderr
    assert State.load(home).parts == {}


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = farwatch("up", home=Home(tmp_path / "file" / "home"))
    assert done.returncode == 1
    assert f"{tmp_path}/file/home cannot be made" in done.stderr
    assert "Traceback" not in done.stderr


def test_status_and_down_of_nothing_say_so(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    status = farwatch("status", home=home)
    assert (status.returncode, "not running" in status.stdout) == (3, True)
    down = farwatch("down", home=home)
    assert (down.returncode, "Nothing was running" in down.stdout) == (0, True)


def test_logs_of_an_unknown_part_name_the_known_ones(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.create()
    home.log("engine").write_text("one\ntwo\n")
    unknown = farwatch("logs", "motor", home=home)
    assert unknown.returncode == 1
    assert "engine" in unknown.stderr
    assert farwatch("logs", "engine", "-n", "1", home=home).stdout == "two\n"
