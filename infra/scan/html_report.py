"""The report as one HTML page: no script, no outside resource, everything from the scanned tree escaped."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from infra.scan.findings import Report
from infra.scan.text_report import printable

_KINDS = {
    "secret": "Secrets", "sql_injection": "SQL injection", "xss": "Cross-site scripting", "weak_crypto":
    "Weak cryptography", "cors": "CORS", "other": "Other",
}  # fmt: skip


def to_html(report: Report) -> str:
    """Return the page as text."""
    from jinja2 import Environment

    page = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        (Path(__file__).parent / "report.html.j2").read_text(encoding="utf-8")
    )
    kinds = report.to_dict()["kinds"]
    groups = [
        (severity, list(rows))
        for severity, rows in groupby(report.findings, key=lambda found: found.severity.label)
    ]
    skipped = [
        (reason, [printable(row.path) for row in rows])
        for reason, rows in groupby(
            sorted(report.skipped, key=lambda row: row.reason), key=lambda row: row.reason
        )
    ]
    return page.render(
        root=printable(report.root),
        files=report.files,
        seconds=f"{report.seconds:.1f}",
        counts=report.counts(),
        kinds=[(_KINDS[name], count) for name, count in kinds.items() if count],
        groups=groups,
        names={found.fingerprint: printable(found.file) for found in report.findings},
        suppressed=[(row, printable(row.finding.file)) for row in report.suppressed],
        skipped=skipped,
    )
