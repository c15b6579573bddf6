"""TLS in Python: certificates that are not verified, old protocol versions, and settings that ask for either."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from infra.scan.catalogue import RULES
from infra.scan.findings import Hit
from infra.scan.python_constants import switch
from infra.scan.python_flow import Flow
from infra.scan.python_syntax import entries
from infra.scan.python_tokens import target_names
from infra.scan.setting_words import weakness

_OLD_CONSTANTS = {
    "PROTOCOL_SSLv2", "PROTOCOL_SSLv3", "PROTOCOL_TLSv1", "PROTOCOL_TLSv1_1", "SSLv2_METHOD", "SSLv3_METHOD",
    "TLSv1_METHOD", "TLSv1_1_METHOD",
}  # fmt: skip
_NODES: tuple[type[ast.AST], ...] = (ast.Call, ast.Assign, ast.AnnAssign, ast.Attribute, ast.Dict)
_OLD_VERSIONS = {"SSLv3", "TLSv1", "TLSv1_1", "MINIMUM_SUPPORTED"}
_HTTP_CALLS = {
    "get", "post", "put", "delete", "patch", "head", "options", "request", "stream", "send", "client",
    "asyncclient", "session", "clientsession", "resource", "fetch", "ws_connect", "tcpconnector",
    "basesession", "api",
}  # fmt: skip
_WEAK_SUITES = ("RC4", "DES", "MD5", "NULL", "EXPORT", "EXP", "ADH", "AECDH", "LOW")


def find(flow: Flow) -> Iterator[Hit]:
    """Yield where a module lowers the protection of its connections."""
    for node in flow.each(*_NODES):
        match node:
            case ast.Call():
                rules = _call(flow, node)
            case ast.Assign(targets=targets, value=value):
                rules = (rule for target in targets for rule in _assigned(flow, target, value))
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                rules = _assigned(flow, target, value)
            case ast.Attribute() if node.attr in _OLD_CONSTANTS:
                old = flow.qualified(node).startswith(("ssl.", "SSL.", "OpenSSL."))
                rules = iter(["crypto-tls-old"] if old else [])
            case ast.Dict():
                for key, held in entries(node):
                    rule = _setting(flow, key, held)
                    if rule is not None:
                        yield Hit(RULES[rule], held.lineno, held.col_offset + 1)
                continue
            case _:
                continue
        for rule in rules:
            yield Hit(RULES[rule], node.lineno, node.col_offset + 1)


def _call(flow: Flow, call: ast.Call) -> Iterator[str]:
    qualified = flow.qualified(call.func)
    name = qualified.rsplit(".", 1)[-1]
    if name.lower() in _HTTP_CALLS and not qualified.startswith("jwt"):
        given = flow.keyword(call, "verify", "ssl", "verify_ssl")
        if switch(flow, given) is False:
            yield "crypto-tls-unverified"
    if qualified in {"ssl._create_unverified_context", "ssl.wrap_socket"}:
        yield "crypto-tls-unverified"
    for row in call.keywords:
        rule = _setting(flow, row.arg, row.value) if row.arg else None
        if rule is not None:
            yield rule
    if name == "setattr" and len(call.args) == 3 and isinstance(call.args[1], ast.Constant):
        rule = _setting(flow, str(call.args[1].value), call.args[2])
        if rule is not None:
            yield rule
    if name == "set_ciphers" and call.args:
        suites = flow.resolve(call.args[0])
        if isinstance(suites, ast.Constant) and any(
            part.strip().upper().startswith(_WEAK_SUITES) for part in str(suites.value).split(":")
        ):
            yield "crypto-weak-cipher"


def _setting(flow: Flow, name: str, value: ast.expr) -> str | None:
    """Return the rule a named value breaks: a switch, a word, or an old member of ``ssl.TLSVersion``."""
    held = flow.resolve(value)
    if name in {"cert_reqs", "ssl_cert_reqs"} and _is_no_verification(held):
        return "crypto-tls-unverified"
    if isinstance(held, ast.Constant) and isinstance(held.value, (bool, str)):
        return weakness(name, str(held.value))
    if isinstance(held, ast.Attribute) and name in {
        "minimum_version",
        "ssl_minimum_version",
        "maximum_version",
    }:
        return "crypto-tls-old" if held.attr in _OLD_VERSIONS else None
    return None


def _assigned(flow: Flow, target: ast.expr, value: ast.expr) -> Iterator[str]:
    for name in target_names(target):
        if (
            (name == "verify_mode" and _is_no_verification(flow.resolve(value)))
            or (name == "_create_default_https_context" and "unverified" in flow.qualified(value))
            or (name == "verify" and switch(flow, value) is False and _is_http(flow, target))
        ):
            yield "crypto-tls-unverified"
        else:
            rule = _setting(flow, name, value)
            if rule is not None:
                yield rule


def _is_http(flow: Flow, target: ast.expr) -> bool:
    """Return whether ``target`` is the ``verify`` of a session: by where it came from, or by its name."""
    if not isinstance(target, ast.Attribute):
        return False
    owner = target.value
    made = flow.resolve(owner)
    if isinstance(made, ast.Call) and flow.qualified(made.func).startswith(("requests", "httpx", "niquests")):
        return True
    name = getattr(owner, "attr", getattr(owner, "id", "")).lower()
    return any(word in name for word in ("session", "client", "http"))


def _is_no_verification(expr: ast.expr | None) -> bool:
    if isinstance(expr, ast.Constant):
        return str(expr.value).upper() in {"CERT_NONE", "NONE"} and expr.value is not None
    return isinstance(expr, ast.Attribute) and expr.attr in {"CERT_NONE", "VERIFY_NONE"}
