"""The report as SARIF 2.1.0, the format code hosts and editors read.

Source of the format: OASIS, Static Analysis Results Interchange Format (SARIF) Version 2.1.0.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from infra.scan.catalogue import ALL
from infra.scan.findings import Finding, Report, Rule, Severity

_LEVELS = {
    Severity.CRITICAL: "error", Severity.HIGH: "error", Severity.MEDIUM: "warning", Severity.LOW:
    "note", Severity.INFO: "note",
}  # fmt: skip
# GitHub sorts by this number: critical from 9.0, high from 7.0, medium from 4.0.
_SCORES = {
    Severity.CRITICAL: "9.5",
    Severity.HIGH: "8.0",
    Severity.MEDIUM: "5.5",
    Severity.LOW: "3.0",
    Severity.INFO: "0.0",
}


def to_sarif(report: Report) -> str:
    """Return the report as a SARIF log of one run; suppressed findings are in it and marked as such."""
    every = [
        *((found, None) for found in report.findings),
        *((row.finding, row) for row in report.suppressed),
    ]
    names = sorted({found.rule for found, _ in every})
    index = {name: position for position, name in enumerate(names)}
    results: list[dict[str, Any]] = []
    for found, aside in every:
        result = _result(found, index)
        if aside is not None:
            external = aside.by == "baseline"
            result["suppressions"] = [
                {"kind": "external" if external else "inSource", "justification": aside.reason}
            ]
        results.append(result)
    notes = [
        {
            "level": "note",
            "message": {"text": row.reason},
            "locations": [{"physicalLocation": {"artifactLocation": _artifact(row.path)}}],
        }
        for row in report.skipped
    ]
    run = {
        "tool": {"driver": {"name": "farwatch-scan", "rules": [_rule(ALL[name]) for name in names]}},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {"ROOT": {"description": {"text": "The folder that was scanned."}}},
        "invocations": [{"executionSuccessful": True, "toolExecutionNotifications": notes}],
        "results": results,
    }
    log = {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2) + "\n"


def _artifact(name: str) -> dict[str, str]:
    return {"uri": quote(name.encode("utf-8", "surrogateescape")), "uriBaseId": "ROOT"}


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "shortDescription": {"text": rule.why},
        "help": {"text": rule.fix},
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
        "properties": {
            "tags": ["security", rule.kind.value, f"external/cwe/cwe-{rule.cwe}"],
            "security-severity": _SCORES[rule.severity],
        },
    }


def _result(found: Finding, index: dict[str, int]) -> dict[str, Any]:
    region = {"startLine": found.line, "startColumn": found.column, "snippet": {"text": found.snippet}}
    return {
        "ruleId": found.rule,
        "ruleIndex": index[found.rule],
        "level": _LEVELS[found.severity],
        "message": {"text": f"{found.why} {found.fix}"},
        "locations": [{"physicalLocation": {"artifactLocation": _artifact(found.file), "region": region}}],
        "partialFingerprints": {"farwatch/v1": found.fingerprint},
        "properties": {"severity": found.severity.label, "sources": list(found.sources), "cwe": found.cwe},
    }
