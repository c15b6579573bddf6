"""Weak cryptography in Python where Bandit does not look: JWT, modes, nonces, TLS, password hashing."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from infra.scan.catalogue import RULES
from infra.scan.findings import Hit
from infra.scan.python_flow import Flow, keyword
from infra.scan.python_values import Values
from infra.scan.secret_words import is_about, secrecy, words

_FAST_HASHES = {
    "md5",
    "sha1",
    "sha224",
    "sha256",
    "sha384",
    "sha512",
    "sha3_256",
    "sha3_512",
    "blake2b",
    "blake2s",
}
_WEAK_HASHES = {"md5", "sha1", "md4"}
_WEAK_CIPHERS = {
    "DES",
    "DES3",
    "ARC2",
    "ARC4",
    "Blowfish",
    "TripleDES",
    "IDEA",
    "CAST",
    "CAST5",
    "SEED",
    "XOR",
}
_IV_MODES = {"CBC", "CTR", "CFB", "OFB", "GCM", "CFB8", "XTS"}
_SECRET_MAKERS = {
    "random",
    "randint",
    "randrange",
    "choice",
    "choices",
    "sample",
    "getrandbits",
    "randbytes",
    "uniform",
}
_SECRET_RESULTS = {"token", "password", "passwd", "secret", "otp", "nonce", "salt", "apikey", "pin", "csrf"}
_OLD_TLS = {"PROTOCOL_SSLv2", "PROTOCOL_SSLv3", "PROTOCOL_TLSv1", "PROTOCOL_TLSv1_1"}


def _no_function(_name: str) -> bool:
    return False


def find(flow: Flow) -> Iterator[Hit]:
    """Yield the weak cryptography of one module."""
    for node in flow.nodes:
        if isinstance(node, ast.Call):
            qualified = flow.qualified(node.func)
            for rule in _call(flow, node, qualified, qualified.rsplit(".", 1)[-1]):
                yield Hit(RULES[rule], node.lineno, node.col_offset + 1)
        elif isinstance(node, ast.Assign):
            for rule in _assignment(flow, node):
                yield Hit(RULES[rule], node.lineno, node.col_offset + 1)
        elif isinstance(node, ast.Compare):
            if _compares_signature(flow, node):
                yield Hit(RULES["crypto-compare"], node.lineno, node.col_offset + 1)
        elif (
            isinstance(node, ast.Attribute)
            and node.attr in _OLD_TLS
            and flow.qualified(node).startswith("ssl.")
        ):
            yield Hit(RULES["crypto-tls-old"], node.lineno, node.col_offset + 1)


def _call(flow: Flow, call: ast.Call, qualified: str, name: str) -> Iterator[str]:
    yield from _hash(flow, call, qualified, name)
    yield from _cipher(flow, call, qualified, name)
    if qualified.startswith(("jwt.", "jose.")) or ".jwt." in f".{qualified}":
        yield from _jwt(flow, call, name)
    yield from _tls(flow, call, qualified, name)
    if name in _SECRET_MAKERS and qualified.startswith("random.") and _makes_secret(flow, call):
        yield "crypto-random"


def _hash(flow: Flow, call: ast.Call, qualified: str, name: str) -> Iterator[str]:
    if name == "new" and qualified.startswith("hashlib") and call.args:
        name = Values(flow, _no_function).of(call.args[0]).text.lower().replace("-", "")
    if (name == "pbkdf2_hmac" and len(call.args) > 3) or name == "PBKDF2HMAC":
        rounds = call.args[3] if len(call.args) > 3 else keyword(call, "iterations")
        if isinstance(rounds, ast.Constant) and isinstance(rounds.value, int) and rounds.value < 100_000:
            yield "crypto-iterations"
    if (
        name == "update"
        and isinstance(call.func, ast.Attribute)
        and any(_names_password(part) for part in call.args)
    ):
        made = flow.resolve(call.func.value)
        if isinstance(made, ast.Call) and flow.qualified(made.func).startswith("hashlib."):
            yield "crypto-password-hash"
    if not qualified.startswith(("hashlib", "Crypto.Hash", "Cryptodome.Hash")) or name not in _FAST_HASHES:
        return
    relaxed = keyword(call, "usedforsecurity")
    if any(_names_password(argument) for argument in call.args):
        yield "crypto-password-hash"
    elif name in _WEAK_HASHES and not (isinstance(relaxed, ast.Constant) and relaxed.value is False):
        yield "crypto-weak-hash"


def _names_password(expr: ast.expr) -> bool:
    """Return whether an expression is made of a password, by the names in it."""
    names = [
        node.id if isinstance(node, ast.Name) else node.attr
        for node in ast.walk(expr)
        if isinstance(node, (ast.Name, ast.Attribute))
    ]
    return any(secrecy(name) == "password" for name in names)


def _cipher(flow: Flow, call: ast.Call, qualified: str, name: str) -> Iterator[str]:
    pycrypto = qualified.startswith(("Crypto.Cipher", "Cryptodome.Cipher"))
    pyca = qualified.startswith("cryptography.hazmat") and (
        ".ciphers." in qualified or ".decrepit." in qualified
    )
    owner = qualified.rsplit(".", 2)[-2] if qualified.count(".") else ""
    if (pycrypto and name == "new" and owner in _WEAK_CIPHERS) or (pyca and name in _WEAK_CIPHERS):
        yield "crypto-weak-cipher"
    if pyca and name == "ECB":
        yield "crypto-ecb"
    if pyca and name in _IV_MODES and call.args and _constant_bytes(flow, call.args[0]):
        yield "crypto-fixed-iv"
    if pyca and name == "encrypt" and call.args and _constant_bytes(flow, call.args[0]):
        yield "crypto-fixed-iv"
    if pycrypto and name == "new":
        mode = flow.resolve(call.args[1]) if len(call.args) > 1 else None
        if isinstance(mode, ast.Attribute) and mode.attr == "MODE_ECB":
            yield "crypto-ecb"
        vector = call.args[2] if len(call.args) > 2 else keyword(call, "iv", "IV", "nonce", "initial_value")
        if vector is not None and _constant_bytes(flow, vector):
            yield "crypto-fixed-iv"


def _constant_bytes(flow: Flow, expr: ast.expr) -> bool:
    """Return whether an expression is a literal (or a name bound to one), whatever is done with it."""
    if isinstance(expr, ast.Name):
        bindings = flow.reaching(expr)
        return bool(bindings) and all(
            row.expr is not None and _constant_bytes(flow, row.expr) for row in bindings or []
        )
    if isinstance(expr, ast.BinOp):
        return _constant_bytes(flow, expr.left) and _constant_bytes(flow, expr.right)
    if isinstance(expr, ast.Call):
        inner = [*expr.args, *([expr.func.value] if isinstance(expr.func, ast.Attribute) else [])]
        plain = flow.qualified(expr.func) in {"bytes", "bytearray", "bytes.fromhex"}
        encoded = isinstance(expr.func, ast.Attribute) and expr.func.attr == "encode"
        return (plain and all(isinstance(part, ast.Constant) for part in expr.args)) or (
            encoded and all(_constant_bytes(flow, part) for part in inner[-1:])
        )
    return isinstance(expr, ast.Constant) and expr.value is not None


def _jwt(flow: Flow, call: ast.Call, name: str) -> Iterator[str]:
    if name == "encode":
        algorithm = keyword(call, "algorithm") or (call.args[2] if len(call.args) > 2 else None)
        if isinstance(algorithm, ast.Constant) and str(algorithm.value).lower() == "none":
            yield "crypto-jwt-none"
    if name not in {"decode", "decode_complete"}:
        return
    allowed = keyword(call, "algorithms") or (call.args[2] if len(call.args) > 2 else None)
    algorithms = (
        [str(part.value).upper() for part in ast.walk(allowed) if isinstance(part, ast.Constant)]
        if allowed
        else []
    )
    if "NONE" in algorithms:
        yield "crypto-jwt-none"
    if any(name.startswith("HS") for name in algorithms) and any(
        name[:2] in {"RS", "ES", "PS", "ED"} for name in algorithms
    ):
        yield "crypto-jwt-mixed"
    options, verify = flow.resolve(keyword(call, "options")), flow.resolve(keyword(call, "verify"))
    if (isinstance(options, ast.Dict) and _says_no(options, "verify_signature")) or _is_false(verify):
        yield "crypto-jwt-unverified"


def _says_no(options: ast.Dict, name: str) -> bool:
    return any(
        isinstance(key, ast.Constant) and key.value == name and _is_false(value)
        for key, value in zip(options.keys, options.values, strict=True)
    )


def _is_false(expr: ast.expr | None) -> bool:
    """Return whether an expression is the literal ``False``."""
    return isinstance(expr, ast.Constant) and expr.value is False


def _tls(flow: Flow, call: ast.Call, qualified: str, name: str) -> Iterator[str]:
    http = qualified.startswith(("requests", "httpx", "niquests")) or name in {"Session", "AsyncClient"}
    if http and _is_false(flow.resolve(keyword(call, "verify"))):
        yield "crypto-tls-unverified"
    if name in {
        "get",
        "post",
        "put",
        "delete",
        "patch",
        "request",
        "head",
        "ws_connect",
        "TCPConnector",
    } and _is_false(keyword(call, "ssl", "verify_ssl", "ssl_verify")):
        yield "crypto-tls-unverified"
    requirement = keyword(call, "cert_reqs", "ssl_cert_reqs")
    none = isinstance(requirement, ast.Constant) and str(requirement.value).upper() in {"CERT_NONE", "NONE"}
    if none or (isinstance(requirement, ast.Attribute) and requirement.attr == "CERT_NONE"):
        yield "crypto-tls-unverified"
    if qualified == "ssl._create_unverified_context":
        yield "crypto-tls-unverified"


def _assignment(flow: Flow, node: ast.Assign) -> Iterator[str]:
    for target in node.targets:
        if not isinstance(target, ast.Attribute):
            continue
        if (
            target.attr == "verify_mode"
            and isinstance(node.value, ast.Attribute)
            and node.value.attr == "CERT_NONE"
        ):
            yield "crypto-tls-unverified"
        if target.attr == "check_hostname" and _is_false(node.value):
            yield "crypto-tls-unverified"
        if target.attr == "_create_default_https_context" and "unverified" in flow.qualified(node.value):
            yield "crypto-tls-unverified"
        if target.attr == "verify" and _is_false(node.value) and isinstance(target.value, ast.Name):
            bound = flow.reaching(target.value) or []
            if any(
                isinstance(row.expr, ast.Call) and flow.qualified(row.expr.func).startswith("requests")
                for row in bound
            ):
                yield "crypto-tls-unverified"


def _makes_secret(flow: Flow, call: ast.Call) -> bool:
    """Return whether the value of a random call ends in something named as a secret."""
    node = flow.statement(call)
    names: list[str] = []
    if isinstance(node, ast.Assign):
        names = [
            part.id if isinstance(part, ast.Name) else getattr(part, "attr", "") for part in node.targets
        ]
    elif isinstance(node, ast.AnnAssign):
        names = [getattr(node.target, "id", getattr(node.target, "attr", ""))]
    elif isinstance(node, ast.Return):
        function = flow.function(node)
        names = [function.name] if function else []
    return any(_SECRET_RESULTS & set(words(name)) and not is_about(name) for name in names)


def _compares_signature(flow: Flow, node: ast.Compare) -> bool:
    if not isinstance(node.ops[0], (ast.Eq, ast.NotEq)):
        return False
    for side in (node.left, *node.comparators):
        if not (
            isinstance(side, ast.Call)
            and isinstance(side.func, ast.Attribute)
            and side.func.attr in {"hexdigest", "digest"}
        ):
            continue
        base: ast.expr = side.func.value
        bound = flow.reaching(base) if isinstance(base, ast.Name) else None
        for maker in [row.expr for row in bound or []] or [base]:
            if isinstance(maker, ast.Call) and flow.qualified(maker.func) in {"hmac.new", "hmac.HMAC"}:
                return True
    return False
