"""Hard-coded secrets in Python source, read from the syntax tree: names and the literals they are given."""

from __future__ import annotations

import ast
import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import replace

from infra.scan.catalogue import RULES
from infra.scan.findings import Hit
from infra.scan.python_constants import text
from infra.scan.python_flow import Flow
from infra.scan.python_syntax import keyword
from infra.scan.python_tokens import target_names
from infra.scan.secret_words import placeholder, plausible, squeeze, words
from infra.scan.secrets import embedded, formats, judge

_AUTHORISATION = re.compile(r"^(?:Bearer|Token|Basic)\s+(\S{8,})$", re.I)
_NODES: tuple[type[ast.AST], ...] = (
    ast.Assign, ast.AnnAssign, ast.NamedExpr, ast.keyword, ast.Dict, ast.arguments, ast.Compare, ast.Call, ast.Constant,
    ast.BinOp,
)  # fmt: skip
_SHORTEST_KEY = 120
_SIGNING = ("secretkey", "jwtsecret", "sessionsecret", "cookiesecret", "signingsecret", "jwtkey", "hmackey")
# Callable -> position of the key or password among its arguments; a key may come through a name.
_KEY_TAKERS = {
    "Fernet": 0, "hmac.new": 0, "hmac.digest": 0, "jwt.encode": 1, "jwt.decode": 1, "AESGCM": 0, "ChaCha20Poly1305": 0,
    "AES.new": 0, "DES.new": 0, "DES3.new": 0, "ARC4.new": 0, "Blowfish.new": 0, "algorithms.AES": 0,
    "algorithms.TripleDES": 0, "URLSafeTimedSerializer": 0, "URLSafeSerializer": 0, "TimestampSigner": 0,
    "itsdangerous.Signer": 0, "SecretBox": 0, "load_pem_private_key": 0,
}  # fmt: skip
_PASSWORD_TAKERS = {
    "login": 1, "set_password": 0, "FTP": 2, "pymysql.connect": 2, "MySQLdb.connect": 2, "create_user": 2,
    "create_superuser": 2, "HTTPBasicAuth": 1, "BasicAuth": 1, "HTTPDigestAuth": 1, "simple_bind_s": 1,
    "PlainTextAuthProvider": 1, "PlainCredentials": 1, "setpassword": 0, "username_pw_set": 1,
}  # fmt: skip
_READERS = {
    "get", "getenv", "setdefault", "pop", "getattr", "setattr", "config", "env", "str", "environ", "header",
    "add_header", "set", "putenv", "put", "getpass", "secret", "add",
}  # fmt: skip


def find(flow: Flow) -> Iterator[Hit]:
    """Yield the credentials written into one module."""
    for node in flow.each(*_NODES):
        for name, value in _named_literals(flow, node):
            held = text(flow, value)
            if held is None:
                continue
            if _signs(name, held) or _is_key(name, value):
                yield Hit(RULES["secret-key-literal"], value.lineno, value.col_offset + 1, secret=held)
            else:
                yield from judge(name, held, value.lineno, value.col_offset + 1)
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
            yield from embedded(node.value, node.lineno, node.col_offset + 1)
        elif isinstance(node, ast.BinOp):
            yield from _put_together(flow, node)


def _signs(name: str, held: str) -> bool:
    """Return whether text is what a framework signs sessions and tokens with, where any constant is too weak."""
    key = squeeze(name)
    if not key.endswith(_SIGNING) or squeeze(held) == key or placeholder(held):
        return False
    return len(held) >= 3 and held.isprintable() and not held.isupper()


def _is_key(name: str, value: ast.expr) -> bool:
    """Return whether bytes are a key by their length and their name."""
    held = value.value if isinstance(value, ast.Constant) else None
    return isinstance(held, bytes) and len(held) in {16, 24, 32} and words(name)[-1:] == ["key"]


def _put_together(flow: Flow, node: ast.BinOp) -> Iterator[Hit]:
    """Look for known formats in text that was written in pieces: ``"AKIA" + "…"``."""
    held = text(flow, node)
    for hit in formats(held, node.lineno, node.col_offset) if held else ():
        if hit.rule.id == "secret-private-key" and len(held or "") < _SHORTEST_KEY:
            continue  # a header that is spoken of
        pieces = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
        # The pieces are what must not be shown; the whole does not stand in the file.
        longest = max((piece for piece in pieces if isinstance(piece, str)), key=len, default=None)
        yield replace(hit, column=node.col_offset + 1, secret=longest)


def _named_literals(flow: Flow, node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Yield (name, value) for assignments, keywords, defaults, dictionary entries, comparisons, look-ups."""
    match node:
        case ast.Assign():
            yield from (row for target in node.targets for row in _assigned(target, node.value))
        case ast.AnnAssign() | ast.NamedExpr() if node.value is not None:
            yield from _assigned(node.target, node.value)
        case ast.keyword(arg=str(name)):
            yield from ((name, value) for value in _alternatives(node.value))
        case ast.Dict():
            rows = zip(node.keys, node.values, strict=True)
            yield from ((text(flow, key) or "", value) for key, value in rows if key is not None)
        case ast.arguments():
            yield from _defaults(node)
        case ast.Compare(ops=[ast.Eq() | ast.NotEq() | ast.In()]):
            for side, other in ((node.left, node.comparators[0]), (node.comparators[0], node.left)):
                yield from ((name, other) for name in target_names(side))
        case ast.Call() if _reads(flow, node.func):
            yield from _looked_up(flow, node)
        case _:
            pass


def _looked_up(flow: Flow, call: ast.Call) -> Iterator[tuple[str, ast.expr]]:
    """Yield the name and the default, or new value, of ``environ.get(name, default)`` and its like."""
    for at, given in enumerate(call.args[:2]):
        name = given.value if isinstance(given, ast.Constant) else None
        default = call.args[at + 1] if len(call.args) > at + 1 else flow.keyword(call, "default", "fallback")
        if isinstance(name, str) and default is not None:
            yield name, default


def _reads(flow: Flow, func: ast.expr) -> bool:
    """Return whether a call looks a name up or sets it: ``environ.get(name, default)``, ``add_header(name, value)``."""
    return bool(_READERS & {flow.qualified(func).rsplit(".", 1)[-1], *words(getattr(func, "attr", ""))})


def _assigned(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    pairs = isinstance(target, (ast.Tuple, ast.List)) and isinstance(value, (ast.Tuple, ast.List))
    if pairs and isinstance(target, (ast.Tuple, ast.List)) and isinstance(value, (ast.Tuple, ast.List)):
        for one, other in zip(target.elts, value.elts, strict=False):
            yield from _assigned(one, other)
        return
    for name in target_names(target):
        yield from ((name, part) for part in _alternatives(value))


def _alternatives(value: ast.expr) -> Iterator[ast.expr]:
    """Yield the values of ``a or b`` and ``a if c else b``: any of them can be the one."""
    if isinstance(value, ast.BoolOp):
        yield from value.values
    elif isinstance(value, ast.IfExp):
        yield from (value.body, value.orelse)
    else:
        yield value


def _defaults(node: ast.arguments) -> Iterator[tuple[str, ast.expr]]:
    positional = [*node.posonlyargs, *node.args]
    given = positional[len(positional) - len(node.defaults) :]
    yield from ((argument.arg, value) for argument, value in zip(given, node.defaults, strict=True))
    yield from (
        (argument.arg, value)
        for argument, value in zip(node.kwonlyargs, node.kw_defaults, strict=True)
        if value
    )


def _arguments(flow: Flow, call: ast.Call) -> Iterator[Hit]:
    """Check arguments that are keys or passwords by their place and not by a name."""
    qualified = flow.qualified(call.func)
    key = _place(call, qualified, _KEY_TAKERS)
    # What is bound to a name elsewhere stands there, and is reported there.
    made = flow.resolve(key)
    held = text(flow, made)
    signs = "jwt" in qualified and held is not None and len(held) >= 4 and not placeholder(held)
    if (
        made is not None
        and held is not None
        and (signs or plausible(held, "secret") or _is_key_material(held))
    ):
        yield Hit(RULES["secret-key-literal"], made.lineno, made.col_offset + 1, secret=held)
    password = _place(call, qualified, _PASSWORD_TAKERS)
    pair = keyword(call, "auth", "basic_auth", "http_auth")
    pair = flow.resolve(pair)
    if isinstance(pair, ast.Tuple) and len(pair.elts) == 2:
        password = pair.elts[1]
    held = text(flow, password)
    if password is not None and held is not None:
        yield from judge("password", held, password.lineno, password.col_offset + 1)


def _place(call: ast.Call, qualified: str, takers: dict[str, int]) -> ast.expr | None:
    """Return the argument of a call that ``takers`` names, or ``None``."""
    parts = qualified.split(".")
    for name in (parts[-1], ".".join(parts[-2:])):
        index = takers.get(name)
        if index is not None and len(call.args) > index:
            return call.args[index]
    return None


def _is_key_material(text: str) -> bool:
    """Return whether a literal is 32 bytes in base64, as Fernet takes them."""
    if len(text) != 44:
        return False
    try:
        return len(base64.urlsafe_b64decode(text)) == 32
    except (binascii.Error, ValueError):
        return False
