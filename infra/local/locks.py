"""`./farwatch lock`: writes locks/ anew from pyproject.toml.

The files are universal (one for every platform and Python that we support), carry a hash for each file of each
package, and name no download host, so that any mirror can serve them (docs/adr/0002-lock-files.md).
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from infra.local.home import CHECKOUT

_COMPILE = (
    "--universal",
    "--generate-hashes",
    "--no-emit-index-url",
    "--no-header",
    "--quiet",
    "--python-version",
    "3.11",
)
# Tools that live in environments of their own, because what they depend on does not go with the rest.
_TOOLS = {"uv": "uv>=0.9", "sam": "aws-sam-cli>=1.150"}


def write(*, upgrade: bool) -> int:
    """Resolve every lock; return 0, or the exit code of the first resolution that failed.

    `dev` is resolved first and constrains `run`, so that both agree on every version.
    """
    folder = CHECKOUT / "locks"
    folder.mkdir(exist_ok=True)
    newest = ["--upgrade"] if upgrade else []
    jobs: list[tuple[str, list[str], str | None]] = [
        ("dev", ["pyproject.toml", "--extra", "dev", *newest], None),
        ("run", ["pyproject.toml", "--extra", "run", "-c", "locks/dev.txt", *newest], None),
        *((name, ["-", *newest], requirement) for name, requirement in _TOOLS.items()),
    ]
    for name, arguments, requirement in jobs:
        print(f"Resolving locks/{name}.txt", flush=True)
        command = [str(Path(sys.executable).with_name("uv")), "pip", "compile", *arguments, *_COMPILE]
        done = subprocess.run(
            [*command, "-o", f"locks/{name}.txt"],
            cwd=CHECKOUT,
            input=requirement,
            stdout=subprocess.DEVNULL,
            text=True,
            check=False,
        )
        if done.returncode:
            return done.returncode
    return 0
