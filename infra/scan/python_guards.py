"""What a condition in Python proves of the values it looks at: members of a collection, text of one shape."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

CHECKS = {"fullmatch", "isidentifier", "isdigit", "isalnum", "isdecimal", "isalpha", "isnumeric"}


def failed(test: ast.expr) -> Iterator[ast.expr]:
    """Yield the expressions that are known to be good where ``test`` is false."""
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.Or):
        for part in test.values:
            yield from failed(part)
    elif isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.NotIn):
        yield test.left
    elif isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        yield from passed(test.operand)


def passed(test: ast.expr) -> Iterator[ast.expr]:
    """Yield the expressions that are known to be good where ``test`` is true."""
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        for part in test.values:
            yield from passed(part)
    elif isinstance(test, ast.NamedExpr):
        yield from passed(test.value)
    elif isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.In):
        yield test.left
    elif isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        yield from failed(test.operand)
    elif isinstance(test, ast.Call) and isinstance(test.func, ast.Attribute):
        anchored = test.func.attr == "match" and _anchored(test)
        if test.func.attr in CHECKS or anchored:
            yield test.args[-1] if test.args else test.func.value


def _anchored(call: ast.Call) -> bool:
    """Return whether ``re.match`` is given a pattern that bounds the whole text and lets no dot through."""
    pattern = call.args[0] if len(call.args) > 1 else None
    if not isinstance(pattern, ast.Constant) or not isinstance(pattern.value, str):
        return False
    return pattern.value.endswith(("$", r"\Z")) and not re.search(r"(?<!\\)\.[*+{]", pattern.value)
