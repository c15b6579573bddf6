"""`./farwatch test`: everything that has to hold before a change is taken, then pytest.

`sam validate` needs packages that do not go with ours, so it has an environment of its own in `.farwatch/sam`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from infra.local.home import CHECKOUT, write_private

_TYPED_TREES = ("collector_agent", "dashboard", "functions", "infra", "layers/core/farwatch")
_CHECKS: dict[str, tuple[str, ...]] = {
    "types": ("mypy", "--num-workers", "auto", *_TYPED_TREES),
    "sam": ("sam", "validate", "--lint", "--region", "us-east-1"),
    "template": ("cfn-lint", "template.yaml"),
    "lint": ("ruff", "check", "."),
    "format": ("ruff", "format", "--check", "."),
    "layers": ("lint-imports",),
}
"""The command of each check; what takes longest begins first."""


def run(arguments: list[str]) -> int:
    """Run all checks and pytest with `arguments`; return 0 when all pass, else the first failure's exit code.

    A failing check does not keep the others from running. With arguments that choose tests, only pytest runs.
    """
    failed: dict[str, int] = {}
    if not arguments:
        with ThreadPoolExecutor(os.cpu_count()) as side_by_side:
            codes = side_by_side.map(_check, _CHECKS.items())
            failed = {name: code for name, code in zip(_CHECKS, codes, strict=True) if code}
    code = subprocess.run(
        [*_pytest(), *(arguments or _side_by_side())], cwd=CHECKOUT, env=_environment(), check=False
    ).returncode
    if failed:
        print(f"Failed before the tests: {', '.join(failed)}", file=sys.stderr)
    return code or next(iter(failed.values()), 0)


def _pytest() -> list[str | Path]:
    return [sys.executable, "-m", "pytest"]


def _side_by_side() -> list[str]:
    """A process for each processor; the tests of the whole installation stay in one (see ``tests/conftest.py``)."""
    return ["-n", str(os.cpu_count() or 1), "--dist", "loadgroup"]


def _environment() -> dict[str, str]:
    """The environment for pytest: compiled once rather than by each process, and one thread of algebra in each."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **kept}


def _check(check: tuple[str, tuple[str, ...]]) -> int:
    name, (tool, *arguments) = check
    began = time.monotonic()
    program = _sam() if tool == "sam" else Path(sys.executable).with_name(tool)
    environment = {
        **os.environ,
        "SAM_CLI_TELEMETRY": "0",
        "PYTHONPATH": f"{CHECKOUT}:{CHECKOUT / 'layers/core'}",
    }
    done = subprocess.run(
        [program, *arguments],
        cwd=CHECKOUT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    said = f"\n{done.stdout}" if done.returncode else ""
    print(f"{'✗' if said else '✓'} {name} ({time.monotonic() - began:.1f} s){said}", flush=True)
    return done.returncode


def _sam() -> Path:
    """The `sam` command, in an environment made from locks/sam.txt unless it is there already."""
    folder = CHECKOUT / ".farwatch" / "sam"
    lock = CHECKOUT / "locks" / "sam.txt"
    marker = folder / "installed.txt"
    if not (marker.is_file() and marker.read_bytes() == lock.read_bytes()):
        print("Installing locks/sam.txt into .farwatch/sam", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
        sync = [
            uv,
            "pip",
            "sync",
            "--quiet",
            "--require-hashes",
            "--python",
            str(folder / "bin" / "python"),
            str(lock),
        ]
        subprocess.run(sync, check=True)
        write_private(marker, lock.read_text())
    return folder / "bin" / "sam"
