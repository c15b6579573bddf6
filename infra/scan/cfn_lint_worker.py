"""The process cfn-lint runs in: templates as JSON on standard input, findings as JSON on standard output.

Run as a script by ``infra.scan.tools``, from an empty folder, so that no configuration file is found.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def runner() -> Any:
    """Return cfn-lint set up with its own rules and nobody's configuration; loading them takes a second."""
    from cfnlint.config import ConfigMixIn
    from cfnlint.runner import Runner

    return Runner(ConfigMixIn(regions=["us-east-1"]))


def findings(lint: Any, text: str, rules: set[str]) -> list[tuple[str, int, int]]:
    """Return (rule, line, column) of every match of the given rules in one template."""
    from cfnlint.decode import decode_str

    template, errors = decode_str(text)
    if errors or not isinstance(template, dict):
        return []
    without_orders(template)
    matches = lint.validate_template(template)
    return [
        (match.rule.id, match.linenumber, match.columnnumber) for match in matches if match.rule.id in rules
    ]


def without_orders(template: Any) -> None:
    """Remove the metadata by which a template tells cfn-lint what to load and what to ignore."""
    resources = template.get("Resources")
    holders = [template, *(resources.values() if isinstance(resources, dict) else [])]
    for holder in holders:
        if isinstance(holder, dict) and isinstance(holder.get("Metadata"), dict):
            holder["Metadata"].pop("cfn-lint", None)


def main() -> int:
    """Answer one request."""
    request = json.load(sys.stdin)
    sys.stdin = open("/dev/null")  # noqa: SIM115, PTH123 - cfn-lint reads standard input when it has no file
    lint, rules = runner(), set(request["rules"])
    answer = [findings(lint, text, rules) for text in request["templates"]]
    sys.stdout.write(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
