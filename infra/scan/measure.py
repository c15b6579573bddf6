"""Precision and recall of the scanner on the planted defects: ``python -m infra.scan.measure``.

A planted defect counts as found when a finding of its kind stands on one of its lines, one of severity ``low`` or
worse. Every other such finding, in a look-alike or elsewhere in a planted file, is a false alarm.
"""

from __future__ import annotations

import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from infra.scan.corpus import Case, Corpus, load
from infra.scan.engine import scan
from infra.scan.findings import Finding, Kind, Severity


@dataclass
class Score:
    """Counts of one kind of defect (or of all): found, missed and false alarms."""

    found: int = 0
    missed: int = 0
    false: int = 0

    @property
    def recall(self) -> float:
        """The share of planted defects that were found."""
        return self.found / (self.found + self.missed) if self.found + self.missed else 1.0

    @property
    def precision(self) -> float:
        """The share of findings that are planted defects."""
        return self.found / (self.found + self.false) if self.found + self.false else 1.0


@dataclass
class Measured:
    """What a corpus gave: scores for each kind and in all, the cases missed and the false alarms."""

    kinds: dict[str, Score] = field(default_factory=lambda: defaultdict(Score))
    total: Score = field(default_factory=Score)
    missed: list[str] = field(default_factory=list)
    false: list[str] = field(default_factory=list)
    look_alikes: int = 0
    seconds: float = 0.0


def measure(corpus: Corpus) -> Measured:
    """Write a corpus to a temporary folder, scan it, and compare."""
    cases = load(corpus)
    with tempfile.TemporaryDirectory(prefix="farwatch-planted-") as folder:
        for case in cases:
            case.write(Path(folder))
        report = scan(Path(folder))
    by_case: dict[str, list[Finding]] = defaultdict(list)
    for finding in report.at_least(Severity.LOW):
        by_case[finding.file.split("/", 1)[0]].append(finding)
    measured = Measured(seconds=report.seconds, look_alikes=sum(case.defect is None for case in cases))
    for case in cases:
        _count(measured, case, by_case[case.id])
    for score in measured.kinds.values():
        measured.total.found += score.found
        measured.total.missed += score.missed
        measured.total.false += score.false
    return measured


def _count(measured: Measured, case: Case, findings: list[Finding]) -> None:
    hit = False
    for finding in findings:
        if finding.kind == case.defect and finding.line in case.lines:
            hit = True
        else:
            measured.kinds[finding.kind.value].false += 1
            measured.false.append(f"{case.id}: {finding.rule} on line {finding.line}: {finding.snippet}")
    if case.defect is not None:
        score = measured.kinds[case.defect]
        score.found += hit
        score.missed += not hit
        if not hit:
            measured.missed.append(case.id)


def main() -> int:
    """Print the table for every corpus, or for the one named; with ``-v`` the misses and false alarms too."""
    arguments = set(sys.argv[1:])
    corpora: list[Corpus] = ["tuning", "heldout", "hard", "blind", "blind2", "blind3"]
    for corpus in [name for name in corpora if name in arguments] or corpora:
        measured = measure(corpus)
        total = measured.total
        sys.stdout.write(
            f"{corpus}: {total.found + total.missed} planted, {measured.look_alikes} look-alikes,"
            f" {measured.seconds:.1f} s\n"
        )
        for name, score in [*((kind.value, measured.kinds[kind.value]) for kind in Kind), ("all", total)]:
            sys.stdout.write(
                f"  {name:14} recall {score.recall:5.3f} ({score.found}/{score.found + score.missed})"
                f"  precision {score.precision:5.3f} ({score.false} false)\n"
            )
        if "-v" in arguments:
            sys.stdout.writelines(f"  missed {row}\n" for row in measured.missed)
            sys.stdout.writelines(f"  false  {row}\n" for row in measured.false)
    return 0


if __name__ == "__main__":
    sys.exit(main())
