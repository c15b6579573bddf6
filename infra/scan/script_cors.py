"""Open CORS in scripts, Java and server configuration: any origin, the request's own, or a check strangers pass."""

from __future__ import annotations

import re
from collections.abc import Iterator

from infra.scan.catalogue import RULES
from infra.scan.findings import Hit, Severity
from infra.scan.origin_patterns import admits_strangers
from infra.scan.script_text import Script

_ORIGIN_HEADER = re.compile(
    r"""(?ix) Access-Control-Allow-Origin['"]?\s*[,:=]?\s*
      (?P<value>['"]\*['"] | \*\s*(?:always)?\s*;? $ | \$http_origin
      | (?:req(?:uest)?|ctx|event|r)\b\.[^;,\n]*\borigin\b )""",
    re.M,
)
_CREDENTIALS_HEADER = re.compile(r"Access-Control-Allow-Credentials['\"]?\s*[,:=]?\s*['\"]?true", re.I)
_OPEN_ORIGIN = re.compile(
    r"origin\s*:\s*(?:['\"]\*['\"]|true\b|\[[^\]]*['\"]\*['\"]|(?:function\s*)?\(\s*\w+\s*,\s*(\w+)\s*\)\s*(?:=>)?\s*\{?\s*\1\(\s*null\s*,\s*true\s*\))"
)
_ORIGIN_PATTERN = re.compile(r"\borigin\s*:\s*\[?\s*/((?:[^/\\\n]|\\.){1,300})/")
# A host's name within, or at the end of, another one. A leading dot or the scheme makes it sound.
_WEAK_ORIGIN_CHECK = re.compile(
    r"\borigin\s*\??\.\s*(?:endsWith\(\s*['\"`](?![.:/]|https?://)|includes\(\s*['\"`]|indexOf\(\s*['\"`]|startsWith\(\s*['\"`](?!https?://[^'\"`]*[:/]['\"`]))",
    re.I,
)
_WITH_CREDENTIALS = re.compile(r"\bcredentials\s*:\s*true\b")
_PUBLIC_PLACE = re.compile(r"(?i)\blocation\b.*(?:public|static|assets|fonts?|cdn|images?|media|\.woff)")
_JAVA_ORIGIN = re.compile(
    r"\.allowedOrigin(?:s|Patterns)\(\s*\"\*\"|\.addAllowedOrigin(?:Pattern)?\(\s*\"\*\"|@CrossOrigin\([^)]*origins\s*=\s*\"\*\""
)
_JAVA_CREDENTIALS = re.compile(r"[aA]llowCredentials\s*(?:\(\s*true|=\s*\"true\")")
_NO_CREDENTIALS = re.compile(r"\bcredentials\s*:\s*false\b")
_IN_CORS = re.compile(r"(?i)cors\w*\s*(?:\(|[:=])\s*\{[^{}]*$")
_BARE_CORS = re.compile(r"\buse\s*\((?:[^()]*,)?\s*cors\s*\(\s*\)")
_PUBLIC_ADDRESS = re.compile(r"(?i)['\"`/](?:public|static|assets|fonts?|cdn|health|docs)\b")


def find(script: Script) -> Iterator[Hit]:
    """Yield the open CORS settings of one script."""
    for found in _OPEN_ORIGIN.finditer(script.code) if re.search(r"\bcors\b", script.code, re.I) else ():
        around = script.braces(found.start())
        if _WITH_CREDENTIALS.search(script.code, *around):
            yield Hit(RULES["cors-wildcard-credentials"], *script.place(found.start()))
        elif _is_setting(script, found.start()) and not _NO_CREDENTIALS.search(script.code, *around):
            yield _wildcard(script, found.start())
    for found in _BARE_CORS.finditer(script.bare):
        yield _wildcard(script, found.start())
    for found in _ORIGIN_PATTERN.finditer(script.code):
        if admits_strangers(found[1].replace("\\/", "/"), "search") and _WITH_CREDENTIALS.search(
            script.code, *script.braces(found.start())
        ):
            yield Hit(RULES["cors-wildcard-credentials"], *script.place(found.start()))
    for found in _WEAK_ORIGIN_CHECK.finditer(script.code):
        if script.bare[found.start()] != " " and re.search(r"cors|allow-origin", script.code, re.I):
            yield Hit(RULES["cors-reflected-origin"], *script.place(found.start()))
    for found in _JAVA_ORIGIN.finditer(script.code):
        if _JAVA_CREDENTIALS.search(script.code, max(0, found.start() - 300), found.end() + 300):
            yield Hit(RULES["cors-wildcard-credentials"], *script.place(found.start()))
    yield from header_pairs(script.code)


def _is_setting(script: Script, offset: int) -> bool:
    """Return whether an ``origin`` belongs to options of CORS, and not to a message or a transformation."""
    return bool(_IN_CORS.search(script.code[max(0, offset - 300) : offset]))


def _wildcard(script: Script, offset: int) -> Hit:
    """Return the finding about any origin without credentials: less when the address says that it is public."""
    line, column = script.place(offset)
    public = bool(_PUBLIC_ADDRESS.search(script.source.line_at(line)))
    return Hit(RULES["cors-wildcard"], line, column, severity=Severity.INFO if public else None)


def header_pairs(text: str) -> Iterator[Hit]:
    """Find open Allow-Origin headers; those within fifteen lines of Allow-Credentials weigh more."""
    lines = text.split("\n")
    with_credentials = [number for number, line in enumerate(lines, 1) if _CREDENTIALS_HEADER.search(line)]
    public = False
    for number, line in enumerate(lines, 1):
        # A place that says it is public, or holds static files, is one.
        public = bool(_PUBLIC_PLACE.search(line)) or (public and "}" not in line)
        found = _ORIGIN_HEADER.search(line)
        if found is None or line.lstrip().startswith("#"):
            continue
        wildcard = "*" in found["value"]
        if any(abs(number - other) <= 15 for other in with_credentials):
            rule = "cors-wildcard-credentials" if wildcard else "cors-reflected-origin"
            yield Hit(RULES[rule], number, found.start() + 1)
        elif wildcard:
            yield Hit(
                RULES["cors-wildcard"], number, found.start() + 1, severity=Severity.INFO if public else None
            )
        else:
            yield Hit(RULES["cors-reflected-origin"], number, found.start() + 1, severity=Severity.MEDIUM)
