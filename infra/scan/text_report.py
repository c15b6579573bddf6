"""The report for people at a terminal, and for programs as JSON."""

from __future__ import annotations

import json
from collections import Counter

from infra.scan.findings import Report


def to_json(report: Report) -> str:
    """Return the report as indented JSON, the form the admin view is served."""
    return json.dumps(report.to_dict(), indent=2) + "\n"


def printable(text: str) -> str:
    """Return text without control characters, so that a hostile file name cannot steer the terminal."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode()
        for char in text
    )


def to_text(report: Report) -> str:
    """Return the findings worst first, then what was set aside and what was not read."""
    rows: list[str] = []
    for found in report.findings:
        rows += [
            f"{found.severity.label.upper():8} {printable(found.file)}:{found.line}:{found.column}",
            f"         {found.rule} (CWE-{found.cwe}, {' + '.join(found.sources)})",
            f"         {found.snippet}",
            f"         {found.why} {found.fix}",
            "",
        ]
    counts = (
        ", ".join(f"{count} {label}" for label, count in report.counts().items() if count) or "no findings"
    )
    rows.append(f"{printable(report.root)}: {report.files} files in {report.seconds:.1f} s: {counts}.")
    if report.suppressed:
        rows.append(f"Set aside: {len(report.suppressed)}")
        rows += [
            f"  {printable(row.finding.file)}:{row.finding.line} {row.finding.rule}: {printable(row.reason)}"
            for row in report.suppressed
        ]
    if report.skipped:
        reasons = Counter(row.reason for row in report.skipped)
        rows.append(f"Not read, or not in full: {len(report.skipped)}")
        for reason, count in sorted(reasons.items()):
            names = [printable(row.path) for row in report.skipped if row.reason == reason]
            more = f" and {count - 3} more" if count > 3 else ""
            rows.append(f"  {printable(reason)}: {', '.join(names[:3])}{more}")
    return "\n".join(rows) + "\n"
