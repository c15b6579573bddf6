"""Open CORS in Python: any origin, or the request's own origin, together with credentials."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from infra.scan.catalogue import RULES
from infra.scan.findings import Hit
from infra.scan.python_flow import Flow
from infra.scan.python_values import Values

_ALLOW_ORIGIN = "access-control-allow-origin"
_ALLOW_CREDENTIALS = "access-control-allow-credentials"
_ANY_PATTERN = re.compile(r"^\^?(?:\(?\.\*\)?|https?\??://\.\*)\$?$")


def _no_function(_name: str) -> bool:
    return False


def find(flow: Flow) -> Iterator[Hit]:
    """Yield the open CORS settings of one module."""
    for node in flow.nodes:
        if isinstance(node, ast.Call):
            yield from _call(flow, node)
        elif isinstance(node, ast.Dict):
            yield from _headers(flow, node)
    yield from _set_headers(flow)
    yield from _django(flow)


def squeeze(name: str) -> str:
    """Return a setting's name without case and separators, so that all spellings compare equal."""
    return re.sub(r"[\W_]", "", name).lower()


def _call(flow: Flow, call: ast.Call) -> Iterator[Hit]:
    name = flow.qualified(call.func).rsplit(".", 1)[-1]
    settings = {squeeze(keyword.arg): keyword.value for keyword in call.keywords if keyword.arg}
    origins = [settings[key] for key in ("alloworigins", "alloworigin") if key in settings]
    if name in {"CORS", "cross_origin"}:
        origins += [settings[key] for key in ("origins", "resources") if key in settings]
    pattern = settings.get("alloworiginregex")
    open_pattern = isinstance(pattern, ast.Constant) and bool(_ANY_PATTERN.match(str(pattern.value)))
    if not open_pattern and not any(_wildcard(flow, origin) for origin in origins):
        return
    line, column = _place(call)
    if any(_true(settings.get(key)) for key in ("allowcredentials", "supportscredentials")):
        yield Hit(RULES["cors-wildcard-credentials"], line, column)
    else:
        yield Hit(RULES["cors-wildcard"], line, column)


def _place(call: ast.Call) -> tuple[int, int]:
    """Point at the middleware's name in ``app.add_middleware(CORSMiddleware, …)``, else at the call."""
    first = call.args[0] if call.args else None
    where: ast.expr = first if isinstance(first, ast.Name) and "CORS" in first.id else call
    return where.lineno, where.col_offset + 1


def _wildcard(flow: Flow, expr: ast.expr) -> bool:
    if isinstance(expr, ast.Constant):
        return expr.value == "*"
    if isinstance(expr, (ast.List, ast.Tuple, ast.Set)):
        return any(_wildcard(flow, part) for part in expr.elts)
    if isinstance(expr, ast.Dict):
        entries = zip(expr.keys, expr.values, strict=True)
        return any(
            (isinstance(value, ast.Dict) and _wildcard(flow, value))
            or (
                isinstance(key, ast.Constant)
                and squeeze(str(key.value)) in {"origins", "alloworigins"}
                and _wildcard(flow, value)
            )
            for key, value in entries
        )
    if isinstance(expr, ast.Name):
        return any(row.expr is not None and _wildcard(flow, row.expr) for row in flow.reaching(expr) or [])
    return False


def _true(expr: ast.expr | None) -> bool:
    return isinstance(expr, ast.Constant) and (expr.value is True or str(expr.value).lower() == "true")


def _headers(flow: Flow, node: ast.Dict) -> Iterator[Hit]:
    entries = {
        str(key.value).lower(): value
        for key, value in zip(node.keys, node.values, strict=True)
        if isinstance(key, ast.Constant) and isinstance(key.value, str)
    }
    yield from _judge(flow, entries.get(_ALLOW_ORIGIN), entries.get(_ALLOW_CREDENTIALS))
    squeezed = {squeeze(key): value for key, value in entries.items()}
    origins = squeezed.get("alloworigins")
    if origins is not None and _wildcard(flow, origins) and _true(squeezed.get("allowcredentials")):
        yield Hit(RULES["cors-wildcard-credentials"], origins.lineno, origins.col_offset + 1)


def _judge(flow: Flow, origin: ast.expr | None, credentials: ast.expr | None) -> Iterator[Hit]:
    if origin is None or not _true(credentials):
        return
    if isinstance(origin, ast.Constant) and origin.value == "*":
        yield Hit(RULES["cors-wildcard-credentials"], origin.lineno, origin.col_offset + 1)
    elif _reflects(flow, origin):
        yield Hit(RULES["cors-reflected-origin"], origin.lineno, origin.col_offset + 1)


def _reflects(flow: Flow, expr: ast.expr) -> bool:
    """Return whether an expression is the request's Origin header, read on the spot or through a name."""
    if isinstance(expr, ast.Name):
        return any(
            row.expr is not None and _reflects(flow, row.expr) for row in flow.reaching(expr) or []
        ) and bool(Values(flow, _no_function).of(expr).holes)
    if not isinstance(expr, (ast.Subscript, ast.Call, ast.Attribute, ast.BoolOp)):
        return False
    keys = [
        node.value
        for node in ast.walk(expr)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    return any(key.lower() == "origin" for key in keys)


def _set_headers(flow: Flow) -> Iterator[Hit]:
    """Check headers set one by one on a response: both in one function count as together."""
    held: dict[ast.AST | None, dict[str, ast.expr]] = {}
    for node in flow.nodes:
        name, value = _set_header(node)
        if value is not None and name in {_ALLOW_ORIGIN, _ALLOW_CREDENTIALS}:
            held.setdefault(flow.function(node), {})[name] = value
    for entries in held.values():
        yield from _judge(flow, entries.get(_ALLOW_ORIGIN), entries.get(_ALLOW_CREDENTIALS))


def _set_header(node: ast.AST) -> tuple[str, ast.expr | None]:
    """Return (name, value) of ``headers["Name"] = value`` or ``set_header("Name", value)`` in any spelling."""
    match node:
        case ast.Assign(targets=[ast.Subscript(slice=ast.Constant(value=str(name)))]):
            return name.lower(), node.value
        case ast.Call(args=[ast.Constant(value=str(name)), value]):
            return name.lower(), value
        case _:
            return "", None


def _django(flow: Flow) -> Iterator[Hit]:
    settings: dict[str, ast.Assign] = {}
    for node in flow.tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and _true(node.value):
            settings[node.targets[0].id] = node
    for name in ("CORS_ALLOW_ALL_ORIGINS", "CORS_ORIGIN_ALLOW_ALL"):
        if name in settings:
            rule = "cors-wildcard-credentials" if "CORS_ALLOW_CREDENTIALS" in settings else "cors-wildcard"
            yield Hit(RULES[rule], settings[name].lineno)
