"""Doctor: every code is documented, and the findings are what was seen."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

from infra.local import doctor
from infra.local.home import CHECKOUT, Home, State
from tests.stack.running import free_base


def codes(home: Home) -> set[str]:
    return {finding.code for finding in doctor.examine(home)}


def test_the_documentation_lists_the_codes_with_their_meaning() -> None:
    page = (CHECKOUT / "docs" / "local-engine.md").read_text()
    assert dict(re.findall(r"^\| ([EW]\d{3}) \| (.+) \|$", page, re.MULTILINE)) == doctor.CODES


def test_every_code_is_given_by_some_check() -> None:
    source = (CHECKOUT / "infra" / "local" / "doctor.py").read_text()
    used = re.findall(r'Finding\(\s*"([EW]\d{3})"', source)
    assert set(used) == set(doctor.CODES)


def test_a_taken_port_is_found_with_its_part(tmp_path: Path) -> None:
    home = Home(tmp_path)
    base = free_base()
    State(port_base=base).save(home)
    assert "E003" not in codes(home)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", base + 3))
        taken.listen()
        [finding] = [f for f in doctor.examine(home) if f.code == "E003"]
    assert str(base + 3) in finding.seen
    assert "valkey" in finding.seen


def test_an_incomplete_or_open_secrets_document_is_found(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.secrets.write_text(json.dumps({"database_url": "postgresql://x"}))
    home.secrets.chmod(0o644)
    assert {"E006", "W005"} <= codes(home)
    home.secrets.write_text("{")
    home.secrets.chmod(0o600)
    assert "E006" in codes(home)
    assert "W005" not in codes(home)
