"""Tokens in Python: JSON web tokens read or made without a signature, predictable secrets, leaky comparison."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise

from infra.scan.catalogue import RULES
from infra.scan.findings import Hit
from infra.scan.python_constants import members, switch
from infra.scan.python_flow import Flow
from infra.scan.python_syntax import entries
from infra.scan.secret_words import is_about, words

_RANDOM = {
    "random", "randint", "randrange", "choice", "choices", "sample", "getrandbits", "randbytes", "uniform",
    "integers", "bytes", "rand", "shuffle",
}  # fmt: skip
_NODES: tuple[type[ast.AST], ...] = (ast.Call, ast.Compare)
_GENERATORS = ("random.", "numpy.random.", "np.random.")
_PREDICTABLE = {"uuid.uuid1", "uuid.uuid6"}
_SECRET_WORDS = {
    "token", "tokens", "password", "passwd", "passphrase", "secret", "otp", "totp", "nonce", "salt", "apikey",
    "pin", "csrf", "passcode", "iv", "credential", "credentials", "sid", "captcha",
}  # fmt: skip
_SECRET_PAIRS = {
    ("session", "id"), ("session", "key"), ("api", "key"), ("reset", "code"), ("verification", "code"),
    ("verify", "code"), ("auth", "code"), ("login", "code"), ("invite", "code"), ("invitation", "code"),
    ("access", "code"), ("access", "key"), ("confirmation", "code"), ("security", "code"), ("backup", "codes"),
    ("recovery", "code"), ("recovery", "codes"), ("one", "time"), ("encryption", "key"), ("signing", "key"),
    ("private", "key"), ("secret", "key"), ("activation", "code"), ("activation", "key"), ("sms", "code"),
}  # fmt: skip
_SIGNATURE_WORDS = {"signature", "sig", "hmac", "mac", "webhook", "signed"}
# A call of `set_password` or `send_code` gives its argument to what its name says.
_GIVING = {"set", "reset", "change", "assign", "save", "store", "send", "update", "create", "add"}
_MAX_DEPTH = 6


def find(flow: Flow) -> Iterator[Hit]:
    """Yield the findings about tokens of one module."""
    drawn_in: set[ast.AST] = set()
    for node in flow.each(*_NODES):
        if isinstance(node, ast.Call):
            qualified = flow.qualified(node.func)
            name = qualified.rsplit(".", 1)[-1]
            if qualified.startswith(("jwt.", "jose.", "authlib.jose")) or ".jwt." in f".{qualified}":
                for rule in _jwt(flow, node, name):
                    yield Hit(RULES[rule], node.lineno, node.col_offset + 1)
            if (
                _is_predictable(flow, node, qualified, name)
                and flow.statement(node) not in drawn_in
                and _makes_secret(flow, node)
            ):
                drawn_in.add(flow.statement(node))
                yield Hit(RULES["crypto-random"], node.lineno, node.col_offset + 1)
        elif isinstance(node, ast.Compare) and _compares_signature(flow, node):
            yield Hit(RULES["crypto-compare"], node.lineno, node.col_offset + 1)


def _jwt(flow: Flow, call: ast.Call, name: str) -> Iterator[str]:
    if name == "encode":
        algorithm = flow.keyword(call, "algorithm") or (call.args[2] if len(call.args) > 2 else None)
        chosen = flow.resolve(algorithm)
        if isinstance(chosen, ast.Constant) and str(chosen.value).lower() == "none":
            yield "crypto-jwt-none"
    if name in {"get_unverified_claims", "get_unverified_claim"}:
        yield "crypto-jwt-unverified"
    if name not in {"decode", "decode_complete"}:
        return
    allowed = flow.keyword(call, "algorithms") or (call.args[2] if len(call.args) > 2 else None)
    algorithms = [
        str(part.value).upper()
        for part in members(flow, allowed)
        if isinstance(part, ast.Constant) and part.value
    ]
    if "NONE" in algorithms:
        yield "crypto-jwt-none"
    if any(row.startswith("HS") for row in algorithms) and any(
        row[:2] in {"RS", "ES", "PS", "ED"} for row in algorithms
    ):
        yield "crypto-jwt-mixed"
    options = dict(entries(flow.resolve(flow.keyword(call, "options"))))
    if (
        switch(flow, options.get("verify_signature")) is False
        or switch(flow, flow.keyword(call, "verify")) is False
    ):
        yield "crypto-jwt-unverified"


def _is_predictable(flow: Flow, call: ast.Call, qualified: str, name: str) -> bool:
    if qualified in _PREDICTABLE:
        return True
    if name not in _RANDOM:
        return False
    if qualified.startswith(_GENERATORS):
        return not qualified.startswith("random.SystemRandom")
    made = flow.resolve(call.func.value) if isinstance(call.func, ast.Attribute) else None
    maker = flow.qualified(made.func) if isinstance(made, ast.Call) else ""
    return maker.startswith(_GENERATORS) and maker != "random.SystemRandom"


def _makes_secret(flow: Flow, call: ast.Call) -> bool:
    """Return whether what a random call gives ends in something named as a secret."""
    return any(_names_secret(name) for name in destinations(flow, call))


def _names_secret(name: str) -> bool:
    parts = words(name)
    if any(pair in _SECRET_PAIRS for pair in pairwise(parts)):
        return True
    return bool(_SECRET_WORDS & set(parts)) and not is_about(name)


def destinations(flow: Flow, call: ast.Call) -> Iterator[str]:
    """Yield the names of what a value is given to: targets, keywords, keys, the function that returns it."""
    yield from (key for key, _ in flow.holders(call))
    for taker in flow.takers(call):
        if words(taker)[:1] and words(taker)[0] in _GIVING:
            yield taker
    statement = flow.statement(call)
    function = flow.function(call)
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, (ast.AnnAssign, ast.AugAssign)):
        targets = [statement.target]
    elif isinstance(statement, (ast.Return, ast.Expr)) and function is not None:
        # A generator of secrets, or a list of characters that grows in one.
        yield function.name
    for target in targets:
        yield from target_names(target)
        if isinstance(target, ast.Name) and function is not None and _returned(flow, function, target.id):
            yield function.name


def target_names(target: ast.expr) -> Iterator[str]:
    """Yield what an assignment's target is called: a variable, an attribute, a constant key."""
    match target:
        case (
            ast.Name(id=name) | ast.Attribute(attr=name) | ast.Subscript(slice=ast.Constant(value=str(name)))
        ):
            yield name
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            for part in parts:
                yield from target_names(part)
        case _:
            pass


def _returned(flow: Flow, function: ast.AST, name: str) -> bool:
    returned = (row for row in ast.walk(function) if isinstance(row, ast.Return) and row.value is not None)
    return any(
        isinstance(part, ast.Name) and part.id == name
        for row in returned
        if flow.function(row) is function and row.value is not None
        for part in ast.walk(row.value)
    )


def _compares_signature(flow: Flow, node: ast.Compare) -> bool:
    """Return whether ``==`` compares a keyed digest, or a plain one where signatures are checked."""
    if not isinstance(node.ops[0], (ast.Eq, ast.NotEq)):
        return False
    sides = [node.left, *node.comparators]
    if any(isinstance(side, ast.Constant) for side in sides):
        return False
    if any(_comes_from(flow, side, {"hmac.new", "hmac.HMAC", "hmac.digest"}) for side in sides):
        return True
    function = flow.function(node)
    names = [function.name] if function else []
    for side in sides:
        names += [getattr(part, "id", getattr(part, "attr", "")) for part in ast.walk(side)]
    about_signatures = any(_SIGNATURE_WORDS & set(words(name)) for name in names)
    return about_signatures and any(
        _comes_from(flow, side, {"hashlib.md5", "hashlib.sha1", "hashlib.sha256", "hashlib.sha512"})
        for side in sides
    )


def _comes_from(flow: Flow, expr: ast.expr, makers: set[str], depth: int = 0) -> bool:
    """Return whether text was made by one of the calls, also through names, ``+`` and f-strings."""
    if depth > _MAX_DEPTH:
        return False
    match expr:
        case ast.Call(func=func):
            if flow.qualified(func) in makers:
                return True
            inner = [func.value] if isinstance(func, ast.Attribute) else []
            return any(_comes_from(flow, part, makers, depth + 1) for part in [*inner, *expr.args])
        case ast.BinOp(left=left, right=right):
            parts = [left, right]
        case ast.JoinedStr():
            parts = [part.value for part in expr.values if isinstance(part, ast.FormattedValue)]
        case ast.Name():
            parts = [row.expr for row in flow.reaching(expr) or [] if row.expr is not None]
        case _:
            return False
    return any(_comes_from(flow, part, makers, depth + 1) for part in parts)
