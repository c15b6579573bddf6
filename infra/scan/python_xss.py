"""Cross-site scripting in Python: HTML built from unescaped values, in Streamlit, Jinja2, web handlers."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from infra.scan import page_rules
from infra.scan.catalogue import RULES
from infra.scan.findings import Hit, Severity
from infra.scan.python_constants import switch
from infra.scan.python_flow import Flow
from infra.scan.python_syntax import FunctionNode, entries
from infra.scan.python_values import Values

_ESCAPING = {
    "escape", "conditional_escape", "escape_html", "html_escape", "quote", "quote_plus", "urlencode",
    "clean", "sanitize", "sanitise", "sanitize_html", "sanitise_html", "quoteattr", "format_html",
    "tojson", "read_text", "render_template", "b64encode", "hexdigest", "esc", "h"
}  # fmt: skip
_TAG = re.compile(r"<\s*/?\s*[a-zA-Z!]")
_DECLARE_SAFE = {"Markup", "mark_safe", "SafeString", "SafeText", "SafeData"}
_ROUTES = {
    "route",
    "get",
    "post",
    "put",
    "delete",
    "patch",
    "api_route",
    "view",
    "errorhandler",
    "app_errorhandler",
}
# Where a handler's string is the page; elsewhere (FastAPI, Chalice) it is JSON or plain text.
_STRING_IS_PAGE = ("flask", "bottle", "quart", "cherrypy")
_RESPONSE_IS_PAGE = ("flask", "quart", "werkzeug", "webob", "pyramid", "django", "bottle")
_REQUEST_PARTS = {
    "args", "form", "values", "cookies", "headers", "view_args", "path", "full_path", "url", "query",
    "query_string", "GET", "POST", "META", "COOKIES", "params", "forms", "query_params", "path_params",
    "rel_url", "match_info", "matchdict", "get_argument", "get_query_argument", "get_body_argument",
}  # fmt: skip


_NODES: tuple[type[ast.AST], ...] = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Dict)
_READERS = {"get", "getlist", "getall", "getone", "pop", "getvalue", "getfirst"}
_REQUESTS = {"request", "req", "current_request", "current_event"}


def _escapes(name: str) -> bool:
    return name in _ESCAPING


def find(flow: Flow) -> Iterator[Hit]:
    """Yield a finding for every place where HTML with unescaped values leaves the program."""
    values = Values(flow, _escapes)
    for call in flow.calls():
        yield from _call(values, call)
    for node in flow.each(*_NODES):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from _returns(values, node)
        elif isinstance(node, ast.Dict):
            yield from _gateway_answer(values, node)


def _call(values: Values, call: ast.Call) -> Iterator[Hit]:
    flow = values.flow
    qualified = flow.qualified(call.func)
    name = qualified.rsplit(".", 1)[-1]
    first = (
        call.args[0]
        if call.args
        else flow.keyword(call, "body", "content", "html", "source", "object", "s", "text", "response")
    )
    rule: str | None = None
    whole_is_bad: Severity | None = None
    if switch(flow, flow.keyword(call, "unsafe_allow_html")):
        rule, whole_is_bad = "xss-streamlit-html", Severity.MEDIUM
    elif name == "html" and qualified.startswith(("streamlit", "st.", "components.")):
        rule = "xss-streamlit-html"
    elif name in _DECLARE_SAFE:
        rule, whole_is_bad = "xss-markup", Severity.MEDIUM
    elif first is not None and _sends_page(flow, call, qualified, name):
        if _is_page(values, first):
            yield Hit(RULES["xss-response"], call.lineno, call.col_offset + 1)
    elif compiles_template(flow, qualified, name):
        rule = "xss-template-source"
    elif name.endswith("Environment") and "jinja2" in qualified:
        yield from _environment(flow, call)
    if rule is None or first is None:
        return
    value = values.of(first)
    if rule == "xss-template-source":
        yield from _template_text(flow, first)
    if value.built:
        yield Hit(RULES[rule], call.lineno, call.col_offset + 1)
    elif value.holes and whole_is_bad is not None:
        yield Hit(RULES[rule], call.lineno, call.col_offset + 1, severity=whole_is_bad)


def _template_text(flow: Flow, source: ast.expr) -> Iterator[Hit]:
    """Read a constant template where it stands."""
    held = flow.resolve(source)
    if isinstance(held, ast.Constant) and isinstance(held.value, str):
        yield from page_rules.judge(held.value, first_line=held.lineno)


def _is_page(values: Values, answer: ast.expr, given: frozenset[str] = frozenset()) -> bool:
    """Return whether an answer is HTML with unescaped values, or holds text of the request as it came.

    ``given`` names the parameters that are parts of the request's path.
    """
    value = values.of(answer)
    if value.built and _TAG.search(value.text):
        return True
    return any(
        _of_request(values.flow, hole) or (isinstance(hole, ast.Name) and hole.id in given)
        for hole in value.holes
    )


def _of_request(flow: Flow, hole: ast.expr) -> bool:
    """Return whether a value was read from the request: ``request.args["q"]``, ``self.get_argument("q")``."""
    node: ast.expr = hole
    if isinstance(node, ast.Call):
        if not isinstance(node.func, ast.Attribute) or node.func.attr not in _READERS:
            return node is hole and getattr(node.func, "attr", "") in _REQUEST_PARTS
        node = node.func.value
    elif isinstance(node, ast.Subscript) or (
        isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute)
    ):
        node = node.value
    if not isinstance(node, ast.Attribute) or node.attr not in _REQUEST_PARTS:
        return False
    if node is hole and node.attr not in {"path", "full_path", "url", "query_string"}:
        return False
    return flow.qualified(node.value).rsplit(".", 1)[-1] in _REQUESTS


def compiles_template(flow: Flow, qualified: str, name: str) -> bool:
    """Return whether a call takes the source text of a template."""
    if name == "from_string":
        return any(
            module.startswith(("jinja2", "django.template", "mako")) for module in flow.imports.values()
        )
    return name == "render_template_string" or qualified in {"jinja2.Template", "django.template.Template"}


def _sends_page(flow: Flow, call: ast.Call, qualified: str, name: str) -> bool:
    """Return whether a call sends its first argument as a page: by its type, or by what it is told."""
    kind = flow.resolve(flow.keyword(call, "content_type", "mimetype", "media_type"))
    if isinstance(kind, ast.Constant) and kind.value is not None:
        return "html" in str(kind.value) and (name.endswith("Response") or name == "make_response")
    if name == "print":
        return "cgi" in {module.split(".", 1)[0] for module in flow.imports.values()}
    if name in {"write", "finish"} and isinstance(call.func, ast.Attribute):
        owner = call.func.value
        tornado = any(module.startswith("tornado") for module in flow.imports.values())
        return getattr(owner, "attr", "") == "wfile" or (tornado and getattr(owner, "id", "") == "self")
    return (
        name in {"HTMLResponse", "make_response"}
        or (name.startswith("HttpResponse") and "Redirect" not in name)
        or (name == "Response" and qualified.startswith(_RESPONSE_IS_PAGE))
        or qualified == "sanic.response.html"
    )


def _environment(flow: Flow, call: ast.Call) -> Iterator[Hit]:
    given = flow.keyword(call, "autoescape")
    if given is None and any(row.arg is None for row in call.keywords):
        return
    if given is None or switch(flow, given) is False:
        yield Hit(RULES["xss-autoescape-off"], call.lineno, call.col_offset + 1)


def _returns(values: Values, function: FunctionNode) -> Iterator[Hit]:
    """Check what a web handler returns, where the framework sends a returned string as HTML."""
    served = any(_serves_html(values.flow, decorator) for decorator in function.decorator_list)
    if not served and not _is_flask_view(values.flow, function) and not _is_wsgi(function):
        return
    routes = " ".join(ast.dump(decorator) for decorator in function.decorator_list)
    path_parts = frozenset(re.findall(r"<(?:string:|path:)?(\w+)>", routes))
    for node in ast.walk(function):
        if isinstance(node, ast.Return) and node.value is not None and values.flow.function(node) is function:
            answer = (
                node.value.elts[0] if isinstance(node.value, ast.Tuple) and node.value.elts else node.value
            )
            if _is_page(values, answer, path_parts):
                yield Hit(RULES["xss-response"], node.lineno, node.col_offset + 1)


def _serves_html(flow: Flow, decorator: ast.expr) -> bool:
    if not isinstance(decorator, ast.Call):
        return False
    qualified = flow.qualified(decorator.func)
    if qualified.rsplit(".", 1)[-1] not in _ROUTES:
        return False
    response = flow.keyword(decorator, "response_class")
    if response is not None:
        return flow.qualified(response).endswith("HTMLResponse")
    return any(module.startswith(_STRING_IS_PAGE) for module in flow.imports.values())


def _is_flask_view(flow: Flow, function: FunctionNode) -> bool:
    """Return whether a function is a method of a class-based view, or registered by ``add_url_rule``."""
    scope = flow.scope(function)
    if isinstance(scope, ast.ClassDef):
        return function.name in {"get", "post", "put", "dispatch_request"} and any(
            flow.qualified(base).startswith("flask.views") for base in scope.bases
        )
    return any(
        isinstance(given, ast.Name) and given.id == function.name
        for call in flow.calls_of("add_url_rule")
        for given in [*call.args, *(row.value for row in call.keywords)]
    )


def _is_wsgi(function: FunctionNode) -> bool:
    """Return whether a function is a WSGI application that says its answer is HTML."""
    return any(arg.arg == "start_response" for arg in function.args.args) and "text/html" in ast.dump(
        function
    )


def _gateway_answer(values: Values, node: ast.Dict) -> Iterator[Hit]:
    """Check ``{"statusCode": …, "headers": {"content-type": "text/html"}, "body": …}`` of a Lambda."""
    held = dict(entries(node))
    body, headers = held.get("body"), held.get("headers")
    if "statusCode" not in held or body is None or headers is None:
        return
    known = values.flow.resolve(headers) or headers
    if "text/html" not in values.of(known).text and "text/html" not in ast.dump(known):
        return
    value = values.of(body)
    if value.built and _TAG.search(value.text):
        yield Hit(RULES["xss-response"], body.lineno, body.col_offset + 1)
