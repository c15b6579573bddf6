"""The security audit scanner: hard-coded secrets, SQL injection, XSS, weak cryptography, open CORS.

``scan(path)`` returns a ``Report``; ``main(argv)`` is the command line. The field's own tools (Bandit,
detect-secrets, cfn-lint) do what they are good at and rules of ours the rest; ``docs/security-scan.md`` tells
which is which and how well they do.
"""

from infra.scan.cli import main
from infra.scan.engine import scan
from infra.scan.findings import Finding, Kind, Report, Severity

__all__ = ["Finding", "Kind", "Report", "Severity", "main", "scan"]
