"""Constants of a Python module as the data-flow knows them: text that was split up, numbers, switches."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from infra.scan.python_flow import Flow

MAX_DEPTH = 8

# Calls that return their text argument, or a coded form of it that hides nothing.
_SAME = {
    "SecretStr", "SecretBytes", "Secret", "str", "bytes", "bytearray", "b64decode", "standard_b64decode",
    "urlsafe_b64decode", "b32decode", "unhexlify", "fromhex", "a2b_base64", "Field", "field",
}  # fmt: skip
_SAME_METHODS = {"encode", "decode", "strip", "get_secret_value", "lower", "upper"}


def text(flow: Flow, expr: ast.expr | None, depth: int = 0) -> str | None:
    """Return the text an expression is bound to have, or ``None`` when a value has a part in it.

    Literals put together by ``+``, ``join`` or an f-string count, as do wrappers such as ``SecretStr``. Names
    are not followed: what is said of the text is to stand where the text stands.
    """
    found: str | None = None
    if depth > MAX_DEPTH:
        return found
    match expr:
        case ast.Constant(value=str() as held):
            found = held
        case ast.Constant(value=bytes() as raw):
            found = raw.decode("latin-1")
        case ast.BinOp(op=ast.Add()):
            found = _together(flow, [expr.left, expr.right], depth)
        case ast.JoinedStr(values=parts) if parts:
            found = _together(flow, parts, depth)
        case ast.Call(
            func=ast.Attribute(value=ast.Constant(value=str(glue)), attr="join"),
            args=[ast.List(elts=parts) | ast.Tuple(elts=parts)],
        ):
            found = _together(flow, parts, depth, glue)
        case ast.Call(func=ast.Attribute(value=base, attr=attr)) if attr in _SAME_METHODS:
            found = text(flow, base, depth + 1)
        case ast.Call() if flow.qualified(expr.func).rsplit(".", 1)[-1] in _SAME:
            given = expr.args[0] if expr.args else flow.keyword(expr, "default")
            found = text(flow, given, depth + 1)
        case _:
            pass
    return found


def _together(flow: Flow, parts: list[ast.expr], depth: int, glue: str = "") -> str | None:
    texts = [text(flow, part, depth + 1) for part in parts]
    return None if any(part is None for part in texts) else glue.join(part or "" for part in texts)


def number(flow: Flow, expr: ast.expr | None, depth: int = 0) -> int | None:
    """Return the whole number an expression is bound to have (``ROUNDS``, ``2**14``), or ``None``."""
    expr = flow.resolve(expr)
    match expr:
        case ast.Constant(value=int() as held) if not isinstance(held, bool):
            return held
        case ast.BinOp(op=ast.Pow() | ast.LShift() | ast.Mult()) if depth < MAX_DEPTH:
            left, right = number(flow, expr.left, depth + 1), number(flow, expr.right, depth + 1)
            if left is None or right is None or not (0 <= left < 2**31 and 0 <= right <= 2**31):
                return None
            if isinstance(expr.op, ast.Mult):
                return left * right
            return (left**right if isinstance(expr.op, ast.Pow) else left << right) if right <= 64 else None
        case _:
            return None


def switch(flow: Flow, expr: ast.expr | None) -> bool | None:
    """Return the truth a setting is bound to have, also through a name, or ``None``."""
    held = flow.resolve(expr)
    if isinstance(held, ast.Constant):
        if isinstance(held.value, bool):
            return held.value
        return {"true": True, "false": False}.get(str(held.value).lower())
    return None


def members(flow: Flow, expr: ast.expr | None) -> Iterator[ast.expr]:
    """Yield the members of a display, names followed; any other expression is its own single member."""
    held = flow.resolve(expr)
    if isinstance(held, (ast.List, ast.Tuple, ast.Set)):
        for part in held.elts:
            found = flow.resolve(part)
            if found is not None:
                yield found
    elif held is not None:
        yield held
