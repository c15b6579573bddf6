"""`farwatch rules test`: the documented example passes, and failures say what is wrong."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.rules_test import FAILED, PASSED, UNUSABLE, UnusableError, load, main, samples

EXAMPLE = Path(__file__).parents[3] / "docs" / "rules-example.yaml"


def test_the_documented_example_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(EXAMPLE)]) == PASSED
    assert capsys.readouterr().out == "4 tests, 0 expectations not met.\n"


def test_a_failure_shows_what_is_missing_and_what_is_too_much(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = EXAMPLE.read_text().replace("labels: {mount: /}}]}", "labels: {mount: /data}}]}")
    (tmp_path / "rules.yaml").write_text(text)
    assert main([str(tmp_path / "rules.yaml")]) == FAILED
    out = capsys.readouterr().out
    assert "at 30m:\n  - missing: Disk fills within four hours {mount=/data}" in out
    assert "  + firing though not expected: Disk fills within four hours {mount=/}" in out


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("rules:", "rules: [", "not YAML"),
        ("enter: 90", "enter: high", "rules.0.conditions.0.enter"),
        ("leave: 75", "leave: 95", "leave must not lie above enter"),
        ('"20x30 97x3 20x30"', '"20xx3"', "'20xx3' is no sample"),
        ("at: 5m40s", "at: soon", "'soon' is no duration"),
        ("{rule: CPU is busy}", "{rule: CPU is bored}", "rules that are not in the file"),
        ("interval: 10s", "interval: 0s", "longer than nothing"),
        ("interval: 10s", f"interval: {'9' * 20}d", "more than a year"),
        ("at: 5m40s", f"at: {'9' * 400}d", "more than a year"),
    ],
)
def test_an_unusable_file_is_told_apart_from_a_failed_test(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, said: str
) -> None:
    text = EXAMPLE.read_text()
    assert old in text
    (tmp_path / "rules.yaml").write_text(text.replace(old, new))
    assert main([str(tmp_path / "rules.yaml")]) == UNUSABLE
    assert said in capsys.readouterr().err


def test_a_file_that_is_no_text_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rules.yaml").write_bytes(b"rules: \xff\xfe")
    assert main([str(tmp_path / "rules.yaml")]) == UNUSABLE
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{tmp_path / 'rules.yaml'}: ")


def test_a_file_without_tests_proves_nothing(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(EXAMPLE.read_text().split("tests:")[0])
    assert main([str(tmp_path / "rules.yaml")]) == UNUSABLE


def test_the_compact_notation() -> None:
    assert samples("95 10x3 1+0.5x3 5-1x2") == [95, 10, 10, 10, 1, 1.5, 2, 5, 4]
    assert all(math.isnan(value) for value in samples("_x2 _"))


@given(st.text())
def test_any_text_is_samples_or_a_clear_refusal(text: str) -> None:
    try:
        found = samples(text)
    except UnusableError:
        return
    assert len(found) <= 100_000


@given(st.text())
def test_any_file_is_rules_or_a_clear_refusal(text: str) -> None:
    with pytest.raises(UnusableError):
        load(text)
