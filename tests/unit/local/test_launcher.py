"""./farwatch: when it installs, when it does not, and what it says when it cannot."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra.local import install
from infra.local.home import CHECKOUT
from infra.local.install import Installer


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose installation only notes that it ran, and whose environment only says what it is asked."""
    made = tmp_path / "check out"
    (made / "locks").mkdir(parents=True)
    (made / "infra" / "local").mkdir(parents=True)
    shutil.copy(CHECKOUT / "farwatch", made)
    for name in ("run", "dev", "uv"):
        (made / "locks" / f"{name}.txt").write_text(f"{name} 1\n")
    (made / "infra" / "local" / "install.py").write_text("import sys; print('installs', sys.argv[2])\n")
    python = made / ".farwatch" / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "runs $*"\n')
    python.chmod(0o755)
    return made


def mark_installed(checkout: Path, *needs: str) -> None:
    venv = checkout / ".farwatch" / "venv"
    (venv / "checkout").write_text(f"{checkout}\n")
    for need in needs:
        shutil.copy(checkout / "locks" / f"{need}.txt", venv / f"{need}.lock")


def run(checkout: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FARWATCH_")}
    return subprocess.run(
        [checkout / "farwatch", *arguments],
        env={**kept, **environment},
        cwd="/",
        capture_output=True,
        text=True,
    )


def test_an_installed_checkout_hands_over_at_once_with_its_arguments_whole(checkout: Path) -> None:
    mark_installed(checkout, "run")
    assert run(checkout, "logs", "a b").stdout == "runs -I -m infra.local logs a b\n"


@pytest.mark.parametrize("command", ["test", "lock", "bench"])
def test_developers_commands_want_the_developers_packages(checkout: Path, command: str) -> None:
    mark_installed(checkout, "run")
    assert run(checkout, command).stdout.startswith("installs dev\n")
    mark_installed(checkout, "dev")
    assert run(checkout, command).stdout.startswith("runs ")
    assert run(checkout, "up").stdout.startswith("runs "), "they hold what users need as well"


@pytest.mark.parametrize("damage", ["lock", "marker", "moved", "interpreter"])
def test_it_installs_again_when_what_is_installed_is_not_what_should_be(checkout: Path, damage: str) -> None:
    mark_installed(checkout, "run")
    venv = checkout / ".farwatch" / "venv"
    if damage == "lock":
        (checkout / "locks" / "run.txt").write_text("run 2\n")
    elif damage == "marker":
        (venv / "run.lock").unlink()
    elif damage == "moved":
        (venv / "checkout").write_text("/somewhere/else\n")
    else:
        (venv / "bin" / "python").unlink()
    assert run(checkout, "up").stdout.startswith("installs run\n")


def test_without_a_python_it_says_which_and_how_to_get_one(checkout: Path, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("dirname", "cmp"):
        (tools / tool).symlink_to(str(shutil.which(tool)))
    old = tools / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")  # a Python that is too old answers the question so
    old.chmod(0o755)
    done = run(checkout, "up", PATH=str(tools))
    assert done.returncode == 69
    assert "Python 3.11 or newer" in done.stderr
    assert "apt install python3" in done.stderr


def test_a_missing_library_is_noticed_and_the_environment_made_anew(tmp_path: Path) -> None:
    """The command line of an environment without click runs the launcher with an order to repair."""
    root = tmp_path / "root"
    (root / "infra" / "local").mkdir(parents=True)
    (root / "infra" / "__init__.py").touch()
    (root / "infra" / "local" / "__init__.py").touch()
    shutil.copy(CHECKOUT / "infra" / "local" / "__main__.py", root / "infra" / "local")
    (root / "infra" / "local" / "cli.py").write_text("import click_is_not_here\n")
    launcher = root / "farwatch"
    launcher.write_text('#!/bin/sh\necho "repair=$FARWATCH_REPAIR $*"\n')
    launcher.chmod(0o755)
    environment = {**os.environ, "PYTHONPATH": str(root)}
    environment.pop("FARWATCH_REPAIR", None)
    argv = [sys.executable, "-m", "infra.local", "status", "--json"]
    done = subprocess.run(argv, env=environment, cwd=root, capture_output=True, text=True)
    assert done.stdout == "repair=1 status --json\n"
    assert "click_is_not_here" in done.stderr
    again = subprocess.run(
        argv, env={**environment, "FARWATCH_REPAIR": "1"}, cwd=root, capture_output=True, text=True
    )
    assert again.returncode != 0, "a repair that did not help is not repeated for ever"


def test_pips_settings_are_carried_over_to_uv(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    installer = Installer(checkout, "run")
    installer.python = sys.executable
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_", "SSL_", "HTTP"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example.org/simple")
    monkeypatch.setenv("PIP_FIND_LINKS", f"{wheels} /not/there")
    monkeypatch.setenv("PIP_PROXY", "http://proxy.example.org:3128")
    monkeypatch.setenv("UV_HTTP_TIMEOUT", "7")
    settings = installer._uv_settings()
    assert settings["UV_DEFAULT_INDEX"] == "https://mirror.example.org/simple"
    assert settings["UV_FIND_LINKS"] == str(wheels)
    assert settings["HTTPS_PROXY"] == "http://proxy.example.org:3128"
    assert "UV_HTTP_TIMEOUT" not in settings, "what is set for uv itself wins"


def test_when_uv_fails_pip_installs_the_same_lock(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []

    def note(command: list[str], doing: str, environment: dict[str, str] | None = None) -> None:
        ran.append(command)
        if "sync" in command:
            raise install.InstallError("uv cannot")

    monkeypatch.setattr(install, "run", note)
    installer = Installer(checkout, "run")
    monkeypatch.setattr(installer, "_uv_settings", dict)
    installer._install()
    assert ran[-1][1:3] == ["-m", "pip"]
    assert "--require-hashes" in ran[-1]
    assert ran[-1][-1] == str(checkout / "locks" / "run.txt")


def test_an_interrupted_installation_leaves_no_marker(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark_installed(checkout, "run")
    (checkout / "locks" / "run.txt").write_text("run 2\n")

    def interrupted(_: Installer) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Installer, "_works", lambda _: True)
    monkeypatch.setattr(Installer, "_install", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Installer(checkout, "run").run()
    assert not (checkout / ".farwatch" / "venv" / "run.lock").exists()


def test_users_who_waited_for_the_developers_packages_keep_them(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`./farwatch up` beside a first `./farwatch test` took the packages away from under the running tests."""
    installed: list[str] = []
    monkeypatch.setattr(Installer, "_wait_for", lambda *_: mark_installed(checkout, "dev"))
    monkeypatch.setattr(Installer, "_install", lambda installer: installed.append(installer.need))
    Installer(checkout, "run").run()
    assert installed == []
