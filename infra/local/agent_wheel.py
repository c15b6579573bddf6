"""Builds the agent's wheel from `collector_agent/`, for the back end to hand out to the machines it watches.

Standard library only, because `sam build` runs it with whatever Python is there. The same sources give the same bytes:
entries are sorted, dated alike and not compressed, so neither a clock nor a version of zlib shows in the hash.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

_TIME = (2020, 1, 1, 0, 0, 0)
_WHEEL = "Wheel-Version: 1.0\nGenerator: farwatch\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_ENTRY_POINTS = "[console_scripts]\nfarwatch-agent = collector_agent.cli:main\n"


def build(root: Path) -> tuple[str, bytes]:
    """Return the file name and content of the wheel of `root`/collector_agent.

    Raises `FileNotFoundError` when the agent's sources, pyproject.toml or locks/run.txt are not there, `LookupError` when
    the lock lacks something that the agent needs.
    """
    package = root / "collector_agent"
    found = re.search(r'^__version__ = "([0-9][0-9A-Za-z.+]*)"$', (package / "__init__.py").read_text(), re.M)
    if found is None:
        raise FileNotFoundError(f"{package / '__init__.py'} says no __version__")
    version = found[1]
    info = f"farwatch_agent-{version}.dist-info"
    files = {
        str(file.relative_to(root)): file.read_bytes()
        for file in sorted(package.rglob("*.py"))
        if "__pycache__" not in file.parts
    }
    files[f"{info}/METADATA"] = _metadata(root, version).encode()
    files[f"{info}/WHEEL"] = _WHEEL.encode()
    files[f"{info}/entry_points.txt"] = _ENTRY_POINTS.encode()
    files[f"{info}/locked.txt"] = locked(root).encode()
    record = f"{info}/RECORD"
    files[record] = _record(files, record).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _TIME)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    return f"farwatch_agent-{version}-py3-none-any.whl", buffer.getvalue()


def locked(root: Path) -> str:
    """Return what the agent needs as pip's requirements, each with its exact version and the hashes of its files.

    They are in the wheel, whose own hash the installer checks: so nothing runs on a host that is not locked here. Only what
    the agent asks for itself is taken; pip refuses to install it if it has dependencies of its own that are missing here.
    """
    needs = _project(root)["optional-dependencies"]["agent"]
    lock = (root / "locks" / "run.txt").read_text(encoding="utf-8")
    # A requirement goes on over every line that ends in a backslash.
    entries = {
        found[1].lower(): found[0]
        for found in re.finditer(r"^([A-Za-z0-9._-]+)==(?:.*\\\n)+.*$", lock, re.MULTILINE)
    }
    names = [re.split(r"[^A-Za-z0-9._-]", need, maxsplit=1)[0].lower() for need in needs]
    if missing := [name for name in names if name not in entries]:
        raise LookupError(f"locks/run.txt has no hashes of {', '.join(missing)}: run ./farwatch lock")
    return "".join(f"{entries[name]}\n" for name in names)


def write(root: Path, folder: Path) -> Path:
    """Build the wheel into `folder` and return where it is."""
    name, body = build(root)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    if not path.is_file() or path.read_bytes() != body:
        scratch = path.with_suffix(".new")
        scratch.write_bytes(body)
        scratch.replace(path)
    return path


def _project(root: Path) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    return project


def _metadata(root: Path, version: str) -> str:
    project = _project(root)
    needs = [f"Requires-Dist: {need}" for need in project["optional-dependencies"]["agent"]]
    lines = [
        "Metadata-Version: 2.1",
        "Name: farwatch-agent",
        f"Version: {version}",
        "Summary: Samples a host for Farwatch",
        f"Requires-Python: {project['requires-python']}",
        *needs,
    ]
    return "\n".join(lines) + "\n"


def _record(files: dict[str, bytes], record: str) -> str:
    lines = []
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(content)}")
    return "\n".join([*lines, f"{record},,"]) + "\n"


if __name__ == "__main__":
    write(Path(__file__).parents[2], Path(sys.argv[1]))
