"""The scanner's precision and recall on the planted defects, with floors below what was measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.scan import Kind, Severity
from infra.scan.cli import main
from infra.scan.corpus import Corpus, load
from infra.scan.measure import measure

REPOSITORY = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("corpus", "floor"),
    [("tuning", 0.97), ("heldout", 0.95), ("hard", 0.9), ("blind", 0.97), ("blind2", 0.97), ("blind3", 0.95)],
)
def test_planted_defects_are_found_and_look_alikes_are_left_alone(corpus: Corpus, floor: float) -> None:
    measured = measure(corpus)

    assert measured.total.recall >= floor, measured.missed
    assert measured.total.precision >= floor, measured.false
    for kind in Kind:
        assert measured.kinds[kind.value].recall >= floor - 0.2, (kind, measured.missed)
        assert measured.kinds[kind.value].precision >= floor - 0.2, (kind, measured.false)


def test_the_corpus_is_large_and_every_defect_is_marked() -> None:
    cases = [
        *load("tuning"),
        *load("heldout"),
        *load("hard"),
        *load("blind"),
        *load("blind2"),
        *load("blind3"),
    ]

    assert len({case.id for case in cases}) == len(cases)
    assert sum(case.defect is not None for case in cases) >= 400
    assert sum(case.defect is None for case in cases) >= 250
    assert all((case.defect is None) == (not case.lines) for case in cases)
    assert {case.defect for case in cases if case.defect} == {kind.value for kind in Kind}


@pytest.mark.long
def test_this_repository_has_no_finding_of_medium_severity_or_worse(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = main([str(REPOSITORY), "--fail-on", Severity.MEDIUM.label])

    assert code == 0, capsys.readouterr().out
