"""Children end with their supervisor, and what a killed supervisor left behind is found and ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from infra.local.home import CHECKOUT, PartState, is_process, start_time
from infra.local.process import Child, Command, bound_log, end_orphans

SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)",
]


def wait_for(path: Path, text: str) -> None:
    deadline = time.monotonic() + 20
    while not (path.is_file() and text in path.read_text()):
        assert time.monotonic() < deadline, f"{path} never said {text!r}"
        time.sleep(0.01)


def command(argv: list[str], tmp_path: Path) -> Command:
    return Command(argv, dict(os.environ), tmp_path)


def test_a_child_that_ignores_its_stop_signal_is_killed_at_the_deadline(tmp_path: Path) -> None:
    child = Child(command(STUBBORN, tmp_path), tmp_path / "log")
    wait_for(tmp_path / "log", "up")
    child.ask_to_stop()
    child.finish(time.monotonic() + 0.2)
    assert child.exited() == -signal.SIGKILL


def test_what_a_child_started_goes_with_it(tmp_path: Path) -> None:
    script = (
        f"import subprocess, time; p = subprocess.Popen({SLEEPER!r})\n"
        "print('pid', p.pid, 'end', flush=True); time.sleep(60)"
    )
    parent = [sys.executable, "-c", script]
    child = Child(command(parent, tmp_path), tmp_path / "log")
    wait_for(tmp_path / "log", "end")
    grandchild = int((tmp_path / "log").read_text().split("pid ")[1].split()[0])
    started = start_time(grandchild)
    child.process.kill()
    child.process.wait()
    child.kill_group()
    deadline = time.monotonic() + 10
    while is_process(grandchild, started):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_child_ends_when_its_supervisor_is_killed(tmp_path: Path) -> None:
    script = (
        "import os, sys, time; from pathlib import Path; from infra.local.process import Child, Command\n"
        f"child = Child(Command({SLEEPER!r}, dict(os.environ), Path('/')), Path({str(tmp_path / 'log')!r}))\n"
        "print(child.state.pid, child.state.started, flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment
    ) as supervisor:
        assert supervisor.stdout is not None
        pid, started = map(int, supervisor.stdout.readline().split())
        wait_for(tmp_path / "log", "up")
        supervisor.kill()
    deadline = time.monotonic() + 10
    while is_process(pid, started):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_orphans_are_ended_and_strangers_with_their_numbers_are_not() -> None:
    with (
        subprocess.Popen(STUBBORN, stdout=subprocess.PIPE, start_new_session=True) as orphan,
        subprocess.Popen(SLEEPER, stdout=subprocess.PIPE, start_new_session=True) as stranger,
    ):
        for process in (orphan, stranger):
            assert process.stdout is not None
            process.stdout.readline()
        parts = {
            "engine": PartState(orphan.pid, start_time(orphan.pid)),
            "valkey": PartState(stranger.pid, start_time(stranger.pid) - 1),
        }
        assert end_orphans(parts, grace=0.2) == ["engine"]
        assert orphan.wait(10) == -signal.SIGKILL
        assert stranger.poll() is None
        stranger.kill()


def test_a_log_is_cut_back_to_whole_lines_and_its_writer_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    with log.open("ab", buffering=0) as writer:
        line = b"x" * 99 + b"\n"
        writer.write(line * 210_000)
        bound_log(log)
        writer.write(b"after\n")
    assert log.read_bytes() == b"after\n"
    kept = log.with_name("engine.log.1").read_bytes()
    assert len(kept) <= 5_000_000
    assert kept.startswith(line)
    assert kept.endswith(line)


def test_a_small_log_is_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_text("a line\n")
    bound_log(log)
    assert log.read_text() == "a line\n"
    assert not log.with_name("engine.log.1").exists()
