"""The field's own scanners: Bandit in this process, cfn-lint in one of its own.

Neither is given the scanned tree's configuration. Bandit runs a fixed list of tests and ignores ``nosec``.
cfn-lint can be told by a template or a file beside it to load rules, that is, to run code of the tree under
scan; so that metadata is taken out, and it works in an empty folder with a time limit.
"""

from __future__ import annotations

import ast
import io
import json
import logging
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from infra.scan.catalogue import BANDIT, CFN_LINT
from infra.scan.findings import Hit, Skipped
from infra.scan.python_flow import Flow
from infra.scan.python_syntax import keyword
from infra.scan.sources import Source

CFN_LINT_SECONDS = 120


class Bandit:
    """Bandit, set up once for many files."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # about how Bandit loads its own plugins
            from bandit.core import config, manager

        logging.getLogger("bandit").setLevel(logging.CRITICAL)
        self._manager: Any = manager.BanditManager(
            config.BanditConfig(), "file", quiet=True, profile={"include": sorted(BANDIT)}, ignore_nosec=True
        )

    def find(self, source: Source, flow: Flow) -> Iterator[Hit]:
        """Yield Bandit's findings in one Python file; nothing when Bandit cannot parse it."""
        run = self._manager
        run.results = []
        run._parse_file(source.name, io.BytesIO(source.text.encode("utf-8", "surrogatepass")), [source.name])
        for issue in run.results:
            rule = BANDIT.get(issue.test_id)
            if rule is not None and not _harmless(issue, flow):
                yield Hit(rule, issue.lineno, max(issue.col_offset, 0) + 1, "bandit")


def _harmless(issue: Any, flow: Flow) -> bool:
    """Return whether the case is a shell with a fixed command, or a YAML loader derived from the safe one."""
    if issue.test_id in {"B602", "B605"}:
        return str(issue.severity) == "LOW"
    return issue.test_id == "B506" and any(
        call.lineno == issue.lineno and _safe_loader(keyword(call, "Loader"), flow) for call in flow.calls()
    )


def _safe_loader(loader: ast.expr | None, flow: Flow) -> bool:
    classes = [node for node in flow.nodes if isinstance(node, ast.ClassDef)]
    return isinstance(loader, ast.Name) and any(
        made.name == loader.id and any(flow.qualified(base).endswith("SafeLoader") for base in made.bases)
        for made in classes
    )


def cfn_lint(templates: Sequence[Source], skipped: list[Skipped]) -> Iterator[tuple[Source, Hit]]:
    """Yield cfn-lint's findings on security; note in ``skipped`` the templates it failed on."""
    if not templates:
        return
    request = json.dumps({"rules": sorted(CFN_LINT), "templates": [source.text for source in templates]})
    with tempfile.TemporaryDirectory(prefix="farwatch-scan-") as empty:
        try:
            done = subprocess.run(  # noqa: S603 - our own interpreter and our own module, no shell
                [sys.executable, str(Path(__file__).with_name("cfn_lint_worker.py"))],
                input=request,
                capture_output=True,
                text=True,
                cwd=empty,
                timeout=CFN_LINT_SECONDS,
                check=True,
            )
            answer = json.loads(done.stdout)
        except (subprocess.SubprocessError, json.JSONDecodeError) as error:
            reason = f"cfn-lint failed ({type(error).__name__}); our own rules were applied"
            skipped += [Skipped(source.name, reason) for source in templates]
            return
    for source, rows in zip(templates, answer, strict=True):
        for rule, line, column in rows:
            yield source, Hit(CFN_LINT[rule], line, column, "cfn-lint")
