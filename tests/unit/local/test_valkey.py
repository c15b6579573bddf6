"""Valkey of an installation: it starts wherever the data folder is."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

import pytest

from infra.local import valkey
from infra.local.home import Home


@pytest.mark.parametrize("name", ["plain", "with a blank", 'with "quotes"', "it's", "back\\slash", "größe"])
def test_it_starts_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    home = Home(tmp_path / name)
    home.create()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = valkey.command(home, port, "secret")
    with subprocess.Popen(
        list(command.argv), env=dict(command.env), cwd=command.cwd, stdout=subprocess.DEVNULL
    ) as server:
        try:
            deadline = time.monotonic() + 10
            while (
                not valkey.answers(port, "secret") and server.poll() is None and time.monotonic() < deadline
            ):
                time.sleep(0.05)
            assert valkey.answers(port, "secret")
            assert home.path("valkey", "appendonlydir").is_dir()
        finally:
            server.terminate()
