"""SQL injection in Python: text put together from values that reaches a database call."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from infra.scan.catalogue import RULES
from infra.scan.findings import Hit, Severity
from infra.scan.python_flow import Flow
from infra.scan.python_syntax import FunctionNode
from infra.scan.python_values import HOLE, Value, Values, arguments
from infra.scan.secret_words import squeeze, words

# What runs SQL by its very name. Any other call counts by the words in its name or its receiver's.
_EXECUTE = {
    "execute", "executemany", "executescript", "execute_async", "mogrify", "read_sql", "read_sql_query",
    "exec_driver_sql",
}  # fmt: skip
_VERBS = {
    "query", "queries", "sql", "execute", "exec", "fetch", "fetchrow", "fetchval", "fetchmany", "select",
    "statement", "rows", "scalar", "scalars", "raw", "prepare", "iterate", "copy", "cursor", "extra",
}  # fmt: skip
_RECEIVERS = {
    "db", "database", "conn", "connection", "con", "cur", "cursor", "engine", "pool", "tx", "transaction",
    "spark", "duckdb", "sqlite", "postgres", "mysql", "athena", "redshift", "snowflake", "bigquery",
}  # fmt: skip
_ARGUMENTS = {
    "query", "sql", "statement", "operation", "command", "q", "stmt", "querystring", "querytext", "sqltext",
    "sqlquery", "sqlstatement", "querysql", "sqlstring",
}  # fmt: skip
_QUOTING = {"identifier", "quote", "quoted", "escape", "placeholder", "adapt", "literal"}
_MAX_CHAIN = 3

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
    return bool(_SHAPE.search(text.lstrip("?[( \n")))


def _quotes(name: str) -> bool:
    return name == "as_string" or bool(_QUOTING & set(words(name)))


def find(flow: Flow) -> Iterator[Hit]:
    """Yield a finding for every database call whose SQL has a hole filled by a value."""
    values = Values(flow, _quotes)
    passed_on: dict[str, set[str]] = {}
    for _ in range(_MAX_CHAIN):
        if not _find_wrappers(values, passed_on):
            break
    for call in flow.calls():
        if _callee(call) == "extra":
            yield from _django_extra(values, call)
            continue
        found = next(
            (
                value
                for given, shape in _statements(flow, call, passed_on)
                if (value := values.of(given)).built and _is_sql(value, shape)
            ),
            None,
        )
        if found is not None:
            yield Hit(
                RULES["sql-built-text"], call.lineno, call.col_offset + 1, severity=_severity(flow, found)
            )


def _callee(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _statements(
    flow: Flow, call: ast.Call, passed_on: dict[str, set[str]]
) -> Iterator[tuple[ast.expr, re.Pattern[str] | None]]:
    """Yield the arguments of a call that are SQL, each with the shape its text must have (``None``: any)."""
    name, qualified = _callee(call), flow.qualified(call.func)
    given = [*call.args, *(row.value for row in call.keywords if squeeze(row.arg or "") in _ARGUMENTS)]
    if _declares_sql(name, qualified):
        yield from ((expr, None) for expr in given[:1])
    elif name in _EXECUTE:
        yield from ((expr, _STATEMENT) for expr in given[:2])
    elif _names_database(call, name):
        yield from ((expr, _SHAPE) for expr in given[:3])
    function = flow.functions.get(name)
    if function is not None and name in passed_on and _may_call(function, call):
        for parameter, expr in arguments(function, call):
            if expr is not None and parameter.arg in passed_on[name]:
                yield expr, _STATEMENT


def _may_call(function: FunctionNode, call: ast.Call) -> bool:
    """Return whether a call by this name can mean the function: a list has an ``append`` of its own."""
    owner = call.func.value if isinstance(call.func, ast.Attribute) else None
    own = owner is None or getattr(owner, "id", "") in {"self", "cls"}
    return own or (not hasattr(dict, function.name) and not hasattr(list, function.name))


def _declares_sql(name: str, qualified: str) -> bool:
    """Return whether a call declares its argument to be SQL, be it only a piece of a statement."""
    if name == "RawSQL":
        return True
    library = qualified.startswith(("sqlalchemy", "psycopg", "sqlmodel", "peewee"))
    return library and name in {"text", "literal_column", "SQL", "TextClause"}


def _names_database(call: ast.Call, name: str) -> bool:
    receiver = call.func.value if isinstance(call.func, ast.Attribute) else None
    if isinstance(receiver, ast.Call):
        receiver = receiver.func
    owner = getattr(receiver, "attr", getattr(receiver, "id", ""))
    return bool(_VERBS & set(words(name)) or _RECEIVERS & set(words(owner)))


def _is_sql(value: Value, shape: re.Pattern[str] | None) -> bool:
    text = value.text.replace(HOLE, "?")
    if shape is None:
        return True
    # Only a sentence begins with "Select": a statement is written in capitals or in small letters.
    first = re.match(r"\s*([A-Za-z]+)", text)
    prose = shape is _SHAPE and first is not None and first[1] not in {first[1].upper(), first[1].lower()}
    return not prose and bool(shape.search(text))


def _find_wrappers(values: Values, passed_on: dict[str, set[str]]) -> bool:
    """Note functions that hand a parameter to a database call as it is; return whether any are new."""
    flow, before = values.flow, sum(map(len, passed_on.values()))
    for call in flow.calls():
        for given, _ in _statements(flow, call, passed_on):
            if not isinstance(given, ast.Name) or flow.reaching(given) is not None:
                continue
            parameter, function = flow.parameter_of(given), flow.function(call)
            if parameter is not None and function is not None:
                passed_on.setdefault(function.name, set()).add(parameter.arg)
    return sum(map(len, passed_on.values())) > before


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
