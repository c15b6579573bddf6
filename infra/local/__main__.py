"""`./farwatch`: hands over to the command line, and has a damaged environment mended first.

Only the standard library is imported before that is known, so that a half-installed environment is noticed here
and not as a stack trace.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_OURS = ("infra", "farwatch", "functions", "dashboard", "collector_agent")


def main() -> None:
    """Run the command line; when a library is missing, run the launcher again with an order to repair."""
    for threads in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        # Matrices are small here: a second thread of algebra only spins beside the first, and doubles the processor time.
        os.environ.setdefault(threads, "1")
    try:
        from infra.local.cli import main as command_line

        command_line(prog_name="./farwatch")  # what people typed, not the module behind it
    except ModuleNotFoundError as error:
        launcher = Path(__file__).resolve().parents[2] / "farwatch"
        missing = (error.name or "").partition(".")[0]
        if missing in _OURS or os.environ.get("FARWATCH_REPAIR") == "1" or not launcher.is_file():
            raise
        print(f"The environment lacks {error.name}; it is made anew.", file=sys.stderr, flush=True)
        os.execve(launcher, [str(launcher), *sys.argv[1:]], {**os.environ, "FARWATCH_REPAIR": "1"})  # noqa: S606


if __name__ == "__main__":
    main()
