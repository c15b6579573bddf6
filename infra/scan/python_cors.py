"""Open CORS in Python: any origin, the request's own origin, or a check that strangers pass."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

from infra.scan.catalogue import RULES
from infra.scan.findings import Hit, Severity
from infra.scan.origin_patterns import How, admits_strangers
from infra.scan.python_constants import members, switch, text
from infra.scan.python_flow import Flow
from infra.scan.python_syntax import entries
from infra.scan.python_tokens import target_names
from infra.scan.secret_words import squeeze
from infra.scan.setting_words import opens_cors

_ALLOW_ORIGIN = "access-control-allow-origin"
_ORIGINS = ("origin", b"origin", "http_origin")
MAX_DEPTH = 8
_POLICIES: tuple[type[ast.AST], ...] = (ast.Call, ast.Dict)
_HEADERS: tuple[type[ast.AST], ...] = (ast.Assign, ast.Call, ast.Tuple)
_ASSIGNMENTS: tuple[type[ast.AST], ...] = (ast.Assign, ast.AnnAssign)
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
_FLASK = {"CORS", "cross_origin"}
_ORIGIN_KEYS = {"origins", "alloworigins", "alloworigin"}


@dataclass
class Policy:
    """What one place allows: origins, and what strengthens or weakens an open door."""

    origins: list[ast.expr] = field(default_factory=list)
    patterns: list[ast.expr] = field(default_factory=list)
    credentials: ast.expr | None = None
    methods: ast.expr | None = None
    headers: ast.expr | None = None
    how: How = "fullmatch"


def find(flow: Flow) -> Iterator[Hit]:
    """Yield the open CORS settings of one module."""
    used = False
    for node in flow.each(*_POLICIES):
        if isinstance(node, ast.Call):
            policy = _of_call(flow, node)
            used = used or bool(policy.origins or policy.patterns)
            yield from _judge(flow, policy, *_place(node))
        elif isinstance(node, ast.Dict):
            yield from _of_mapping(flow, node)
    yield from _set_headers(flow)
    yield from _settings(flow, used=used)


def _of_call(flow: Flow, call: ast.Call) -> Policy:
    """Read the keywords of a middleware or a configuration object, in any spelling."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if not call.keywords and name not in _FLASK:
        return Policy()
    given = {squeeze(row.arg): row.value for row in call.keywords if row.arg}
    policy = Policy(
        credentials=given.get("allowcredentials") or given.get("supportscredentials"),
        methods=given.get("allowmethods") or given.get("methods"),
        headers=given.get("allowheaders"),
    )
    policy.origins = [
        given[key] for key in ("alloworigins", "alloworigin", "corsallowedorigins") if key in given
    ]
    policy.patterns = [given[key] for key in ("alloworiginregex", "alloworiginsregex") if key in given]
    if name in _FLASK and any(
        module.startswith(("flask", "quart", "sanic")) for module in flow.imports.values()
    ):
        policy.how = "match"
        policy.origins += [given[key] for key in ("origins", "resources") if key in given]
        if not policy.origins and (call.args or name == "cross_origin"):
            policy.origins = [ast.Constant("*")]  # what it does when not told
    return policy


def _place(call: ast.Call) -> tuple[int, int]:
    """Point at the middleware's name in ``app.add_middleware(CORSMiddleware, …)``, else at the call."""
    first = call.args[0] if call.args else None
    where: ast.expr = first if isinstance(first, ast.Name) and "CORS" in first.id else call
    return where.lineno, where.col_offset + 1


def _judge(flow: Flow, policy: Policy, line: int, column: int) -> Iterator[Hit]:
    credentials = _allows_credentials(flow, policy.credentials)
    anyone = any(_wildcard(flow, origin) for origin in policy.origins) or any(
        _loose(flow, pattern, policy.how) for pattern in policy.patterns
    )
    if anyone:
        if credentials:
            yield Hit(RULES["cors-wildcard-credentials"], line, column)
        else:
            yield Hit(RULES["cors-wildcard"], line, column, severity=_weight(flow, policy))
    elif credentials and any(_names(flow, origin, "null") for origin in policy.origins):
        yield Hit(RULES["cors-null-origin"], line, column)


def _weight(flow: Flow, policy: Policy) -> Severity:
    """Grade an open door without credentials by what may come through it."""
    methods = set(_words(flow, policy.methods))
    headers = {name.lower() for name in _words(flow, policy.headers)}
    if (switch(flow, policy.credentials) is False and not methods) or (methods and methods <= _SAFE_METHODS):
        return Severity.INFO
    return Severity.MEDIUM if methods or headers & {"*", "authorization"} else Severity.LOW


def _words(flow: Flow, expr: ast.expr | None) -> Iterator[str]:
    for part in members(flow, expr) if expr is not None else ():
        if isinstance(part, ast.Constant):
            yield from (word.strip() for word in str(part.value).split(","))


def _wildcard(flow: Flow, expr: ast.expr) -> bool:
    return _names(flow, expr, "*")


def _names(flow: Flow, expr: ast.expr | None, origin: str, depth: int = 0) -> bool:
    """Return whether an expression is ``origin`` or has it among its members, defaults included."""
    parts: list[ast.expr] = []
    match flow.resolve(expr):
        case ast.Constant(value=held):
            return held == origin
        case ast.List(elts=inner) | ast.Tuple(elts=inner) | ast.Set(elts=inner) | ast.BoolOp(values=inner):
            parts = inner
        case ast.IfExp(body=body, orelse=other):
            parts = [body, other]
        case ast.Dict() as mapping:
            rows = [mapping, *(value for value in mapping.values if isinstance(value, ast.Dict))]
            parts = [value for row in rows for key, value in entries(row) if squeeze(key) in _ORIGIN_KEYS]
        case ast.Call(func=ast.Attribute(value=base, attr="split")):
            parts = [base]
        case (
            ast.Call(args=[_, default])
            | ast.Call(args=[_], keywords=[ast.keyword(arg="default", value=default)])
        ):
            parts = [default]
        case ast.Name() as name:
            parts = [row.expr for row in flow.reaching(name) or [] if row.expr is not None]
        case _:
            pass
    return depth < MAX_DEPTH and any(_names(flow, part, origin, depth + 1) for part in parts)


def _loose(flow: Flow, expr: ast.expr, how: How) -> bool:
    """Return whether a pattern of origins, or one of several, lets strangers in."""
    for part in members(flow, expr):
        compiled = isinstance(part, ast.Call) and flow.qualified(part.func) == "re.compile" and part.args
        pattern = text(flow, part.args[0] if compiled and isinstance(part, ast.Call) else part)
        if pattern is not None and admits_strangers(pattern, how):
            return True
    return False


def _allows_credentials(flow: Flow, expr: ast.expr | None) -> bool:
    held = flow.resolve(expr)
    return switch(flow, held) is True or (isinstance(held, ast.Constant) and held.value == "*")


# -- headers -------------------------------------------------------------------------------------------


def _of_mapping(flow: Flow, node: ast.Dict) -> Iterator[Hit]:
    held = {squeeze(key): value for key, value in entries(node)}
    origin = held.get("accesscontrolalloworigin")
    if origin is not None:
        yield from _header(flow, origin, _headers_policy(held))
    origins = held.get("alloworigins")
    if (
        origins is not None
        and _wildcard(flow, origins)
        and _allows_credentials(flow, held.get("allowcredentials"))
    ):
        yield Hit(RULES["cors-wildcard-credentials"], origins.lineno, origins.col_offset + 1)
    for key, value in entries(node):
        given = (
            flow.keyword(value, "allow_credentials") if key == "*" and isinstance(value, ast.Call) else None
        )
        if _allows_credentials(flow, given):
            yield Hit(RULES["cors-wildcard-credentials"], value.lineno, value.col_offset + 1)


def _headers_policy(held: dict[str, ast.expr]) -> Policy:
    return Policy(
        credentials=held.get("accesscontrolallowcredentials"),
        methods=held.get("accesscontrolallowmethods"),
        headers=held.get("accesscontrolallowheaders"),
    )


def _header(flow: Flow, origin: ast.expr, policy: Policy) -> Iterator[Hit]:
    """Judge the value of Access-Control-Allow-Origin beside the other headers of the same answer."""
    line, column = origin.lineno, origin.col_offset + 1
    credentials = _allows_credentials(flow, policy.credentials)
    if _reflects(flow, origin):
        if not _checked(flow, origin):
            severity = None if credentials else Severity.MEDIUM
            yield Hit(RULES["cors-reflected-origin"], line, column, severity=severity)
    elif _wildcard(flow, origin):
        policy.origins = [origin]
        yield from _judge(flow, policy, line, column)
    elif _names(flow, origin, "null") and credentials:
        yield Hit(RULES["cors-null-origin"], line, column)


def _reflects(flow: Flow, expr: ast.expr, depth: int = 0) -> bool:
    """Return whether an expression is the request's Origin header, read on the spot or through a name."""
    parts: list[ast.expr] = []
    match expr:
        case ast.Name():
            parts = [row.expr for row in flow.reaching(expr) or [] if row.expr is not None]
        case ast.BoolOp(values=inner):
            parts = inner
        case ast.IfExp(body=body, orelse=other):
            parts = [body, other]
        case ast.JoinedStr(values=[ast.FormattedValue(value=held)]):
            parts = [held]
        case ast.Subscript() | ast.Call() | ast.Attribute():
            keys = (part.value for part in ast.walk(expr) if isinstance(part, ast.Constant))
            named = getattr(expr, "attr", "") == "origin" and "request" in ast.dump(expr)
            return named or any(isinstance(key, (str, bytes)) and key.lower() in _ORIGINS for key in keys)
        case _:
            pass
    return depth < MAX_DEPTH and any(_reflects(flow, part, depth + 1) for part in parts)


def _checked(flow: Flow, origin: ast.expr) -> bool:
    """Return whether the function asks, soundly, whether it knows the origin."""
    scope = flow.function(origin)
    names = {
        ast.dump(part) for part in ast.walk(origin) if isinstance(part, ast.expr) and _reflects(flow, part)
    }
    tests = [test for test, _ in flow.tests_around(origin)]
    if scope is not None:
        tests += [node.test for node in ast.walk(scope) if isinstance(node, (ast.If, ast.IfExp))]
    return any(_sound(flow, part, names) for test in tests for part in ast.walk(test))


def _sound(flow: Flow, test: ast.AST, names: set[str]) -> bool:
    """Return whether a condition compares one of the names with known origins and strangers fail it."""

    def mentions(expr: ast.expr) -> bool:
        return any(ast.dump(part) in names for part in ast.walk(expr))

    if isinstance(test, ast.Compare):
        excludes_one = isinstance(test.ops[0], (ast.NotEq, ast.IsNot, ast.Is))
        return mentions(test.left) and not (excludes_one and isinstance(test.comparators[0], ast.Constant))
    if not isinstance(test, ast.Call):
        return False
    called = test.func
    if isinstance(called, ast.Attribute) and mentions(called.value):
        ends = test.args[0] if called.attr == "endswith" and test.args else None
        return ends is not None and all(
            (text(flow, part) or "").startswith((".", "://", "https://", "//"))
            for part in members(flow, ends)
        )
    if getattr(called, "id", "") in {"bool", "len", "str"} or not any(mentions(part) for part in test.args):
        return False
    pattern = flow.resolve(called.value if isinstance(called, ast.Attribute) else None)
    if isinstance(called, ast.Attribute) and called.attr in {"fullmatch", "match", "search"}:
        how: How = (
            "fullmatch" if called.attr == "fullmatch" else "match" if called.attr == "match" else "search"
        )
        source = test.args[0] if len(test.args) > 1 else pattern
        return source is None or not _loose(flow, source, how)
    return True


def _set_headers(flow: Flow) -> Iterator[Hit]:
    """Check headers set one by one on a response: those of one function count as together."""
    held: dict[ast.AST | None, dict[str, ast.expr]] = {}
    for node in flow.each(*_HEADERS):
        name, value = _set_header(node)
        if value is not None and name.startswith("access-control-allow-"):
            held.setdefault(flow.function(node), {})[squeeze(name)] = value
    for headers in held.values():
        origin = headers.get(squeeze(_ALLOW_ORIGIN))
        if origin is not None:
            yield from _header(flow, origin, _headers_policy(headers))


def _set_header(node: ast.AST) -> tuple[str, ast.expr | None]:
    """Return (name, value) of ``headers["Name"] = value``, ``set_header("Name", value)``, ``("Name", value)``."""
    match node:
        case ast.Assign(targets=[ast.Subscript(slice=ast.Constant(value=str(name)))]):
            return name.lower(), node.value
        case (
            ast.Call(args=[ast.Constant(value=str(name)), value])
            | ast.Tuple(elts=[ast.Constant(value=str(name)), value])
        ):
            return name.lower(), value
        case ast.Tuple(elts=[ast.Constant(value=bytes(name)), ast.Constant(value=bytes(held)) as value]):
            plain = ast.copy_location(ast.Constant(held.decode("latin-1")), value)
            return name.decode("latin-1").lower(), plain
        case _:
            return "", None


# -- settings ------------------------------------------------------------------------------------------


def _settings(flow: Flow, *, used: bool) -> Iterator[Hit]:
    """Check settings by their names (Django, Flask); origins that a call of the module uses were judged there."""
    found: dict[str, tuple[int, ast.expr]] = {}
    for node in flow.each(*_ASSIGNMENTS):
        match node:
            case ast.Assign(targets=targets, value=value):
                pass
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                targets = [target]
            case _:
                continue
        found |= {name.upper(): (node.lineno, value) for given in targets for name in target_names(given)}
    keys = ("CORS_ALLOW_CREDENTIALS", "CORS_SUPPORTS_CREDENTIALS")
    credentials = any(key in found and switch(flow, found[key][1]) for key in keys)
    for name, (line, value) in found.items():
        anyone = switch(flow, value) is True and opens_cors(name, "true")
        anyone = anyone or (not used and opens_cors(name, "*") and _wildcard(flow, value))
        if name in {"CORS_ALLOWED_ORIGIN_REGEXES", "CORS_ORIGIN_REGEX_WHITELIST"}:
            anyone = _loose(flow, value, "match")
        if anyone:
            rule = "cors-wildcard-credentials" if credentials else "cors-wildcard"
            yield Hit(RULES[rule], line, severity=None if credentials else Severity.MEDIUM)
