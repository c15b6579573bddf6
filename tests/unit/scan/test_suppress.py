from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra.scan import Severity, scan
from infra.scan.cli import main
from infra.scan.suppress import BaselineError, read_baseline
from tests.unit.scan.conftest import Scan

# The word is put together here so that this file does not suppress anything itself.
ALLOW = "farwatch" + ": allow"
DEFECT = "import httpx\nclient = httpx.Client(verify=False)"


def test_a_comment_with_a_reason_sets_the_finding_aside_and_keeps_it_on_record(scan_files: Scan) -> None:
    report = scan_files(
        {"a.py": f"{DEFECT}  # {ALLOW}[crypto-tls-unverified] the appliance has no certificate\n"}
    )

    assert report.findings == []
    assert [(row.finding.line, row.by, row.reason) for row in report.suppressed] == [
        (2, "a.py:2", "the appliance has no certificate")
    ]


def test_a_comment_on_a_line_of_its_own_covers_the_next_line_only(scan_files: Scan) -> None:
    above = f"import httpx\n# {ALLOW}[crypto-tls-unverified] a test bench\nx = httpx.Client(verify=False)\n"
    report = scan_files({"a.py": above + "y = httpx.Client(verify=False)\n"})

    assert [row.line for row in report.findings] == [4]


@pytest.mark.parametrize("reason", ["", "   ", " - ", " :"])
def test_a_comment_without_a_reason_suppresses_nothing_and_is_reported(scan_files: Scan, reason: str) -> None:
    report = scan_files({"a.py": f"{DEFECT}  # {ALLOW}[crypto-tls-unverified]{reason}\n"})

    assert {row.rule for row in report.findings} == {"crypto-tls-unverified", "suppression-without-reason"}
    assert report.at_least(Severity.MEDIUM) == report.findings


def test_a_comment_for_another_rule_suppresses_nothing_and_is_noted_as_unused(scan_files: Scan) -> None:
    report = scan_files({"a.py": f"{DEFECT}  # {ALLOW}[xss-dom] a reason\n"})

    assert {row.rule for row in report.findings} == {"crypto-tls-unverified", "suppression-unused"}


def test_comments_work_in_html_and_yaml(scan_files: Scan) -> None:
    report = scan_files({
        "a.html": f"<!-- {ALLOW}[xss-template-safe] rendered from our own markdown -->\n<p>{{{{ body | safe }}}}</p>\n",
        "b.conf": f"add_header Access-Control-Allow-Origin $http_origin; # {ALLOW}[cors-reflected-origin] mapped above\n"
        "add_header Access-Control-Allow-Credentials true;\n",
    })  # fmt: skip

    assert report.findings == []
    assert sorted(row.reason for row in report.suppressed) == [
        "mapped above",
        "rendered from our own markdown",
    ]


def test_other_tools_marks_do_not_silence_the_scanner(scan_files: Scan) -> None:
    report = scan_files({"a.py": f"{DEFECT}  # nosec  # noqa  # pragma: allowlist secret\n"})

    assert [row.rule for row in report.findings] == ["crypto-tls-unverified"]


def test_a_baseline_sets_aside_what_it_records_and_nothing_else(tmp_path: Path) -> None:
    tree, baseline = tmp_path / "tree", tmp_path / "baseline.json"
    tree.mkdir()
    (tree / "a.py").write_text(DEFECT + "\n")
    assert main([str(tree), "--write-baseline", str(baseline), "--out", str(tmp_path / "r")]) == 1

    assert main([str(tree), "--baseline", str(baseline), "--out", str(tmp_path / "r")]) == 0
    (tree / "a.py").write_text("\n" + DEFECT + "\nother = httpx.Client(verify=False, timeout=3)\n")
    report = scan(tree, baseline=read_baseline(baseline))

    assert [row.line for row in report.findings] == [4]
    assert [row.by for row in report.suppressed] == ["baseline"]


def test_a_reason_written_into_the_baseline_is_reported(tmp_path: Path) -> None:
    tree, baseline = tmp_path / "tree", tmp_path / "baseline.json"
    tree.mkdir()
    (tree / "a.py").write_text(DEFECT + "\n")
    main([str(tree), "--write-baseline", str(baseline), "--out", str(tmp_path / "r")])
    held = json.loads(baseline.read_text())
    held["findings"][0]["reason"] = "replaced in March"
    baseline.write_text(json.dumps(held))

    assert scan(tree, baseline=read_baseline(baseline)).suppressed[0].reason == "replaced in March"


@pytest.mark.parametrize(
    "text", ["", "[]", '{"findings": 3}', '{"findings": [{}]}', '{"findings": ["x"]}', "\x00"]
)
def test_a_broken_baseline_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "baseline.json"
    path.write_text(text)

    with pytest.raises(BaselineError, match=r"baseline"):
        read_baseline(path)
