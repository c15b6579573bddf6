"""The rules of the scanner, read from ``rules.yaml``: ours by name, the others by their test ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from infra.scan.findings import Kind, Rule, Severity


def _load() -> list[tuple[str, Rule]]:
    rows: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "rules.yaml").read_text("utf-8"))
    return [
        (
            row.get("tool", "farwatch"),
            Rule(
                id=row["id"],
                kind=Kind(row["kind"]),
                severity=Severity.parse(row["severity"]),
                cwe=row["cwe"],
                why=row["why"],
                fix=row["fix"],
            ),
        )
        for row in rows
    ]


_LOADED = _load()
RULES: dict[str, Rule] = {rule.id: rule for tool, rule in _LOADED if tool == "farwatch"}
BANDIT: dict[str, Rule] = {rule.id: rule for tool, rule in _LOADED if tool == "bandit"}
CFN_LINT: dict[str, Rule] = {rule.id: rule for tool, rule in _LOADED if tool == "cfn-lint"}
ALL: dict[str, Rule] = {rule.id: rule for _, rule in _LOADED}
