"""``farwatch scan PATH``: arguments, output, exit code.

Exit codes: 0 nothing at or above ``--fail-on``, 1 findings, 2 wrong usage or trouble (no such path, a
baseline that cannot be read, output that cannot be written, a result that cannot be published).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from infra.scan.engine import scan
from infra.scan.findings import Report, Severity
from infra.scan.html_report import to_html
from infra.scan.publish import PublishError, publish
from infra.scan.sarif import to_sarif
from infra.scan.suppress import BaselineError, read_baseline, write_baseline
from infra.scan.text_report import to_json, to_text

_FORMATS: dict[str, Callable[[Report], str]] = {
    "text": to_text,
    "json": to_json,
    "sarif": to_sarif,
    "html": to_html,
}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    made = argparse.ArgumentParser(
        prog="farwatch scan",
        description="Find hard-coded secrets, SQL injection, XSS, weak cryptography and open CORS.",
    )
    made.add_argument("path", type=Path, help="file or folder to scan")
    made.add_argument(
        "--format", choices=sorted(_FORMATS), default="text", help="form of the report (default: text)"
    )
    made.add_argument(
        "--fail-on", choices=[severity.label for severity in Severity], default="high", metavar="SEVERITY",
        help="lowest severity that gives exit code 1: info, low, medium, high, critical (default: high)",
    )  # fmt: skip
    made.add_argument("--baseline", type=Path, metavar="FILE", help="set aside the findings recorded in FILE")
    made.add_argument(
        "--write-baseline", type=Path, metavar="FILE", help="record the present findings in FILE"
    )
    made.add_argument(
        "--out", type=Path, metavar="FILE", help="write the report to FILE instead of standard output"
    )
    made.add_argument(
        "--include-vendored",
        action="store_true",
        help="scan node_modules, vendor and virtual environments too",
    )
    made.add_argument(
        "--publish", action="store_true",
        help="show the result in the dashboard of the installation on this machine, or of the one that "
        "FARWATCH_API_URL and FARWATCH_API_TOKEN (with the scope scan:publish) lead to",
    )  # fmt: skip
    made.add_argument(
        "--as", dest="target", metavar="NAME",
        help="under this name, by which scans are compared (default: the name of the scanned folder)",
    )  # fmt: skip
    return made


def main(argv: Sequence[str]) -> int:
    """Run the scanner with command-line arguments and return the exit code."""
    try:
        options = parser().parse_args(argv)
    except SystemExit as stop:
        return 0 if stop.code in {0, None} else 2
    try:
        baseline = read_baseline(options.baseline) if options.baseline else {}
        report = scan(options.path, baseline=baseline, vendored=options.include_vendored)
        text = _FORMATS[options.format](report)
        if options.out is None:
            sys.stdout.write(text.encode("utf-8", "backslashreplace").decode("utf-8"))
        else:
            options.out.write_text(text, encoding="utf-8", errors="backslashreplace")
        if options.write_baseline is not None:
            write_baseline(options.write_baseline, report.findings)
        if options.publish:
            said = publish(report, options.target or options.path.resolve().name or "/")
            sys.stderr.write(f"{said}\n")
    except (OSError, BaselineError, PublishError) as error:
        sys.stderr.write(f"farwatch scan: {error}\n")
        return 2
    return 1 if report.at_least(Severity.parse(options.fail_on)) else 0
