"""Settings that lower protection in configuration: YAML and JSON by their nodes, other formats by their lines."""

from __future__ import annotations

import re
from collections.abc import Iterator

from infra.scan.catalogue import RULES
from infra.scan.findings import Hit, Severity
from infra.scan.nodes import Node
from infra.scan.setting_words import opens_cors, weakness
from infra.scan.sources import Source

MAX_LINE = 2_000

_SUFFIXES = {
    ".env", ".envrc", ".ini", ".cfg", ".conf", ".properties", ".toml", ".tfvars", ".tf", ".npmrc", ".dockerfile",
    ".sh", ".bash", ".zsh", ".service",
}  # fmt: skip
_SCRIPTS = {".js", ".mjs", ".cjs", ".jsx", ".ts", ".tsx", ".go", ".java", ".kt", ".cs", ".rb", ".php"}
_LINE = re.compile(
    r"(?:^|\s|export\s|ENV\s|ARG\s|[{,;(])['\"]?(?P<name>[A-Za-z_][\w.-]{2,60})['\"]?\s*[=:]\s*(?P<value>\[?['\"]?[\w.*-]{1,40}['\"]?\]?)(?=\s*(?:$|[\s#;,})\\]))"
)


def in_document(root: Node) -> Iterator[Hit]:
    """Yield the weak settings among the entries of a document, each judged with the key above it as well."""
    stack: list[tuple[str, Node]] = [("", root)]
    seen: set[int] = set()
    while stack:
        above, node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        stack += [(above, item) for item in node.items]
        for key, value in node.mapping():
            name = key.value or ""
            stack.append((name, value))
            for scalar in value.scalars():
                rule = weakness(name, scalar.value or "") or weakness(f"{above}_{name}", scalar.value or "")
                if rule is not None:
                    yield Hit(RULES[rule], scalar.line, scalar.column)


def in_lines(source: Source) -> Iterator[Hit]:
    """Yield the weak settings among the lines of a configuration file, a script, or source code."""
    base = source.name.rsplit("/", 1)[-1].lower()
    config = source.suffix in _SUFFIXES or base.startswith((".env", "dockerfile", "containerfile"))
    if not config and source.suffix not in _SCRIPTS:
        return
    section = ""
    for number, line in enumerate(source.lines, 1):
        stripped = line.strip()
        if len(line) > MAX_LINE or stripped.startswith(("#", "//", ";", "*")):
            continue
        if config and (header := re.fullmatch(r"\[+\s*([\w.\"-]+)\s*\]+", stripped)):
            section = header[1].rsplit(".", 1)[-1]
        for found in _LINE.finditer(line):
            yield from _judge(
                found["name"], section, found["value"], number, found.start("name") + 1, config=config
            )


def _judge(name: str, section: str, value: str, line: int, column: int, *, config: bool) -> Iterator[Hit]:
    rule = weakness(name, value) or (weakness(f"{section}_{name}", value) if section else None)
    if rule is not None:
        yield Hit(RULES[rule], line, column)
    elif config and opens_cors(name, value):
        yield Hit(RULES["cors-wildcard"], line, column, severity=Severity.MEDIUM)
