"""Rules for JavaScript, TypeScript, HTML templates, Java, Go, shell and server configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator

from infra.scan.catalogue import RULES
from infra.scan.findings import Hit
from infra.scan.python_sql import looks_like_sql
from infra.scan.script_text import Script, read
from infra.scan.secret_words import secrecy
from infra.scan.sources import Source

_TEMPLATES = {
    ".html",
    ".htm",
    ".j2",
    ".jinja",
    ".jinja2",
    ".tpl",
    ".xml",
    ".ejs",
    ".hbs",
    ".handlebars",
    ".mustache",
    ".vue",
}
_SHELLS = {".sh", ".bash", ".zsh", ".env", ".yml", ".yaml", ".mk", ".dockerfile", ".envrc"}
_SERVERS = {".conf", ".nginx", ".htaccess"}

_SQL_CALL = re.compile(
    r"\.\s*(?:query|execute|executeQuery|executeUpdate|executeLargeUpdate|raw|unsafe|prepareStatement|prepareCall|addBatch|"
    r"createQuery|createNativeQuery|createSQLQuery|queryForObject|queryForList|queryForMap|batchUpdate|update|run|all|exec|"
    r"\$queryRawUnsafe|\$executeRawUnsafe|literal|Query|QueryRow|Exec|QueryContext|ExecContext)\s*(?:<[^<>()]{0,80}>)?\s*\("
)
_DOM_WRITE = re.compile(
    r"\.\s*(?:innerHTML|outerHTML|srcdoc)\s*(?:\+=|=)(?!=)|\bdocument\s*\.\s*write(?:ln)?\s*\(|\.\s*createContextualFragment\s*\(|\$\(\s*\)\s*\.\s*html\s*\("
)
_DOM_INSERT = re.compile(r"\.\s*insertAdjacentHTML\s*\(")
_REACT = re.compile(r"dangerouslySetInnerHTML\s*=\s*\{(?:\{\s*__html\s*:)?")
_EVALUATE = re.compile(
    r"\b(?:eval|Function|setTimeout|setInterval)\s*\(\s*(?=[^)]*\b(?:location|document\s*\.\s*(?:URL|cookie|referrer)|window\s*\.\s*name)\b)"
)
_TRUST = re.compile(r"\bbypassSecurityTrust(?:Html|Script|Url|ResourceUrl)\s*\(")
_ANSWER = re.compile(r"\bres(?:ponse)?\s*\.\s*(?:send|write|end)\s*\(")
_CIPHER_IV = re.compile(r"\bcreateCipheriv\([^()]*,\s*([A-Za-z_$][\w$]*)\s*[,)]")
_CONSTANT_BYTES = re.compile(
    r"\s*(?:Buffer\.(?:alloc\(|from\(\s*['\"])|['\"]|new\s+Uint8Array\(\s*(?:\d|\[))"
)
_RANDOM = re.compile(r"\bMath\s*\.\s*random\s*\(")
_NAMED = re.compile(r"([A-Za-z_$][\w$]*)\s*[:=](?!=)[^=;\n]*$|\bfunction\s+([A-Za-z_$][\w$]*)[^;]*$")


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


# Patterns read in code with comments blanked: (pattern, rule).
_IN_CODE = [
    (
        _any(
            r"createHash\(\s*['\"](?:md5|sha-?1|md4)['\"]",
            r"CryptoJS\.(?:MD5|SHA1)\(",
            r"MessageDigest\.getInstance\(\s*\"(?:MD[245]|SHA-?1)\"",
            r"\b(?:md5|sha1)\.(?:New|Sum)\(",
            r"DigestUtils\.(?:md5|sha1)\w*\(",
        ),
        "crypto-weak-hash",
    ),
    (
        _any(
            r"createCipher(?:iv)?\(\s*['\"][\w-]*-?ecb",
            r"Cipher\.getInstance\(\s*\"AES(?:/ECB[^\"]*)?\"",
            r"CryptoJS\.mode\.ECB",
        ),
        "crypto-ecb",
    ),
    (
        _any(
            r"createCipher(?:iv)?\(\s*['\"](?:des|rc[24]|bf|idea)",
            r"Cipher\.getInstance\(\s*\"(?:DES|DESede|RC[24]|ARCFOUR|Blowfish)\b",
            r"\b(?:des|rc4)\.New\w*Cipher\(",
            r"CryptoJS\.(?:DES|TripleDES|RC4)\b",
        ),
        "crypto-weak-cipher",
    ),
    (
        _any(
            r"createCipheriv\([^,()]+,[^,()]+,\s*['\"]",
            r"createCipheriv\([^,()]+,[^,()]+,\s*Buffer\.(?:alloc\(|from\(['\"])",
            r"new\s+IvParameterSpec\(\s*\"",
            r"\bcreateCipher\(\s*['\"]",
        ),
        "crypto-fixed-iv",
    ),
    (
        _any(
            r"\b(?:rejectUnauthorized|strictSSL)\s*:\s*false",
            r"NODE_TLS_REJECT_UNAUTHORIZED['\"\]]*\s*[:=]\s*['\"]?0",
            r"InsecureSkipVerify:\s*true",
            r"\b(?:NoopHostnameVerifier|ALLOW_ALL_HOSTNAME_VERIFIER|TrustAllStrategy|InsecureTrustManagerFactory)\b",
        ),
        "crypto-tls-unverified",
    ),
    (
        _any(
            r"\balgorithms?['\"]?\s*:\s*(?:\[[^\]]{0,200})?['\"]none['\"]",
            r"Algorithm\.none\(\)",
            r"SigningMethodNone",
        ),
        "crypto-jwt-none",
    ),
    (
        _any(
            r"\b(?:SSLv3|TLSv1_method|TLSv1_1_method)\b",
            r"SSLContext\.getInstance\(\s*\"(?:SSL|SSLv3|TLSv1(?:\.1)?)\"",
            r"minVersion:\s*['\"]TLSv1(?:\.1)?['\"]",
        ),
        "crypto-tls-old",
    ),
]

_IN_TEMPLATES = [
    (re.compile(r"\{\{(?:(?!\}\}).){0,300}\|\s*safe\b(?:(?!\}\}).){0,100}\}\}"), "xss-template-safe"),
    (re.compile(r"\{%-?\s*autoescape\s+(?:false|off)\b", re.I), "xss-autoescape-off"),
    (re.compile(r"\sv-html\s*=|\[innerHTML\]\s*=|\{@html\s"), "xss-template-safe"),
    (re.compile(r"<%-(?!\s*(?:await\s+)?(?:include|partial|body|render|['\"#]))"), "xss-template-safe"),
]  # fmt: skip
_TRIPLE_BRACES = re.compile(r"\{\{\{[^{}]+\}\}\}")

_IN_SHELL = _any(
    r"\bcurl\b[^|;&\n]*\s(?-i:-[a-zA-Z]*k[a-zA-Z]*|--insecure)(?=\s|$)",
    r"\bwget\b[^|;&\n]*\s--no-check-certificate\b",
    r"\b(?:NODE_TLS_REJECT_UNAUTHORIZED|PYTHONHTTPSVERIFY)\s*[=:]\s*['\"]?0",
    r"\bGIT_SSL_NO_VERIFY\s*[=:]\s*['\"]?(?:1|true)",
    r"\bhttp\.sslVerify\s*=?\s*false\b",
)

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
_WITH_CREDENTIALS = re.compile(r"\bcredentials\s*:\s*true\b")
_JAVA_ORIGIN = re.compile(
    r"\.allowedOrigin(?:s|Patterns)\(\s*\"\*\"|\.addAllowedOrigin(?:Pattern)?\(\s*\"\*\"|@CrossOrigin\([^)]*origins\s*=\s*\"\*\""
)
_JAVA_CREDENTIALS = re.compile(r"[aA]llowCredentials\s*(?:\(\s*true|=\s*\"true\")")


def find(source: Source) -> Iterator[Hit]:
    """Yield the findings of one file that is not Python."""
    base = source.name.rsplit("/", 1)[-1].lower()
    script = read(source)
    if script is not None:
        yield from _sql(script)
        yield from _dom(script)
        yield from _crypto(script)
        yield from _cors(script)
    if source.suffix in _TEMPLATES:
        yield from _templates(source)
    if source.suffix in _SHELLS or base.startswith(("dockerfile", "makefile", ".env")):
        yield from _shell(source)
    if source.suffix in _SERVERS:
        yield from _header_pairs(source.text)


def _sql(script: Script) -> Iterator[Hit]:
    for found in _SQL_CALL.finditer(script.bare):
        span = script.expression(found.end(), stops=",")
        name = script.bare[slice(*span)].strip()
        if re.fullmatch(r"[A-Za-z_$][\w$]*", name):
            assigned = _assigned(script, name, found.start())
            if assigned is None:
                continue
            span = assigned
        if script.dynamic(span) and looks_like_sql(script.literal(span)):
            yield Hit(RULES["sql-built-text"], *script.place(found.start()))


def _assigned(script: Script, name: str, before: int) -> tuple[int, int] | None:
    """Return the expression last assigned to ``name`` within the 4,000 characters before an offset."""
    pattern = re.compile(rf"(?<![\w$.]){re.escape(name)}\s*(?::\s*[\w<>\[\]]+\s*)?\+?=(?!=)")
    starts = [found.end() for found in pattern.finditer(script.bare, max(0, before - 4000), before)]
    spans = [script.expression(start) for start in starts]
    return next((span for span in reversed(spans) if script.dynamic(span)), None)


def _dom(script: Script) -> Iterator[Hit]:
    for pattern in (_DOM_WRITE, _REACT, _TRUST):
        for found in pattern.finditer(script.bare):
            opens = script.bare[found.end() - 1] == "("
            span = script.expression(found.end(), stops="," if opens or pattern is _REACT else ";")
            if script.dynamic(span):
                yield Hit(RULES["xss-dom"], *script.place(found.start()))
    for found in _DOM_INSERT.finditer(script.bare):
        _, comma = script.expression(found.end(), stops=",")
        if script.dynamic(script.expression(comma + 1, stops=",")):
            yield Hit(RULES["xss-dom"], *script.place(found.start()))
    for found in _EVALUATE.finditer(script.bare):
        yield Hit(RULES["xss-dom"], *script.place(found.start()))
    for found in _ANSWER.finditer(script.bare):
        span = script.expression(found.end(), stops=",")
        if (
            script.dynamic(span)
            and re.search(r"<\w", script.literal(span))
            and re.search(r"\breq", script.bare[slice(*span)])
        ):
            yield Hit(RULES["xss-response"], *script.place(found.start()))


def _crypto(script: Script) -> Iterator[Hit]:
    for pattern, rule in _IN_CODE:
        for found in pattern.finditer(script.code):
            # The match must begin in code: inside a string it is only talk about code.
            if script.bare[found.start()] != " ":
                yield Hit(RULES[rule], *script.place(found.start()))
    for found in _CIPHER_IV.finditer(script.bare):
        bound = re.compile(rf"(?<![\w$.]){re.escape(found[1])}\s*=(?!=)")
        for given in bound.finditer(script.bare, max(0, found.start() - 4000), found.start()):
            if _CONSTANT_BYTES.match(script.code, given.end()):
                yield Hit(RULES["crypto-fixed-iv"], *script.place(found.start()))
    for found in _RANDOM.finditer(script.bare):
        named = _NAMED.search(script.bare[max(0, found.start() - 200) : found.start()])
        name = (named[1] or named[2]) if named else ""
        if name and secrecy(name):
            yield Hit(RULES["crypto-random"], *script.place(found.start()))


def _cors(script: Script) -> Iterator[Hit]:
    for found in _OPEN_ORIGIN.finditer(script.code) if re.search(r"\bcors\b", script.code, re.I) else ():
        if _WITH_CREDENTIALS.search(script.code, *script.braces(found.start())):
            yield Hit(RULES["cors-wildcard-credentials"], *script.place(found.start()))
    for found in _JAVA_ORIGIN.finditer(script.code):
        if _JAVA_CREDENTIALS.search(script.code, max(0, found.start() - 300), found.end() + 300):
            yield Hit(RULES["cors-wildcard-credentials"], *script.place(found.start()))
    yield from _header_pairs(script.code)


def _header_pairs(text: str) -> Iterator[Hit]:
    """Find an open Allow-Origin header within fifteen lines of an Allow-Credentials header."""
    lines = text.split("\n")
    with_credentials = [number for number, line in enumerate(lines, 1) if _CREDENTIALS_HEADER.search(line)]
    for number, line in enumerate(lines, 1):
        found = _ORIGIN_HEADER.search(line)
        if found is None or line.lstrip().startswith("#"):
            continue
        if any(abs(number - other) <= 15 for other in with_credentials):
            rule = "cors-wildcard-credentials" if "*" in found["value"] else "cors-reflected-origin"
            yield Hit(RULES[rule], number, found.start() + 1)


def _templates(source: Source) -> Iterator[Hit]:
    for number, line in enumerate(source.lines, 1):
        for pattern, rule in _IN_TEMPLATES:
            for found in pattern.finditer(line[:4000]):
                if not re.search(r"\|\s*(?:tojson|e|escape)\s*\|\s*safe\b", found[0]):
                    yield Hit(RULES[rule], number, found.start() + 1)
        if source.suffix in {".hbs", ".handlebars", ".mustache"}:
            for found in _TRIPLE_BRACES.finditer(line[:4000]):
                yield Hit(RULES["xss-template-safe"], number, found.start() + 1)


def _shell(source: Source) -> Iterator[Hit]:
    for number, line in enumerate(source.lines, 1):
        if line.lstrip().startswith("#") or len(line) > 4000:
            continue
        found = _IN_SHELL.search(line)
        if found:
            yield Hit(RULES["crypto-tls-unverified"], number, found.start() + 1)
