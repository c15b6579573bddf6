"""Cross-site scripting in templates: escaping switched off, and values where HTML escaping does not protect."""

from __future__ import annotations

import re
from collections.abc import Iterator

from infra.scan.catalogue import RULES
from infra.scan.findings import Hit
from infra.scan.secret_words import words
from infra.scan.sources import Source

MAX_LINE = 4_000

SUFFIXES = {
    ".html", ".htm", ".j2", ".jinja", ".jinja2", ".tpl", ".tmpl", ".djhtml", ".xml", ".svg", ".ejs", ".erb", ".hbs",
    ".handlebars", ".mustache", ".vue", ".svelte", ".njk", ".twig", ".liquid",
}  # fmt: skip
_MUSTACHE = {".hbs", ".handlebars", ".mustache"}
_CLIENT_SIDE = {".vue", ".svelte", ".ejs", ".erb"}

_UNESCAPED = [
    (re.compile(r"\{\{(?:(?!\}\}).){0,300}\|\s*safe(?:seq)?\b(?:(?!\}\}).){0,100}\}\}"), "xss-template-safe"),
    (re.compile(r"\{\{(?:(?!\}\}).){0,300}\|\s*raw\s*-?\}\}"), "xss-template-safe"),
    (re.compile(r"\{%-?\s*autoescape\s+(?:false|off)\b", re.I), "xss-autoescape-off"),
    (re.compile(r"\{%-?\s*filter\s+safe\b"), "xss-template-safe"),
    (re.compile(r"\sv-html\s*=|\[innerHTML\]\s*=|\{@html\s"), "xss-template-safe"),
    (
        re.compile(r"<%-(?!\s*(?:await\s+)?(?:include|partial|body|render|['\"#]|JSON\.stringify))"),
        "xss-template-safe",
    ),
    (re.compile(r"<%==|<%=\s*raw[\s(]|<%=[^%]{0,200}\.html_safe\b"), "xss-template-safe"),
]
_TRIPLE_BRACES = re.compile(r"\{\{\{[^{}]+\}\}\}")
_MADE_SAFE = re.compile(
    r"""(?x) \|\s*(?:tojson|e|escape|forceescape|striptags|bleach|clean|sanitize\w*|sanitise\w*|json_script)\b[^|}]*\|\s*safe
        | \{\{-?\s*(?:"[^"]*"|'[^']*')\s*\|\s*safe | (?:sanitize|sanitise|purify|bleach)\w*\( """
)
_SCRIPT = re.compile(r"<script\b(?P<attributes>[^>]*)>|</script\s*>", re.I)
_NOT_CODE = re.compile(r"type\s*=\s*['\"]?(?:text/(?:template|x-|html|ng)|x-)", re.I)
_PRINTED = re.compile(r"\{\{-?\s*(?P<value>(?:(?!\}\}).){1,300}?)\s*-?\}\}")
_HANDLER = re.compile(r"\son[a-z]{3,20}\s*=\s*(?:\"[^\"]*$|'[^']*$)", re.I)
_SCRIPT_URL = re.compile(r"(?:href|src|action)\s*=\s*['\"]?\s*javascript:[^'\"]*$", re.I)
_BARE_ATTRIBUTE = re.compile(r"<\w[^<>]*\s[\w:-]+=$")
# Filters that make a value fit for a script, and functions whose result holds nobody's text.
_FIT_FOR_SCRIPT = re.compile(
    r"\|\s*(?:tojson|to_json|json|json_script|escapejs|js|int|float|length|count|round|abs|dump|json_encode)\b"
    r"|^(?:url_for|static|url|csrf_token|asset|_|gettext|len|config|settings|loop|forloop|now|range|super|block)\b"
    r"|^['\"\d]"
)
_NUMBERS = {
    "id", "pk", "count", "index", "length", "total", "number", "num", "year", "month", "day", "port", "page", "size",
    "timestamp", "ts", "width", "height", "limit", "offset", "version", "nonce", "seconds", "ms", "lat", "lng", "lon",
}  # fmt: skip


def find(source: Source) -> Iterator[Hit]:
    """Yield the findings of one template file."""
    yield from judge(source.text, source.suffix)


def judge(text: str, suffix: str = ".html", first_line: int = 1) -> Iterator[Hit]:
    """Yield the findings of a template's text, its lines counted from ``first_line``."""
    in_script = False
    for number, line in enumerate(text.split("\n"), first_line):
        if len(line) > MAX_LINE:
            continue
        for pattern, rule in _UNESCAPED:
            for found in pattern.finditer(line):
                if not _MADE_SAFE.search(found[0]):
                    yield Hit(RULES[rule], number, found.start() + 1)
        if suffix in _MUSTACHE:
            for found in _TRIPLE_BRACES.finditer(line):
                yield Hit(RULES["xss-template-safe"], number, found.start() + 1)
        elif suffix not in _CLIENT_SIDE:
            yield from _misplaced(line, number, in_script=in_script)
        for tag in _SCRIPT.finditer(line):
            in_script = tag["attributes"] is not None and not _NOT_CODE.search(tag["attributes"])


def _misplaced(line: str, number: int, *, in_script: bool) -> Iterator[Hit]:
    """Find printed values within scripts, event handlers, script addresses and unquoted attributes."""
    tags = list(_SCRIPT.finditer(line))
    for found in _PRINTED.finditer(line):
        value = found["value"]
        last = next((tag for tag in reversed(tags) if tag.end() <= found.start()), None)
        code = (
            in_script
            if last is None
            else last["attributes"] is not None and not _NOT_CODE.search(last["attributes"])
        )
        before = line[: found.start()]
        exposed = (
            code or _HANDLER.search(before) or _SCRIPT_URL.search(before) or _BARE_ATTRIBUTE.search(before)
        )
        if exposed and not _FIT_FOR_SCRIPT.search(value) and not _is_number(value):
            yield Hit(RULES["xss-template-script"], number, found.start() + 1)


def _is_number(value: str) -> bool:
    parts = words(value.split("|", 1)[0])
    return bool(parts) and parts[-1] in _NUMBERS
