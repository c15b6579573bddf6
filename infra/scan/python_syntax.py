"""Small questions to the syntax tree of Python: parameters, keyword arguments, the entries of a dictionary."""

from __future__ import annotations

import ast
from collections.abc import Iterator

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
Scope = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef


def parameter(scope: Scope, name: str) -> ast.arg | None:
    """Return the parameter called ``name`` of a function, or ``None``."""
    if isinstance(scope, (ast.Module, ast.ClassDef)):
        return None
    given = scope.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    return next((arg for arg in every if arg is not None and arg.arg == name), None)


def keyword(call: ast.Call, *names: str) -> ast.expr | None:
    """Return the value of the first keyword argument with one of the names, or ``None``."""
    return next((given.value for given in call.keywords if given.arg in names), None)


def entries(expr: ast.expr | None) -> Iterator[tuple[str, ast.expr]]:
    """Yield the (key, value) pairs of a dictionary display or a ``dict(…)`` call, where the key is text."""
    if isinstance(expr, ast.Dict):
        for key, value in zip(expr.keys, expr.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                yield key.value, value
    elif isinstance(expr, ast.Call) and isinstance(expr.func, ast.Name) and expr.func.id == "dict":
        yield from ((given.arg, given.value) for given in expr.keywords if given.arg is not None)
