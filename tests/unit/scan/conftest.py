from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from infra.scan import Report, scan

Scan = Callable[[dict[str, str]], Report]


@pytest.fixture
def scan_files(tmp_path: Path) -> Scan:
    """Write files (name → text) into an empty folder and scan it."""

    def write_and_scan(files: dict[str, str]) -> Report:
        root = tmp_path / "tree"
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return scan(root)

    return write_and_scan
