"""SQL injection in Python: text put together from values that reaches a database call."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from infra.scan.catalogue import RULES
from infra.scan.findings import Hit, Severity
from infra.scan.python_flow import Flow, keyword
from infra.scan.python_values import HOLE, Value, Values

_EXECUTE = {
    "execute",
    "executemany",
    "executescript",
    "execute_async",
    "mogrify",
    "read_sql",
    "read_sql_query",
    "RawSQL",
}
_MAYBE = {
    "raw", "fetch", "fetchrow", "fetchval", "fetch_all", "fetch_one", "fetchmany", "iterate", "query",
    "text", "SQL", "copy", "run_query", "scalar", "scalars", "exec_driver_sql"
}  # fmt: skip
_ARGUMENTS = {"query", "sql", "statement", "operation", "command", "q"}
_QUOTING = {
    "Identifier", "Literal", "Placeholder", "quote_ident", "quote_identifier", "quote_literal",
    "quote_name", "escape_string", "adapt", "as_string"
}  # fmt: skip

_STATEMENT = re.compile(
    r"""(?isx) ^\s*(?:--.*?\n\s*)*
      (?: select | insert\s+into | update | delete\s+from | drop | create | alter | truncate | merge\s+into
        | with | replace\s+into | grant | revoke | copy | call | vacuum | attach | pragma | explain | set
        | listen | notify | lock | refresh | comment\s+on | analyze ) \b"""
)
_SHAPE = re.compile(
    r"""(?isx) ^\s*
      (?: select\b.*\bfrom\b | select\s+\S+\s*\( | insert\s+into\b | update\s+\S+\s+set\b | delete\s+from\b
        | drop\s+(?:table|view|index|database|schema|role|user|partition)\b
        | (?:create|alter)\s+(?:or\s+replace\s+|temp(?:orary)?\s+|unique\s+)?
          (?:table|view|index|database|schema|role|user|function)\b
        | truncate\s+(?:table\b|\S+\s*$) | merge\s+into\b | with\s+\w+\s+as\s*\(
        | .*\b(?:where|and|or)\s+\S+\s*(?:=|<|>|in\b|like\b) )"""
)


def looks_like_sql(text: str) -> bool:
    """Return whether constant text, ``?`` where values go, has the shape of a statement or a condition."""
    return bool(_SHAPE.search(text))


def _quotes(name: str) -> bool:
    return name in _QUOTING


def find(flow: Flow) -> Iterator[Hit]:
    """Yield a finding for every database call whose SQL has a hole filled by a value."""
    values = Values(flow, _quotes)
    for call in flow.calls():
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        if name == "extra":
            yield from _django_extra(values, call)
        elif name in _EXECUTE or name in _MAYBE:
            statement = _statement(call)
            if statement is None:
                continue
            value = values.of(statement)
            shape = _STATEMENT if name in _EXECUTE else _SHAPE
            if value.built and shape.search(value.text.replace(HOLE, "?")):
                yield Hit(
                    RULES["sql-built-text"], call.lineno, call.col_offset + 1, severity=_severity(flow, value)
                )


def _statement(call: ast.Call) -> ast.expr | None:
    return call.args[0] if call.args else keyword(call, *_ARGUMENTS)


def _django_extra(values: Values, call: ast.Call) -> Iterator[Hit]:
    for given in call.keywords:
        if given.arg in {"where", "tables", "select", "order_by"} and values.of(given.value).built:
            yield Hit(RULES["sql-built-text"], call.lineno, call.col_offset + 1)


def _severity(flow: Flow, value: Value) -> Severity:
    """Grade by what fills the holes: a value from outside the function is worse than one made inside."""
    for hole in value.holes:
        roots = [
            node for node in ast.walk(hole) if isinstance(node, ast.Name) and node.id not in {"self", "cls"}
        ]
        function = flow.function(hole)
        names = (
            {arg.arg for arg in ast.walk(function.args) if isinstance(arg, ast.arg)} if function else set()
        )
        if any(root.id in names or root.id in {"request", "event"} for root in roots):
            return Severity.HIGH
    return Severity.MEDIUM
