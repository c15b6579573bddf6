"""`./farwatch logs`: the end of a part's log, or of all of them, and what follows."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from infra.local.home import Home


class UnknownPart(ValueError):
    """There is no log of that name."""


def show(home: Home, part: str | None, lines: int, *, follow: bool) -> None:
    """Print the last `lines` lines of `part` (all parts when None) and, if asked, go on until interrupted."""
    logs = {log.stem: log for log in sorted(home.logs.glob("*.log"))}
    if not logs:
        raise UnknownPart(f"there are no logs in {home.logs}: nothing has run there yet")
    if part is not None and part not in logs:
        raise UnknownPart(f"there is no log of {part!r}; there are: {', '.join(logs)}")
    chosen = {part: logs[part]} if part is not None else logs
    width = 0 if part is not None else max(map(len, chosen), default=0)
    ends = {name: _print(name, log, lines, width) for name, log in chosen.items()}
    while follow:
        time.sleep(0.2)
        for name, log in chosen.items():
            size = log.stat().st_size
            if size < ends[name]:  # it was shortened
                ends[name] = 0
            if size > ends[name]:
                with log.open("rb") as file:
                    file.seek(ends[name])
                    content = file.read()
                whole = content[: content.rfind(b"\n") + 1]
                ends[name] += len(whole)
                _write(name, whole, width)


def _print(name: str, log: Path, lines: int, width: int) -> int:
    with log.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 400 * lines - 65_536))
        content = file.read()
    whole = content[: content.rfind(b"\n") + 1]
    _write(name, b"".join(whole.splitlines(keepends=True)[-lines:]) if lines else b"", width)
    return size - (len(content) - len(whole))


def _write(name: str, content: bytes, width: int) -> None:
    for line in content.decode(errors="replace").splitlines():
        print(f"{name:<{width}}  {line}" if width else line)
    sys.stdout.flush()
