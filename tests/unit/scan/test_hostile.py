"""The scanned tree is hostile: it may be built to crash, stall, steer or run code in the scanner."""

from __future__ import annotations

import os
import random
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.scan import scan
from infra.scan.corpus import made_up
from infra.scan.nodes import Unreadable, parse
from infra.scan.sources import MAX_BYTES
from tests.unit.scan.conftest import Scan

SUFFIXES = [
    ".py",
    ".js",
    ".ts",
    ".html",
    ".java",
    ".go",
    ".yaml",
    ".json",
    ".env",
    ".conf",
    ".sh",
    ".j2",
    ".tf",
    ".md",
]
FRAGMENTS = [
    "password", "=", ":", '"', "'", "`", "${", "}", "{{", "}}", "|safe", "execute(", "f'", "SELECT * FROM t WHERE a=",
    "(", ")", "[", "]", ".innerHTML", "+", "%", "\n", "    ", "def f(x):\n", "Resources:\n", "- &a [*a]",
    "//", "/*", "Type: AWS::SQS::Queue",
    "\x00", "\x1b", "\u202e", "cors({origin:'*'", "jwt.decode(", "eval(location.hash", "lambda", "import os", "@", "#", "\\",
]  # fmt: skip

# Functions that call each other twice, level after level: following every path would take for ever.
MAZE = (
    "".join(
        f"def f{level}(a):\n    return f{level + 1}(a + 'x') + f{level + 1}('select ' + a)\n\n\n"
        for level in range(60)
    )
    + "def g(cur, a):\n    cur.execute(f0(a))\n"
)
CHAIN = (
    "def f(x, a0):\n" + "".join(f"    a{i + 1} = a{i} + a{i}\n" for i in range(500)) + "    x.execute(a500)\n"
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    suffix=st.sampled_from(SUFFIXES),
    text=st.one_of(st.text(max_size=300), st.lists(st.sampled_from(FRAGMENTS), max_size=60).map("".join)),
)
def test_no_text_of_any_language_breaks_a_scan(tmp_path: Path, suffix: str, text: str) -> None:
    path = tmp_path / f"file{suffix}"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")

    report = scan(path)

    assert report.files + len(report.skipped) >= 1
    assert all(row.line >= 1 and row.column >= 1 and len(row.snippet) <= 210 for row in report.findings)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("deep.json", "[" * 50_000),
        ("deep.yaml", "- " * 50_000 + "x"),
        ("bomb.yaml", "a: &a [x,x,x]\n" + "".join(f"{c}: &{c} [*{p},*{p},*{p}]\n" for p, c in pairwise("abcdefghijklmnop"))),
        ("deep.py", "x = " + "(" * 5000 + "1" + ")" * 5000),
        ("unary.py", "x = " + "-" * 20_000 + "1"),
        ("plus.py", "def f(cur, a):\n    cur.execute(" + " + ".join(["a"] * 3000) + ")\n"),
        ("chain.py", CHAIN),
        ("self.py", "def f(cur, a):\n    while a:\n        b = c + 'select'\n        c = b + a\n        cur.execute(c)\n"),
        ("line.ts", "x.innerHTML = " + "a + " * 40_000 + "a"),
        ("open.ts", "cors({" * 5_000),
        ("quotes.ts", "password = '" * 20_000),
        ("spaces.env", "password" + " " * 200_000 + "="),
        ("url.txt", "a://" * 50_000),
        ("tokens.txt", "eyJ" * 60_000),
        ("aws.txt", "aws" * 60_000),
        ("algorithms.ts", "algorithms: [" * 20_000),
        ("curl.sh", "curl " * 20_000),
        ("safe.html", "{{" * 60_000),
        ("jquery.js", "$(\n" * 20_000),
        ("sign.js", "jwt.sign(" + "{}" * 1900),
        ("derive.js", "pbkdf2(" + "(a)" * 1300),
        ("tls.conf", "ssl_protocols " * 50_000),
        ("echo.sh", "echo " * 20_000 + "|"),
        ("page.html", "<a " + "x " * 900 + "={{a}} " * 300),
        ("again.py", "def f(cur, a):\n" + "    a = a + a\n" * 2000 + "    cur.execute(a)\n"),
        ("maze.py", MAZE),
        ("allow.py", ("farwatch" + ": allow[") * 5000),
    ],
    ids=lambda part: part[:16] if "." in part[:16] else "",
)  # fmt: skip
def test_files_built_to_stall_a_scanner_do_not(scan_files: Scan, name: str, text: str) -> None:
    began = time.process_time()

    report = scan_files({name: text})

    assert time.process_time() - began < 20
    assert report.files == 1


def test_a_yaml_alias_bomb_is_read_in_linear_size() -> None:
    (document,) = parse("a: &a [1,2]\nb: &b [*a,*a]\nc: [*b,*b]\n")

    assert sum(1 for _ in document.walk()) < 12


def test_a_document_that_is_too_deep_is_refused() -> None:
    with pytest.raises(Unreadable):
        parse("[" * 500 + "]" * 500)


def test_a_template_cannot_make_the_scanner_run_its_code(tmp_path: Path) -> None:
    tree, trace = tmp_path / "tree", tmp_path / "trace"
    rules = tree / "rules"
    rules.mkdir(parents=True)
    (rules / "evil.py").write_text(f"open({str(trace)!r}, 'w').close()\n")
    (tree / ".cfnlintrc").write_text(f"append_rules:\n  - {rules}\n")
    (tree / "template.yaml").write_text(
        "AWSTemplateFormatVersion: '2010-09-09'\n"
        f"Metadata:\n  cfn-lint:\n    config:\n      append_rules: [{rules}]\n      ignore_checks: [W2501]\n"
        "Parameters:\n  DbPassword:\n    Type: String\n"
        "Resources:\n  U:\n    Type: AWS::IAM::User\n    Properties:\n"
        "      LoginProfile:\n        Password: !Ref DbPassword\n"
    )
    (tree / "sitecustomize.py").write_text(f"open({str(trace)!r}, 'w').close()\n")

    before = Path.cwd()
    os.chdir(tree)
    try:
        report = scan(Path())
    finally:
        os.chdir(before)

    assert not trace.exists()
    assert any("cfn-lint" in row.sources for row in report.findings), report


def test_links_are_not_followed_and_special_files_are_not_opened(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.py").write_text("y = eval(x)\n")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "loop").symlink_to(tree)
    (tree / "away").symlink_to(outside)
    (tree / "away.py").symlink_to(outside / "a.py")
    os.mkfifo(tree / "pipe.py")

    report = scan(tree)

    assert report.findings == []
    assert {row.path: row.reason for row in report.skipped} == {
        "loop/": "symbolic link, not followed",
        "away/": "symbolic link, not followed",
        "away.py": "symbolic link, not followed",
        "pipe.py": "not a regular file",
    }


def test_huge_and_binary_files_are_left_out_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "huge.py").write_text("x = 1\n" * (MAX_BYTES // 5))
    (tmp_path / "data.dat").write_bytes(b"abc\0def")
    (tmp_path / "logo.png").write_bytes(b"not really")

    reasons = {row.path: row.reason for row in scan(tmp_path).skipped}

    assert reasons["huge.py"].startswith("larger than 1000 kB")
    assert reasons["data.dat"] == reasons["logo.png"] == "binary"


def test_minified_scripts_are_read_for_known_secrets_only_and_said_so(scan_files: Scan) -> None:
    key = made_up("stripe", random.Random(4))
    report = scan_files({"app.js": "x.innerHTML=a;" * 1000 + f"k='{key}'\n"})

    assert [row.rule for row in report.findings] == ["secret-provider"]
    assert [row.reason for row in report.skipped] == ["minified; read for known formats of secrets only"]


def test_python_that_does_not_parse_is_still_read_for_secrets_and_said_so(scan_files: Scan) -> None:
    password = made_up("password", random.Random(3))
    report = scan_files({"old.py": f'print "hello"\nurl = "redis://:{password}@cache.internal:6379"\n'})

    assert [row.rule for row in report.findings] == ["secret-url"]
    assert report.skipped[0].reason.startswith("not parsed as Python (SyntaxError)")


def test_utf_16_and_carriage_returns_keep_their_lines(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"import httpx\r\nx = httpx.Client(verify=False)\r\n")
    (tmp_path / "b.py").write_bytes("import httpx\nx = httpx.Client(verify=False)\n".encode("utf-16"))

    assert [(row.file, row.line) for row in scan(tmp_path).findings] == [("a.py", 2), ("b.py", 2)]
