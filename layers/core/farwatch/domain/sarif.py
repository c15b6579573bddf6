"""A kept scan as SARIF 2.1.0, the format code hosts and editors read.

Source of the format: OASIS, Static Analysis Results Interchange Format (SARIF) Version 2.1.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from farwatch.domain.scans import Finding, ScanSeverity

_LEVELS = {
    ScanSeverity.CRITICAL: "error",
    ScanSeverity.HIGH: "error",
    ScanSeverity.MEDIUM: "warning",
    ScanSeverity.LOW: "note",
    ScanSeverity.INFO: "note",
}


def sarif_log(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return a SARIF log of one run with these findings."""
    rules = {finding.rule: finding for finding in findings}
    index = {name: place for place, name in enumerate(rules)}
    run = {
        "tool": {"driver": {"name": "farwatch-scan", "rules": [_rule(one) for one in rules.values()]}},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {"ROOT": {"description": {"text": "The folder that was scanned."}}},
        "results": [_result(finding, index[finding.rule]) for finding in findings],
    }
    return {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}


def _rule(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.rule,
        "shortDescription": {"text": finding.why},
        "help": {"text": finding.fix},
        "properties": {"tags": ["security", finding.kind, f"external/cwe/cwe-{finding.cwe}"]},
    }


def _result(finding: Finding, index: int) -> dict[str, Any]:
    region = {
        "startLine": finding.line,
        "startColumn": finding.column,
        "snippet": {"text": finding.snippet},
    }
    place = {"artifactLocation": {"uri": quote(finding.file), "uriBaseId": "ROOT"}, "region": region}
    return {
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": _LEVELS[finding.severity],
        "message": {"text": f"{finding.why} {finding.fix}"},
        "locations": [{"physicalLocation": place}],
        "partialFingerprints": {"farwatch/v1": finding.fingerprint},
        "properties": {
            "severity": str(finding.severity),
            "sources": list(finding.sources),
            "cwe": finding.cwe,
        },
    }
