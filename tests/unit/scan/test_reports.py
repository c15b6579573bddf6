from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from infra.scan import Report, scan
from infra.scan.catalogue import ALL, RULES
from infra.scan.html_report import to_html
from infra.scan.sarif import to_sarif
from infra.scan.text_report import to_json, to_text

HOSTILE = "<img src=x onerror=alert(1)>\x1b[2J.py"


@pytest.fixture
def report(tmp_path: Path) -> Report:
    tree = tmp_path / "<b>tree"
    tree.mkdir()
    (tree / HOSTILE).write_text(
        "import httpx\nx = httpx.Client(verify=False)  # </pre><script>alert(1)</script>\x1b[31m\n"
    )
    (tree / "ü sp.js").write_text("el.innerHTML = `<b>${name}</b>`;\n")
    (tree / "big.bin").write_bytes(b"\0" * 10)
    (tree / "kept.py").write_text("y = eval(x)  # farwatch" + ": allow[B307] a calculator, by intent\n")
    return scan(tree)


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_page_escapes_file_names_and_snippets_and_loads_nothing(report: Report) -> None:
    page = to_html(report)
    parsed = _Tags()
    parsed.feed(page)

    names = {tag for tag, _ in parsed.tags}
    assert not names & {"img", "script", "link", "iframe", "b" * 2}
    assert "&lt;script&gt;" in page
    assert "&lt;img src=x" in page
    assert not any(
        key in {"src", "href"} or key.startswith("on") for _, attrs in parsed.tags for key in attrs
    )
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert "\x1b" not in page


def test_the_page_is_made_for_phones_and_for_both_colour_schemes(report: Report) -> None:
    page = to_html(report)

    assert 'name="viewport"' in page
    assert "prefers-color-scheme: dark" in page


def test_the_terminal_is_not_steered_by_what_was_scanned(report: Report) -> None:
    text = to_text(report)

    assert "\x1b" not in text
    assert "\\x1b[2J.py:2:" in text
    assert "binary: big.bin" in text
    assert "a calculator, by intent" in text


def test_the_json_form_counts_what_it_lists(report: Report) -> None:
    data = json.loads(to_json(report))

    assert sum(data["counts"].values()) == sum(data["kinds"].values()) == len(data["findings"]) == 2
    assert {row["kind"] for row in data["findings"]} == {"weak_crypto", "xss"}
    assert data["skipped"] == [{"path": "big.bin", "reason": "binary"}]
    assert [row["finding"]["rule"] for row in data["suppressed"]] == ["B307"]


def test_the_sarif_log_has_what_the_standard_requires(report: Report) -> None:
    log: dict[str, Any] = json.loads(to_sarif(report))

    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("sarif-2.1.0.json")
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    ids = [rule["id"] for rule in driver["rules"]]
    assert driver["name"]
    assert len(ids) == len(set(ids))
    assert len(run["results"]) == len(report.findings) + len(report.suppressed)
    for result in run["results"]:
        assert ids[result["ruleIndex"]] == result["ruleId"]
        assert result["level"] in {"none", "note", "warning", "error"}
        assert result["message"]["text"]
        (location,) = result["locations"]
        place = location["physicalLocation"]
        assert place["region"]["startLine"] >= 1
        assert place["region"]["startColumn"] >= 1
        assert re.fullmatch(r"[A-Za-z0-9._~%/-]+", place["artifactLocation"]["uri"])
        assert place["artifactLocation"]["uriBaseId"] in run["originalUriBaseIds"]
    assert {unquote(r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]) for r in run["results"]} == {
        HOSTILE, "ü sp.js", "kept.py"
    }  # fmt: skip
    assert [r["suppressions"][0]["kind"] for r in run["results"] if "suppressions" in r] == ["inSource"]
    assert run["invocations"][0]["executionSuccessful"] is True


def test_every_rule_says_why_and_how_to_mend_it() -> None:
    assert len(RULES) >= 30
    for rule in ALL.values():
        assert rule.why.endswith(".")
        assert rule.fix.endswith(".")
        assert 0 < rule.cwe < 2000
