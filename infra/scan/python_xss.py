"""Cross-site scripting in Python: HTML built from unescaped values, in Streamlit, Jinja2, web handlers."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from infra.scan.catalogue import RULES
from infra.scan.findings import Hit, Severity
from infra.scan.python_flow import Flow, FunctionNode, keyword
from infra.scan.python_values import Values

_ESCAPING = {
    "escape", "conditional_escape", "escape_html", "html_escape", "quote", "quote_plus", "urlencode",
    "clean", "sanitize", "sanitise", "sanitize_html", "sanitise_html", "quoteattr", "format_html",
    "tojson", "read_text", "render_template", "b64encode", "hexdigest", "esc", "h"
}  # fmt: skip
_TAG = re.compile(r"<\s*/?\s*[a-zA-Z!]")
_DECLARE_SAFE = {"Markup", "mark_safe", "SafeString", "SafeText"}
_ROUTES = {"route", "get", "post", "put", "delete", "patch"}
_HTML_FRAMEWORKS = ("flask", "bottle", "quart", "aiohttp", "chalice")


def _escapes(name: str) -> bool:
    return name in _ESCAPING


def find(flow: Flow) -> Iterator[Hit]:
    """Yield a finding for every place where HTML with unescaped values leaves the program."""
    values = Values(flow, _escapes)
    for call in flow.calls():
        yield from _call(values, call)
    for function in flow.functions.values():
        yield from _returns(values, function)
    for node in flow.nodes:
        if isinstance(node, ast.Dict):
            yield from _gateway_answer(values, node)


def _call(values: Values, call: ast.Call) -> Iterator[Hit]:
    qualified = values.flow.qualified(call.func)
    name = qualified.rsplit(".", 1)[-1]
    first = (
        call.args[0]
        if call.args
        else keyword(call, "body", "content", "html", "source", "object", "s", "text")
    )
    unsafe = keyword(call, "unsafe_allow_html")
    rule: str | None = None
    needs_tag = False
    whole_is_bad: Severity | None = None
    if isinstance(unsafe, ast.Constant) and unsafe.value is True:
        rule, whole_is_bad = "xss-streamlit-html", Severity.MEDIUM
    elif name == "html" and qualified.startswith(("streamlit", "st.", "components.")):
        rule = "xss-streamlit-html"
    elif name in _DECLARE_SAFE:
        rule, whole_is_bad = "xss-markup", Severity.MEDIUM
    elif name in {"HTMLResponse", "HttpResponse", "make_response"} or _answers_html(call, name):
        rule, needs_tag = "xss-response", True
    elif _compiles_template(values.flow, qualified, name):
        rule = "xss-template-source"
    elif name.endswith("Environment") and "jinja2" in qualified:
        yield from _environment(call)
    if rule is None or first is None:
        return
    value = values.of(first)
    if value.built and (_TAG.search(value.text) or not needs_tag):
        yield Hit(RULES[rule], call.lineno, call.col_offset + 1)
    elif value.holes and not value.built and whole_is_bad is not None:
        yield Hit(RULES[rule], call.lineno, call.col_offset + 1, severity=whole_is_bad)


def _compiles_template(flow: Flow, qualified: str, name: str) -> bool:
    if name == "from_string":
        return any(
            module.startswith(("jinja2", "django.template", "mako")) for module in flow.imports.values()
        )
    return name == "render_template_string" or qualified == "jinja2.Template"


def _answers_html(call: ast.Call, name: str) -> bool:
    """Return whether a call answers a request in HTML: a typed response, or a handler's ``wfile.write``."""
    if name == "write":
        return isinstance(call.func, ast.Attribute) and getattr(call.func.value, "attr", "") == "wfile"
    kind = keyword(call, "content_type", "mimetype", "media_type")
    return name == "Response" and isinstance(kind, ast.Constant) and "html" in str(kind.value)


def _environment(call: ast.Call) -> Iterator[Hit]:
    given = keyword(call, "autoescape")
    if any(given.arg is None for given in call.keywords):
        return
    if given is None or (isinstance(given, ast.Constant) and not given.value):
        yield Hit(RULES["xss-autoescape-off"], call.lineno, call.col_offset + 1)


def _returns(values: Values, function: FunctionNode) -> Iterator[Hit]:
    """Check what a web handler returns, where the framework sends a returned string as HTML."""
    if not any(_serves_html(values.flow, decorator) for decorator in function.decorator_list):
        return
    for node in ast.walk(function):
        if isinstance(node, ast.Return) and node.value is not None and values.flow.function(node) is function:
            answer = (
                node.value.elts[0] if isinstance(node.value, ast.Tuple) and node.value.elts else node.value
            )
            value = values.of(answer)
            if value.built and _TAG.search(value.text):
                yield Hit(RULES["xss-response"], node.lineno, node.col_offset + 1)


def _serves_html(flow: Flow, decorator: ast.expr) -> bool:
    if not isinstance(decorator, ast.Call) or not isinstance(decorator.func, ast.Attribute):
        return False
    if decorator.func.attr not in _ROUTES:
        return False
    response = keyword(decorator, "response_class")
    if response is not None:
        return flow.qualified(response).endswith("HTMLResponse")
    return any(module.startswith(_HTML_FRAMEWORKS) for module in flow.imports.values())


def _gateway_answer(values: Values, node: ast.Dict) -> Iterator[Hit]:
    """Check ``{"statusCode": …, "headers": {"content-type": "text/html"}, "body": …}`` of a Lambda."""
    entries = {
        key.value: value
        for key, value in zip(node.keys, node.values, strict=True)
        if isinstance(key, ast.Constant)
    }
    body, headers = entries.get("body"), entries.get("headers")
    if "statusCode" not in entries or body is None or headers is None:
        return
    if "text/html" not in values.of(headers).text and "text/html" not in ast.dump(headers):
        return
    value = values.of(body)
    if value.built and _TAG.search(value.text):
        yield Hit(RULES["xss-response"], body.lineno, body.col_offset + 1)
