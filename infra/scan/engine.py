"""One scan: every file through the rules that know its language, then merging, masking and suppression."""

from __future__ import annotations

import ast
import re
import time
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

from infra.scan import (
    python_cors,
    python_crypto,
    python_secrets,
    python_sql,
    python_tls,
    python_tokens,
    python_xss,
    script_rules,
    secret_assignments,
    secrets,
    settings_rules,
    template_rules,
)
from infra.scan.findings import (
    Finding,
    Hit,
    Kind,
    Report,
    Severity,
    Skipped,
    Suppressed,
    merge,
    with_fingerprints,
)
from infra.scan.nodes import Node, Unreadable, parse
from infra.scan.python_flow import Flow
from infra.scan.script_text import Exhausted
from infra.scan.secret_words import looks_random, mask
from infra.scan.sources import Source, walk
from infra.scan.suppress import allowances, apply
from infra.scan.tools import Bandit, cfn_lint

SNIPPET = 200
_LONG_WORD = re.compile(r"[A-Za-z0-9+/=_-]{16,}")
# A test suite attacks, fakes and shortcuts on purpose, but a live credential is one wherever it stands.
_WEIGHS_IN_TESTS = {"secret-provider", "secret-private-key", "suppression-without-reason"}
_PYTHON_RULES = (
    python_secrets, python_sql, python_xss, python_crypto, python_tls, python_tokens, python_cors,
)  # fmt: skip
_DOCUMENTS = {".yaml", ".yml", ".json", ".template"}


def scan(path: Path | str, *, baseline: dict[str, str] | None = None, vendored: bool = False) -> Report:
    """Scan a file or a tree and return the report.

    ``baseline`` maps fingerprints to reasons; findings it holds are set aside. ``vendored`` includes
    third-party folders. Raises ``FileNotFoundError`` when there is nothing at ``path``.
    """
    root = Path(path)
    if not root.exists():
        raise FileNotFoundError(f"nothing to scan at {root}")
    began = time.monotonic()
    report = Report(root=str(root))
    sources: dict[str, Source] = {}
    hits: dict[str, list[Hit]] = {}
    templates: list[Source] = []
    bandit = Bandit()
    for source in walk(root, report.skipped, vendored=vendored):
        sources[source.name] = source
        hits[source.name] = list(_file(source, bandit, templates, report.skipped))
    for source, hit in cfn_lint(templates, report.skipped):
        hits[source.name].append(hit)
    findings: list[Finding] = []
    for name, source in sources.items():
        kept, aside = _settle(source, hits[name])
        findings += kept
        report.suppressed += aside
    report.files = len(sources)
    report.findings = _against(baseline or {}, with_fingerprints(merge(findings)), report)
    report.seconds = time.monotonic() - began
    return report


def _file(source: Source, bandit: Bandit, templates: list[Source], skipped: list[Skipped]) -> Iterator[Hit]:
    yield from secrets.scan_text(source)
    if source.suffix in {".py", ".pyi", ".pyw"}:
        yield from _python(source, bandit, skipped)
        return
    documents: list[Node] = []
    if source.suffix in _DOCUMENTS and not secrets.is_lock_file(source):
        documents = _parse(source, skipped)
        yield from _documents(source, documents, templates)
    if source.is_minified:
        skipped.append(Skipped(source.name, "minified; read for known formats of secrets only"))
        return
    yield from secret_assignments.scan_assignments(source, parsed=bool(documents))
    try:
        yield from script_rules.find(source)
    except Exhausted:
        skipped.append(Skipped(source.name, "too many calls to follow; read in part"))
    yield from settings_rules.in_lines(source)


def _python(source: Source, bandit: Bandit, skipped: list[Skipped]) -> Iterator[Hit]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a scanned file's bad escapes are not our reader's business
            flow = Flow(ast.parse(source.text))
            for rules in _PYTHON_RULES:
                yield from rules.find(flow)
            yield from bandit.find(source, flow)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        skipped.append(
            Skipped(source.name, f"not parsed as Python ({type(error).__name__}); text rules were applied")
        )


def _parse(source: Source, skipped: list[Skipped]) -> list[Node]:
    """Return the documents of a YAML or JSON file; none, noted in ``skipped``, when it cannot be read."""
    try:
        return parse(source.text)
    except Unreadable as error:
        reason = str(error).split("\n", 1)[0]
        skipped.append(
            Skipped(source.name, f"not parsed as YAML or JSON ({reason}); text rules were applied")
        )
        return []


def _documents(source: Source, documents: list[Node], templates: list[Source]) -> Iterator[Hit]:
    for document in documents:
        yield from secrets.scan_nodes(source, document)
        yield from template_rules.find(document)
        yield from settings_rules.in_document(document)
    if any(template_rules.is_template(document) for document in documents):
        templates.append(source)


def _settle(source: Source, hits: list[Hit]) -> tuple[list[Finding], list[Suppressed]]:
    """Turn one file's hits into findings, with the file's secrets masked and its suppressions applied."""
    held = {hit.secret for hit in hits if hit.secret}
    known = sorted(held, key=len, reverse=True)
    findings = merge(_finding(source, hit, known) for hit in hits)
    kept, aside, about = apply(source, findings, allowances(source))
    return kept + [_finding(source, hit, known) for hit in about], aside


def _finding(source: Source, hit: Hit, secrets_of_file: Iterable[str]) -> Finding:
    rule = hit.rule
    severity = rule.severity if hit.severity is None else hit.severity
    if source.is_test and rule.id not in _WEIGHS_IN_TESTS:
        severity = min(severity, Severity.LOW)
    return Finding(
        rule=rule.id,
        kind=rule.kind,
        severity=severity,
        file=source.name,
        line=hit.line,
        column=hit.column,
        snippet=_snippet(source.line_at(hit.line), hit.column, secrets_of_file, rule.kind),
        why=rule.why,
        fix=rule.fix,
        cwe=rule.cwe,
        sources=(hit.source,),
    )


def _snippet(line: str, column: int, secrets_of_file: Iterable[str], kind: Kind) -> str:
    """Return the line trimmed around the column, secrets masked before anything is cut.

    Where one secret stands, others may: there, whatever looks generated is masked as well.
    """
    for secret in secrets_of_file:
        line = line.replace(secret, mask(secret))
    if kind is Kind.SECRET:
        line = _LONG_WORD.sub(lambda found: mask(found[0]) if looks_random(found[0]) else found[0], line)
    line = "".join(
        char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line.replace("\t", " ")
    ).strip()
    if len(line) > SNIPPET:
        start = max(0, min(column - SNIPPET // 2, len(line) - SNIPPET))
        line = ("…" if start else "") + line[start : start + SNIPPET] + "…"
    return line


def _against(baseline: dict[str, str], findings: list[Finding], report: Report) -> list[Finding]:
    kept = []
    for finding in findings:
        if finding.fingerprint in baseline:
            report.suppressed.append(Suppressed(finding, "baseline", baseline[finding.fingerprint]))
        else:
            kept.append(finding)
    return kept
