"""`./farwatch COMMAND` where nothing runs, or nothing can."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from infra.local.home import CHECKOUT


def farwatch(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "infra.local", *map(str, arguments)]
    return subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("detach", [(), ("--detach",)])
def test_up_says_in_one_line_that_its_folder_cannot_be_made(tmp_path: Path, detach: tuple[str, ...]) -> None:
    (tmp_path / "file").touch()
    done = farwatch("up", "--data", tmp_path / "file", *detach)
    assert done.returncode == 1
    assert done.stderr.startswith(f"✗ The data folder {tmp_path / 'file'} cannot be made")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [(), ("-f",), ("engine",)])
def test_logs_say_that_nothing_has_run_yet(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = farwatch("logs", "--data", tmp_path, *arguments)
    assert done.returncode == 1
    assert "nothing has run there yet" in done.stderr


def test_less_than_no_lines_of_a_log_are_refused(tmp_path: Path) -> None:
    assert "--lines" in farwatch("logs", "--data", tmp_path, "-n", "-5").stderr


def test_help_names_the_command_that_people_type() -> None:
    assert farwatch("up", "--help").stdout.startswith("Usage: ./farwatch up ")
