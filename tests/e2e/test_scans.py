"""A security scan from the command line to the dashboard, through the whole stack and in a real browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from infra.scan import main
from tests.e2e import chromium
from tests.stack.running import RunningStack
from tests.unit.scan.credentials import made_up_credential

pytestmark = [pytest.mark.browser, pytest.mark.stack]
CREDENTIAL = made_up_credential()
HOSTILE = "<img src=x onerror=window.pwned=1>.py"


@pytest.fixture
def browser() -> Iterator[Browser]:
    with chromium.browser() as started:
        yield started


def test_a_pipelines_scan_is_shown_compared_and_harmless(
    browser: Browser,
    stack: RunningStack,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "keys.py").write_text(f'aws_access_key_id = "{CREDENTIAL}"\n')
    many = "".join(f'cursor.execute(f"SELECT * FROM orders WHERE id = {{a{n}}}")\n' for n in range(500))
    (tmp_path / HOSTILE).write_text(
        f"def orders(cursor, {', '.join(f'a{n}' for n in range(500))}):\n"
        "    " + many.replace("\n", "\n    ") + "pass\n"
    )
    made = stack.call("POST", "/api/v1/tokens", {"name": "pipeline", "scopes": ["scan:publish"]})[1]
    monkeypatch.setenv("FARWATCH_API_URL", stack.api_url)
    monkeypatch.setenv("FARWATCH_API_TOKEN", made["token"])
    command = [str(tmp_path), "--publish", "--as", "shop"]
    assert main(command) == 1
    assert "its first scan" in capsys.readouterr().err, "more than 256 KB, through the gateway"
    (tmp_path / "keys.py").unlink()
    monkeypatch.delenv("FARWATCH_API_URL")
    monkeypatch.delenv("FARWATCH_API_TOKEN")
    monkeypatch.setenv("FARWATCH_HOME", str(stack.home.root))
    assert main(command) == 1
    assert "0 new, 1 fixed, 500 still open" in capsys.readouterr().err, "now as the machine's own"

    context = browser.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True)
    try:
        page = context.new_page()
        chromium.sign_in(page, f"{stack.dashboard_url}/scans", *stack.admin)
        page.set_default_timeout(60_000)
        page.get_by_text("0 new, 1 fixed, 500 still open").wait_for()
        page.get_by_role("button", name="Open").click()
        page.get_by_role("heading", name="shop").wait_for()
        page.get_by_role("radio", name="Fixed").click()
        page.get_by_text("keys.py:1").wait_for()
        assert CREDENTIAL not in page.content()
        page.get_by_role("radio", name="Fixed").click()
        page.get_by_text(HOSTILE).first.wait_for()
        page.get_by_role("button", name="Details").first.click()
        page.get_by_text("Why it matters.").wait_for()
        assert page.evaluate("window.pwned") is None
        page.keyboard.press("Escape")
        with page.expect_download() as download:
            page.get_by_role("button", name="Report as SARIF").click()
        log = json.loads(Path(download.value.path()).read_text())
        assert len(log["runs"][0]["results"]) == 500
    finally:
        context.close()
