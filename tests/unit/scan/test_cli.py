from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra.scan import main, scan

MEDIUM = "from jinja2 import Environment\nenv = Environment(autoescape=False)\n"


@pytest.mark.parametrize(
    ("fail_on", "code"), [("critical", 0), ("high", 0), ("medium", 1), ("low", 1), ("info", 1)]
)
def test_the_exit_code_follows_fail_on(tmp_path: Path, fail_on: str, code: int) -> None:
    (tmp_path / "a.py").write_text(MEDIUM)

    assert main([str(tmp_path), "--fail-on", fail_on]) == code


def test_a_clean_tree_gives_zero_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")

    assert main([str(tmp_path), "--fail-on", "info"]) == 0
    assert "1 files" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--format", "xml", "."],
        ["--fail-on", "fatal", "."],
        ["/no/such/path"],
        [".", "--baseline", "/no/such/file"],
    ],
)
def test_wrong_usage_gives_two_and_a_message(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err


def test_help_gives_zero(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "--fail-on" in capsys.readouterr().out


def test_output_that_cannot_be_written_gives_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")

    assert main([str(tmp_path), "--out", str(tmp_path / "no" / "report")]) == 2
    assert "report" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["text", "json", "sarif", "html"])
def test_a_report_goes_to_a_file_in_every_form(tmp_path: Path, form: str) -> None:
    (tmp_path / "a.py").write_text(MEDIUM)
    out = tmp_path / "report.out"

    assert main([str(tmp_path / "a.py"), "--format", form, "--out", str(out), "--fail-on", "medium"]) == 1
    assert "xss-autoescape-off" in out.read_text(encoding="utf-8")
    if form in {"json", "sarif"}:
        json.loads(out.read_text(encoding="utf-8"))


def test_a_single_file_can_be_scanned(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(MEDIUM)
    (tmp_path / "b.py").write_text(MEDIUM)

    assert {row.file for row in scan(tmp_path / "b.py").findings} == {"b.py"}


def test_third_party_folders_are_left_out_and_named_unless_asked_for(tmp_path: Path) -> None:
    for folder in ("node_modules/x", "vendor", "env/lib"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.py").write_text(MEDIUM)
    (tmp_path / "env" / "pyvenv.cfg").write_text("home = /usr\n")

    report = scan(tmp_path)

    assert report.findings == []
    assert {(row.path, row.reason) for row in report.skipped} == {
        ("node_modules/", "third-party code"), ("vendor/", "third-party code"), ("env/", "third-party code")
    }  # fmt: skip
    assert len(scan(tmp_path, vendored=True).findings) == 3
