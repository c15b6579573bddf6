"""The back end hands out the agent: the script, and the package that the script checks."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
from pathlib import Path

import pytest

from farwatch.domain.rbac import Role
from functions.api.handler import handler
from functions.api.routes import installer
from infra.local import agent_wheel
from infra.local.home import CHECKOUT
from tests.api_events import http_event
from tests.gateway import Gateway


@pytest.fixture
def packaged(gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """The API as packaging makes it, with the wheel beside its code."""
    folder = tmp_path / "api"
    wheel = agent_wheel.write(CHECKOUT, folder)
    shutil.copy(CHECKOUT / "functions" / "api" / "install.sh", folder)
    assert wheel.is_file()
    monkeypatch.setattr(installer, "FOLDER", folder)
    return gateway


def test_the_script_names_this_back_end_and_the_hash_of_what_it_hands_out(packaged: Gateway) -> None:
    script = packaged("GET", "/api/v1/agents/install.sh")
    assert script.status == 200
    assert script.headers["Content-Type"] == "text/x-shellscript; charset=utf-8"
    answer = handler(http_event("GET", "/api/v1/agents/package"), None)
    assert (answer["statusCode"], answer["isBase64Encoded"]) == (200, True)
    assert answer["headers"]["Content-Type"] == "application/zip"
    body = base64.b64decode(answer["body"])
    assert f"sha256={hashlib.sha256(body).hexdigest()}" in script.raw
    assert "server=https://farwatch.example\n" in script.raw
    assert re.search(r"@[A-Z0-9]+@", script.raw) is None
    assert len(answer["body"]) < 6 * 2**20


def test_a_back_end_packaged_without_the_agent_says_so(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installer, "FOLDER", tmp_path)
    for path in ("/api/v1/agents/install.sh", "/api/v1/agents/package"):
        answer = gateway("GET", path)
        assert (answer.status, answer.body["code"]) == (404, "agent_not_packaged")


def test_the_script_holds_no_secret_and_the_line_the_token_once(packaged: Gateway) -> None:
    admin = packaged.as_role(Role.ADMIN)
    made = packaged("POST", "/api/v1/enrolment-tokens", {}, token=admin).body
    script = packaged("GET", "/api/v1/agents/install.sh").raw
    for line in (made["install"], made["install_without_curl"]):
        assert line.count(made["token"]) == 1
    assert "fwe_" not in re.sub(r"fwe_(…|\*)", "", script).replace("begin with fwe_", "")
    host_id, _ = packaged.enrolled()
    again = packaged("POST", f"/api/v1/agents/{host_id}/re-enrol", token=admin).body
    assert again["install"].endswith("--re-enrol")
