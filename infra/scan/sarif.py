"""The report as SARIF 2.1.0: findings, what was set aside, and what was not read."""

from __future__ import annotations

import json

from farwatch.domain import scans
from farwatch.domain.sarif import SetAside, sarif_log
from infra.scan.findings import Finding, Report


def to_sarif(report: Report) -> str:
    """Return the report as a SARIF log of one run; suppressed findings are in it and marked as such."""
    log = sarif_log(
        [as_kept(finding) for finding in report.findings],
        [
            SetAside(as_kept(row.finding), "external" if row.by == "baseline" else "inSource", row.reason)
            for row in report.suppressed
        ],
        [(row.path, row.reason) for row in report.skipped],
    )
    return json.dumps(log, indent=2) + "\n"


def as_kept(finding: Finding) -> scans.Finding:
    """Return the finding as an installation keeps it."""
    said = finding.to_dict()
    return scans.Finding(
        **{**said, "severity": scans.ScanSeverity(said["severity"]), "sources": finding.sources}
    )
