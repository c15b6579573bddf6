"""The agent's wheel: the same bytes from the same sources, and what pip wants of it."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import re
import shutil
import zipfile
from pathlib import Path

import pytest

from collector_agent import __version__
from infra.local import agent_wheel
from infra.local.home import CHECKOUT
from infra.local.package import load_template, package


def opened(body: bytes) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(body))


def test_the_same_sources_give_the_same_bytes_whatever_the_clock_and_the_folder(tmp_path: Path) -> None:
    shutil.copytree(CHECKOUT / "collector_agent", tmp_path / "collector_agent")
    shutil.copy(CHECKOUT / "pyproject.toml", tmp_path)
    (tmp_path / "locks").mkdir()
    shutil.copy(CHECKOUT / "locks" / "run.txt", tmp_path / "locks")
    for file in tmp_path.rglob("*"):
        os.utime(file, (1, 1))
    (tmp_path / "collector_agent" / "__pycache__" / "left.cpython-311.py").parent.mkdir(exist_ok=True)
    (tmp_path / "collector_agent" / "__pycache__" / "left.cpython-311.py").write_text("")
    assert agent_wheel.build(tmp_path) == agent_wheel.build(CHECKOUT)


def test_it_holds_the_agent_and_nothing_of_the_back_end() -> None:
    name, body = agent_wheel.build(CHECKOUT)
    assert name == f"farwatch_agent-{__version__}-py3-none-any.whl"
    names = opened(body).namelist()
    assert {"collector_agent/cli.py", "collector_agent/collectors/cpu.py"} <= set(names)
    assert {n.split("/")[0] for n in names} == {"collector_agent", f"farwatch_agent-{__version__}.dist-info"}
    assert len(body) < 4_000_000, "base64 of it has to fit into one answer of a function (6 MB)"


def test_its_record_names_every_file_with_its_hash_and_its_metadata_asks_for_psutil_alone() -> None:
    archive = opened(agent_wheel.build(CHECKOUT)[1])
    info = f"farwatch_agent-{__version__}.dist-info"
    rows = list(csv.reader(io.StringIO(archive.read(f"{info}/RECORD").decode())))
    assert [row[0] for row in rows] == archive.namelist()
    for name, digest, size in rows[:-1]:
        content = archive.read(name)
        expected = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        assert (digest, size) == (f"sha256={expected}", str(len(content)))
    needs = [
        line
        for line in archive.read(f"{info}/METADATA").decode().splitlines()
        if line.startswith("Requires-Dist")
    ]
    assert needs == ["Requires-Dist: psutil>=7.0"]


def test_what_it_needs_is_locked_in_it_to_one_version_and_its_hashes() -> None:
    archive = opened(agent_wheel.build(CHECKOUT)[1])
    text = archive.read(f"farwatch_agent-{__version__}.dist-info/locked.txt").decode()
    first, *hashes = text.replace("\\\n", "").split()
    assert re.fullmatch(r"psutil==[0-9.]+", first)
    assert hashes
    assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", one) for one in hashes)
    assert text in (CHECKOUT / "locks" / "run.txt").read_text()


def test_a_lock_that_lacks_what_the_agent_needs_builds_nothing(tmp_path: Path) -> None:
    shutil.copytree(CHECKOUT / "collector_agent", tmp_path / "collector_agent")
    shutil.copy(CHECKOUT / "pyproject.toml", tmp_path)
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / "run.txt").write_text(f"psutil-more==1.0 \\\n    --hash=sha256:{'0' * 64}\n")
    with pytest.raises(LookupError, match="no hashes of psutil"):
        agent_wheel.build(tmp_path)


def test_the_api_function_carries_the_wheel_and_the_script(tmp_path: Path) -> None:
    made = package(load_template(CHECKOUT / "template.yaml"), CHECKOUT, tmp_path, "bucket")
    uri = made.template["Resources"]["ApiFunction"]["Properties"]["CodeUri"]
    archive = next(a for a in made.archives if uri.endswith(a.key))
    name, body = agent_wheel.build(CHECKOUT)
    assert opened(archive.body).read(f"functions/api/{name}") == body
    assert "functions/api/install.sh" in opened(archive.body).namelist()
