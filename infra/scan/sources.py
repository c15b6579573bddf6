"""Which files a scan reads: the walk over a tree, and what it leaves out and says so.

Nothing of the scanned tree is executed, imported or obeyed: no version-control command is run in it, no
configuration file of a scanner is read from it, and symbolic links are not followed out of it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from infra.scan.findings import Skipped

MAX_BYTES = 1_000_000
MINIFIED_LINE = 5_000

_TOOL_FOLDERS = {
    ".git", ".hg", ".svn", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis",
    ".tox", ".nox", ".aws-sam", ".terraform", ".gradle", ".idea", ".farwatch", ".import_linter_cache",
}  # fmt: skip
_VENDORED_FOLDERS = {
    "node_modules", "bower_components", "site-packages", "dist-packages", "vendor", "third_party",
    ".venv", "venv",
}  # fmt: skip
_BINARY_SUFFIXES = {
    ".png", ".jpg", ".jpeg", ".gif", ".webp", ".ico", ".pdf", ".zip", ".gz", ".bz2", ".xz", ".zst",
    ".tar", ".whl", ".jar", ".class", ".so", ".dll", ".dylib", ".exe", ".pyc", ".woff", ".woff2",
    ".ttf", ".otf", ".eot", ".mp4", ".mp3", ".wasm", ".parquet", ".db", ".sqlite",
}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """A text file under scan: ``path`` on disk, ``name`` relative to the root with forward slashes."""

    path: Path
    name: str
    text: str

    @cached_property
    def lines(self) -> list[str]:
        """The lines of the file; line ``n`` of a finding is ``lines[n - 1]``."""
        return self.text.split("\n")

    @property
    def suffix(self) -> str:
        """The lower-case extension with its dot; for a dot file its whole name (``.env``)."""
        base = self.name.rsplit("/", 1)[-1].lower()
        return base if base.startswith(".") and base.count(".") == 1 else "." + base.rsplit(".", 1)[-1]

    @property
    def is_minified(self) -> bool:
        """Whether a tool made the script or style sheet: it has lines that nobody writes."""
        made = self.suffix in {".js", ".mjs", ".cjs", ".css", ".map", ".svg"}
        return made and any(len(line) > MINIFIED_LINE for line in self.lines)

    @property
    def is_test(self) -> bool:
        """Whether the file belongs to a test suite, where made-up credentials are expected."""
        parts = self.name.lower().split("/")
        base = parts[-1]
        return (
            any(part in {"tests", "test", "__tests__", "testing", "fixtures"} for part in parts[:-1])
            or base.startswith("test_")
            or base == "conftest.py"
            or ".test." in base
            or ".spec." in base
            or base.rsplit(".", 1)[0].endswith("_test")
        )

    def line_at(self, number: int) -> str:
        """Return line ``number`` (from 1), or an empty string when the file has no such line."""
        return self.lines[number - 1] if 0 < number <= len(self.lines) else ""


def walk(root: Path, skipped: list[Skipped], *, vendored: bool = False) -> Iterator[Source]:
    """Yield the text files at or below ``root`` in a stable order; append what is left out to ``skipped``.

    ``vendored`` includes third-party folders (``node_modules``, ``vendor``, virtual environments).
    """
    if not root.is_dir():
        source = _read(root, root.name, skipped)
        if source is not None:
            yield source
        return

    def trouble(error: OSError) -> None:
        skipped.append(
            Skipped(
                _relative(root, Path(os.fsdecode(error.filename or root))), f"unreadable: {error.strerror}"
            )
        )

    for folder, folders, files in os.walk(root, onerror=trouble):
        here = Path(folder)
        kept = []
        for name in sorted(folders):
            reason = _skip_folder(here / name, vendored=vendored)
            if reason:
                skipped.append(Skipped(_relative(root, here / name) + "/", reason))
            else:
                kept.append(name)
        folders[:] = kept
        for name in sorted(files):
            source = _read(here / name, _relative(root, here / name), skipped)
            if source is not None:
                yield source


def _relative(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _skip_folder(path: Path, *, vendored: bool) -> str | None:
    if path.is_symlink():
        return "symbolic link, not followed"
    if path.name in _TOOL_FOLDERS or path.name.endswith(".egg-info"):
        return "tool data"
    if not vendored and (path.name in _VENDORED_FOLDERS or (path / "pyvenv.cfg").is_file()):
        return "third-party code"
    return None


def _read(path: Path, name: str, skipped: list[Skipped]) -> Source | None:
    """Return the file as a ``Source``, or ``None`` after noting in ``skipped`` why not."""
    try:
        info = path.lstat()
        if stat.S_ISLNK(info.st_mode):
            reason = "symbolic link, not followed"
        elif not stat.S_ISREG(info.st_mode):
            reason = "not a regular file"
        elif path.suffix.lower() in _BINARY_SUFFIXES:
            reason = "binary"
        elif info.st_size > MAX_BYTES:
            reason = f"larger than {MAX_BYTES // 1000} kB ({info.st_size // 1000} kB)"
        else:
            return _decode(path, name, path.read_bytes(), skipped)
    except OSError as error:
        reason = f"unreadable: {error.strerror}"
    skipped.append(Skipped(name, reason))
    return None


def _decode(path: Path, name: str, content: bytes, skipped: list[Skipped]) -> Source | None:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = content.decode("utf-16", errors="replace")
    elif b"\0" in content:
        skipped.append(Skipped(name, "binary"))
        return None
    else:
        text = content.decode("utf-8-sig", errors="replace")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return Source(path, name, text)
