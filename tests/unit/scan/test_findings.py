from __future__ import annotations

import random
from pathlib import Path

import pytest

from infra.scan import Finding, Kind, Severity, scan
from infra.scan.corpus import made_up
from infra.scan.findings import merge

QUERY = "def f(cur, x):\n    cur.execute(f\"SELECT * FROM t WHERE a = '{x}'\")\n"


def found(**changes: object) -> Finding:
    values: dict[str, object] = {
        "rule": "B501", "kind": Kind.WEAK_CRYPTO, "severity": Severity.HIGH, "file": "a.py", "line": 3, "column": 1,
        "snippet": "x", "why": "w", "fix": "f", "cwe": 295, "sources": ("bandit",),
    }  # fmt: skip
    return Finding(**(values | changes))  # type: ignore[arg-type]  # a row of keyword arguments


def test_tools_that_agree_on_a_line_make_one_finding_that_names_them_all() -> None:
    ours = found(rule="crypto-tls-unverified", sources=("farwatch",))

    merged = merge([found(), ours, found(line=4)])

    assert [(row.rule, row.line, row.sources) for row in merged] == [
        ("crypto-tls-unverified", 3, ("bandit", "farwatch")),
        ("B501", 4, ("bandit",)),
    ]


def test_the_worse_severity_wins_and_the_worst_findings_come_first() -> None:
    merged = merge(
        [
            found(line=9, severity=Severity.LOW),
            found(severity=Severity.LOW),
            found(severity=Severity.CRITICAL),
        ]
    )

    assert [(row.line, row.severity) for row in merged] == [(3, Severity.CRITICAL), (9, Severity.LOW)]


def test_different_kinds_on_one_line_stay_apart() -> None:
    assert len(merge([found(), found(kind=Kind.XSS)])) == 2


def test_unrelated_other_findings_on_one_line_stay_apart() -> None:
    assert len(merge([found(kind=Kind.OTHER, cwe=78), found(kind=Kind.OTHER, cwe=502)])) == 2


def test_a_fingerprint_survives_lines_added_above(tmp_path: Path) -> None:
    file = tmp_path / "q.py"
    file.write_text(QUERY)
    before = scan(tmp_path).findings[0]
    file.write_text("# a comment\n\n\n" + QUERY)
    after = scan(tmp_path).findings[0]

    assert after.fingerprint == before.fingerprint
    assert after.line == before.line + 3


def test_identical_lines_have_fingerprints_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "q.py").write_text(QUERY + "\n\n" + QUERY)

    prints = [row.fingerprint for row in scan(tmp_path).findings]

    assert len(prints) == len(set(prints)) == 2


@pytest.mark.parametrize(
    "kind", ["password", "aws_id", "github", "stripe", "slack", "jwt", "hex40", "b64", "fernet", "aws_secret"]
)
def test_no_report_holds_a_secret(tmp_path: Path, kind: str) -> None:
    secret = made_up(kind, random.Random(5))
    (tmp_path / "a.py").write_text(
        f'api_secret_key = "{secret}"  # and again {secret}\nprint(eval("{secret}" + x))\n'
    )

    report = scan(tmp_path)

    assert any(row.kind is Kind.SECRET for row in report.findings)
    assert secret not in str(report.to_dict())
    assert secret[8:] not in str(report.to_dict())


def test_a_private_key_is_reported_at_its_header_and_talk_about_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "id").write_text(made_up("openssh", random.Random(1)))
    (tmp_path / "talk.py").write_text(
        'HEADER = "-----BEGIN RSA " + "PRIVATE KEY-----"\nif "BEGIN RSA PRIVATE KEY" in text:\n    raise ValueError\n'
    )

    findings = scan(tmp_path).findings

    assert [(row.file, row.rule, row.line) for row in findings] == [("id", "secret-private-key", 1)]


def test_made_up_passwords_in_tests_weigh_little_and_live_formats_weigh_the_same(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_login.py").write_text(
        f'password = "{made_up("password", random.Random(2))}"\nkey = "{made_up("aws_id", random.Random(2))}"\n'
    )

    assert {row.rule: row.severity for row in scan(tmp_path).findings} == {
        "secret-literal": Severity.LOW,
        "secret-provider": Severity.CRITICAL,
    }
