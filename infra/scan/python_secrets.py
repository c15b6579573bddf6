"""Hard-coded secrets in Python source, read from the syntax tree: names and the literals they are given."""

from __future__ import annotations

import ast
import base64
import binascii
import re
from collections.abc import Iterator

from infra.scan.catalogue import RULES
from infra.scan.findings import Hit
from infra.scan.python_flow import Flow
from infra.scan.secret_words import plausible
from infra.scan.secrets import judge

_AUTHORISATION = re.compile(r"^(?:Bearer|Token|Basic)\s+(\S{8,})$", re.I)
_KEY_TAKERS = {
    "Fernet": 0,
    "hmac.new": 0,
    "jwt.encode": 1,
    "jwt.decode": 1,
    "jose.jwt.encode": 1,
    "AESGCM": 0,
    "ChaCha20Poly1305": 0,
}


def find(flow: Flow) -> Iterator[Hit]:
    """Yield the credentials written into one module."""
    for node in flow.nodes:
        for name, value in _named_literals(flow, node):
            text = _text(value)
            if text is not None:
                yield from judge(name, text, value.lineno, value.col_offset + 1)
        if isinstance(node, ast.Call):
            yield from _arguments(flow, node)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found = _AUTHORISATION.match(node.value)
            if found and plausible(found[1], "key") and len(found[1]) >= 16:
                yield Hit(
                    RULES["secret-token"],
                    node.lineno,
                    node.col_offset + 1,
                    secret=found[1],
                )


def _text(value: ast.expr) -> str | None:
    if isinstance(value, ast.Constant) and isinstance(value.value, (str, bytes)):
        return value.value if isinstance(value.value, str) else value.value.decode("latin-1")
    return None


def _named_literals(flow: Flow, node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Yield (name, literal) for assignments, keywords, defaults, dictionary entries and comparisons."""
    match node:
        case ast.Assign():
            yield from ((name, node.value) for target in node.targets for name in _target(target))
        case ast.AnnAssign() | ast.NamedExpr() if node.value is not None:
            yield from ((name, node.value) for name in _target(node.target))
        case ast.keyword(arg=str(name)):
            yield name, node.value
        case ast.Dict():
            entries = zip(node.keys, node.values, strict=True)
            yield from ((_text(key) or "", value) for key, value in entries if key is not None)
        case ast.arguments():
            yield from _defaults(node)
        case ast.Compare(ops=[ast.Eq() | ast.NotEq()]):
            for side, other in ((node.left, node.comparators[0]), (node.comparators[0], node.left)):
                yield from ((name, other) for name in _target(side))
        case ast.Call() if flow.qualified(node.func).endswith(
            ("environ.get", "getenv", "environ.setdefault")
        ):
            if len(node.args) == 2 and isinstance(node.args[0], ast.Constant):
                yield str(node.args[0].value), node.args[1]
        case _:
            pass


def _defaults(node: ast.arguments) -> Iterator[tuple[str, ast.expr]]:
    positional = [*node.posonlyargs, *node.args]
    given = positional[len(positional) - len(node.defaults) :]
    yield from ((argument.arg, value) for argument, value in zip(given, node.defaults, strict=True))
    yield from (
        (argument.arg, value)
        for argument, value in zip(node.kwonlyargs, node.kw_defaults, strict=True)
        if value
    )


def _target(target: ast.expr) -> Iterator[str]:
    if isinstance(target, ast.Name):
        yield target.id
    elif isinstance(target, ast.Attribute):
        yield target.attr
    elif (
        isinstance(target, ast.Subscript)
        and isinstance(target.slice, ast.Constant)
        and isinstance(target.slice.value, str)
    ):
        yield target.slice.value


def _arguments(flow: Flow, call: ast.Call) -> Iterator[Hit]:
    """Check arguments that are keys or passwords by their place and not by a name."""
    qualified = flow.qualified(call.func)
    place = next(
        (index for name, index in _KEY_TAKERS.items() if qualified == name or qualified.endswith(f".{name}")),
        None,
    )
    if place is not None and len(call.args) > place:
        text = _text(call.args[place])
        if text is not None and (plausible(text, "key") or _is_key_material(text)):
            where = call.args[place]
            yield Hit(
                RULES["secret-key-literal"],
                where.lineno,
                where.col_offset + 1,
                secret=text,
            )
    pair = next((keyword.value for keyword in call.keywords if keyword.arg == "auth"), None)
    credentials = pair.elts if isinstance(pair, ast.Tuple) and len(pair.elts) == 2 else None
    if (
        credentials is None
        and qualified.rsplit(".", 1)[-1] in {"HTTPBasicAuth", "BasicAuth"}
        and len(call.args) == 2
    ):
        credentials = call.args
    if credentials is not None:
        text = _text(credentials[1])
        if text is not None:
            yield from judge("password", text, credentials[1].lineno, credentials[1].col_offset + 1)


def _is_key_material(text: str) -> bool:
    """Return whether a literal is 32 bytes in base64, as Fernet takes them."""
    if len(text) != 44:
        return False
    try:
        return len(base64.urlsafe_b64decode(text)) == 32
    except (binascii.Error, ValueError):
        return False
