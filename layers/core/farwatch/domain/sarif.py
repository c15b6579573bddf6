"""A scan as SARIF 2.1.0, the format code hosts and editors read.

Source of the format: OASIS, Static Analysis Results Interchange Format (SARIF) Version 2.1.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from farwatch.domain.scans import Finding, ScanSeverity

_LEVELS = {
    ScanSeverity.CRITICAL: "error",
    ScanSeverity.HIGH: "error",
    ScanSeverity.MEDIUM: "warning",
    ScanSeverity.LOW: "note",
    ScanSeverity.INFO: "note",
}
# GitHub sorts by this number: critical from 9.0, high from 7.0, medium from 4.0.
_SCORES = {
    ScanSeverity.CRITICAL: "9.5",
    ScanSeverity.HIGH: "8.0",
    ScanSeverity.MEDIUM: "5.5",
    ScanSeverity.LOW: "3.0",
    ScanSeverity.INFO: "0.0",
}


@dataclass(frozen=True, slots=True)
class SetAside:
    """A finding that counts no longer: by a comment beside it (``inSource``) or a list elsewhere, and why."""

    finding: Finding
    kind: Literal["inSource", "external"]
    reason: str


def sarif_log(
    findings: Sequence[Finding],
    set_aside: Sequence[SetAside] = (),
    unread: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """Return a SARIF log of one run: its findings, those set aside and marked as such, and (path, reason) of what was
    not read.
    """
    every = [*findings, *(one.finding for one in set_aside)]
    worst_last = sorted(every, key=lambda one: list(ScanSeverity).index(one.severity), reverse=True)
    rules = dict(sorted({one.rule: one for one in worst_last}.items()))
    index = {name: place for place, name in enumerate(rules)}
    results = [_result(one, index) for one in findings]
    results += [
        {
            **_result(one.finding, index),
            "suppressions": [{"kind": one.kind, "justification": one.reason}],
        }
        for one in set_aside
    ]
    notes = [
        {
            "level": "note",
            "message": {"text": reason},
            "locations": [{"physicalLocation": {"artifactLocation": _artifact(path)}}],
        }
        for path, reason in unread
    ]
    run = {
        "tool": {"driver": {"name": "farwatch-scan", "rules": [_rule(one) for one in rules.values()]}},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {"ROOT": {"description": {"text": "The folder that was scanned."}}},
        "invocations": [{"executionSuccessful": True, "toolExecutionNotifications": notes}],
        "results": results,
    }
    return {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}


def _artifact(path: str) -> dict[str, str]:
    # A name that is not UTF-8 comes in Python's surrogates; its own bytes go out.
    return {"uri": quote(path.encode("utf-8", "surrogateescape")), "uriBaseId": "ROOT"}


def _rule(worst: Finding) -> dict[str, Any]:
    return {
        "id": worst.rule,
        "shortDescription": {"text": worst.why},
        "help": {"text": worst.fix},
        "defaultConfiguration": {"level": _LEVELS[worst.severity]},
        "properties": {
            "tags": ["security", worst.kind, f"external/cwe/cwe-{worst.cwe}"],
            "security-severity": _SCORES[worst.severity],
        },
    }


def _result(finding: Finding, index: dict[str, int]) -> dict[str, Any]:
    region = {
        "startLine": finding.line,
        "startColumn": finding.column,
        "snippet": {"text": finding.snippet},
    }
    place = {"artifactLocation": _artifact(finding.file), "region": region}
    return {
        "ruleId": finding.rule,
        "ruleIndex": index[finding.rule],
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
