"""Setting findings aside, on the record: inline comments with a reason, and a baseline of fingerprints."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.scan.catalogue import RULES
from infra.scan.findings import Finding, Hit, Suppressed
from infra.scan.sources import Source

_ALLOW = re.compile(r"farwatch:\s*allow\[([\w\s,.-]+)\][ \t]*([^\n]*)")
_CLOSERS = re.compile(r"\s*(?:-->|\*/|#\}|%\})\s*$")


@dataclass
class Allowance:
    """One inline comment: the rules it names, its reason, and the lines it covers."""

    rules: frozenset[str]
    reason: str
    line: int
    covers: tuple[int, ...]
    used: bool = False


def allowances(source: Source) -> list[Allowance]:
    """Return the suppressions written in a file.

    A comment covers its own line; when it stands alone on a line, the next line as well.
    """
    found = []
    for number, line in enumerate(source.lines, 1):
        match = _ALLOW.search(line[:4000]) if "farwatch:" in line else None
        if match is None:
            continue
        reason = _CLOSERS.sub("", match[2]).strip(" -:–—")
        alone = not re.search(r"[\w)\]}\"']", re.sub(r"^[\s#/*<!{%;-]+", "", line[: match.start()]))
        rules = frozenset(name.strip() for name in match[1].split(",") if name.strip())
        if rules == {"RULE"}:  # the form as documentation shows it
            continue
        found.append(Allowance(rules, reason, number, (number, number + 1) if alone else (number,)))
    return found


def apply(
    source: Source, findings: list[Finding], held: list[Allowance]
) -> tuple[list[Finding], list[Suppressed], list[Hit]]:
    """Split a file's findings into those that stand and those set aside; add findings about the comments.

    A comment without a reason suppresses nothing and is itself reported; one that matched nothing is noted.
    """
    kept: list[Finding] = []
    aside: list[Suppressed] = []
    for finding in findings:
        by = next(
            (row for row in held if row.reason and finding.line in row.covers and finding.rule in row.rules),
            None,
        )
        if by is None:
            kept.append(finding)
        else:
            by.used = True
            aside.append(Suppressed(finding, f"{source.name}:{by.line}", by.reason))
    about = [Hit(RULES["suppression-without-reason"], row.line) for row in held if not row.reason]
    about += [Hit(RULES["suppression-unused"], row.line) for row in held if row.reason and not row.used]
    return kept, aside, about


class BaselineError(ValueError):
    """The baseline file cannot be used; the message says why."""


def read_baseline(path: Path) -> dict[str, str]:
    """Return fingerprint → reason of a baseline file; raises ``BaselineError``."""
    try:
        held: Any = json.loads(path.read_text(encoding="utf-8"))
        return {
            str(row["fingerprint"]): str(row.get("reason") or "in the baseline") for row in held["findings"]
        }
    except OSError as error:
        raise BaselineError(f"cannot read baseline {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BaselineError(f"{path} is not a baseline file: {error}") from error


def write_baseline(path: Path, findings: Iterable[Finding]) -> None:
    """Write the findings as a baseline: fingerprints, with rule and place for the reader."""
    rows = [
        {
            "fingerprint": found.fingerprint,
            "rule": found.rule,
            "file": found.file,
            "line": found.line,
            "reason": "",
        }
        for found in findings
    ]
    path.write_text(json.dumps({"version": 1, "findings": rows}, indent=2) + "\n", encoding="utf-8")
