"""The one line of the dashboard, run against a whole installation: install, run, repeat, replace, remove."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.stack.running import RunningStack

pytestmark = pytest.mark.stack


class Machine:
    """A machine to watch: a home of its own, psutil as if pip had fetched it, and no service manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        modules = folder / "modules"
        modules.mkdir()
        found = find_spec("psutil")
        assert found is not None
        assert found.origin is not None
        library = Path(found.origin).parent.parent
        # In the version that is locked, or pip would look for that one in an index.
        for name in ("psutil", f"psutil-{version('psutil')}.dist-info"):
            (modules / name).symlink_to(library / name)
        self.env = {
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(folder),
            "FARWATCH_AGENT_STATE_DIR": str(self.state),
            "PIP_NO_INDEX": "1",
            "PYTHONPATH": str(modules),
        }

    def paste(self, line: str, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Paste the line, with options that keep it inside this folder."""
        inside = ["--prefix", str(self.folder / "program"), "--no-service", *options]
        joined = f"{line} {'' if ' -s -- ' in line else '-s -- '}{' '.join(inside)}"
        return subprocess.run(
            ["sh", "-c", joined],
            env={**self.env, **env},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=300,
        )

    def agent(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        program = self.folder / "program" / "current" / "bin" / "farwatch-agent"
        return subprocess.run(
            [program, *arguments], env=self.env, cwd=self.folder, capture_output=True, text=True, timeout=300
        )

    @property
    def host_id(self) -> str:
        return str(json.loads((self.state / "credentials.json").read_text())["host_id"])


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def new_line(stack: RunningStack, path: str = "/api/v1/enrolment-tokens") -> dict[str, Any]:
    status, made = stack.call("POST", path, {} if path.endswith("enrolment-tokens") else None)
    assert status == 201, made
    return dict(made)


def test_the_line_installs_enrols_and_can_be_pasted_again_replaced_and_undone(
    stack: RunningStack, machine: Machine
) -> None:
    made = new_line(stack)
    first = machine.paste(made["install_without_curl"])
    assert first.returncode == 0, first.stdout + first.stderr
    assert made["token"] not in first.stdout + first.stderr
    sent = machine.agent("once")
    assert sent.returncode == 0, sent.stderr
    host_id = machine.host_id

    again = machine.paste(made["install_without_curl"])
    assert again.returncode == 0, again.stdout + again.stderr
    assert "installed already" in again.stdout
    assert "already enrolled" in again.stdout
    assert machine.host_id == host_id, "the token is spent, the identity is good"

    elsewhere = machine.paste(
        made["install_without_curl"], FARWATCH_AGENT_STATE_DIR=str(machine.folder / "x")
    )
    assert elsewhere.returncode == 1
    assert "make a new token in the dashboard" in elsewhere.stderr, "a spent token enrols nothing else"

    token = new_line(stack, f"/api/v1/agents/{host_id}/re-enrol")
    before = (machine.state / "credentials.json").read_text()
    replaced = machine.paste(token["install_without_curl"])
    assert replaced.returncode == 0, replaced.stdout + replaced.stderr
    assert machine.host_id == host_id
    assert (machine.state / "credentials.json").read_text() != before
    assert machine.agent("check").returncode == 0

    removed = machine.paste(made["install_without_curl"], "--uninstall", "--purge")
    assert removed.returncode == 0, removed.stderr
    assert not {"program", "state"} & set(os.listdir(machine.folder))
    assert stack.call("POST", f"/api/v1/agents/{host_id}/retire")[0] == 204
