"""Rules for JavaScript, TypeScript, HTML templates, Java, Go, shell and server configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator

from infra.scan import page_rules, script_cors
from infra.scan.catalogue import RULES
from infra.scan.findings import Hit
from infra.scan.python_sql import looks_like_sql
from infra.scan.script_text import Script, read
from infra.scan.secret_words import secrecy
from infra.scan.sources import Source

_SHELLS = {".sh", ".bash", ".zsh", ".env", ".yml", ".yaml", ".mk", ".dockerfile", ".envrc"}
_SERVERS = {".conf", ".nginx", ".htaccess"}

_SQL_CALL = re.compile(
    r"\.\s*(?:query|execute|executeQuery|executeUpdate|executeLargeUpdate|raw|unsafe|prepareStatement|prepareCall|addBatch|"
    r"createQuery|createNativeQuery|createSQLQuery|queryForObject|queryForList|queryForMap|batchUpdate|update|run|all|exec|"
    r"\$queryRawUnsafe|\$executeRawUnsafe|literal|Query|QueryRow|Exec|QueryContext|ExecContext|get|each|one|many|any|none|"
    r"oneOrNone|manyOrNone|prepare|fetch|fetchAll|select|sql)\s*(?:<[^<>()]{0,80}>)?\s*\("
    r"|\b(?:query|execute|runQuery|executeQuery|execSql|sqlQuery)\s*(?:<[^<>()]{0,80}>)?\s*\("
)
# What takes a piece of a statement as it is; a comparison with a value in it is enough.
_SQL_PIECE = re.compile(
    r"\.\s*(?:whereRaw|havingRaw|orderByRaw|groupByRaw|selectRaw|fromRaw|joinRaw|andWhereRaw|orWhereRaw|where|andWhere|"
    r"orWhere|having|andHaving|literal|raw|orderBy|addOrderBy)\s*\("
)
_CONDITION = re.compile(
    r"(?is)[\w\"'`\])]\s*(?:=|<>|!=|<=?|>=?|\b(?:like|ilike|in|between)\b)\s*[('%]*(?:\?|$)"
)
# In small letters a sentence can begin like a statement; one of these tells.
_FULL_STATEMENT = re.compile(
    r"^\s*[a-z]+\b.*\b(?:where\s+\S+\s*(?:=|<|>|like|in)|values\s*\(|set\s+\S+\s*=|order\s+by|limit\s)", re.S
)
_SQL_TEXT = re.compile(
    r"(?i)[`\"']\s*(?:select|insert|update|delete|drop|create|alter|truncate|merge|with)\s"
)
_NO_QUERY = re.compile(
    r"(?:console\s*\.\s*\w+|log(?:ger)?\s*\.\s*\w+|\bError|\bassert\w*|\bsql|\bgql|\bSQL|\braw|\$queryRaw|\$executeRaw|\bt)\s*(?:<[^<>]*>)?\s*\(?\s*$"
)
_DOM_WRITE = re.compile(
    r"\.\s*(?:innerHTML|outerHTML|srcdoc)\s*(?:\+=|=)(?!=)|\bdocument\s*\.\s*write(?:ln)?\s*\(|\.\s*createContextualFragment\s*\(|\.\s*html\s*\(|\.\s*setHTMLUnsafe\s*\("
)
_DOM_APPEND = re.compile(r"\.\s*(?:append|prepend|after|before|replaceWith|wrap|appendTo)\s*\(|\$\s*\(")
_DOM_INSERT = re.compile(r"\.\s*insertAdjacentHTML\s*\(")
_REACT = re.compile(r"dangerouslySetInnerHTML\s*=\s*\{(?:\{\s*__html\s*:)?")
_EVALUATE = re.compile(
    r"\b(?:eval|Function|setTimeout|setInterval)\s*\(\s*(?=[^)]*\b(?:location|document\s*\.\s*(?:URL|cookie|referrer)|window\s*\.\s*name)\b)"
)
_HANDLERS = re.compile(r"\.\s*setAttribute\s*\(")
_SOURCE_DOC = re.compile(r"\bsrcDoc\s*=\s*\{")
_TIMER = re.compile(r"\b(?:setTimeout|setInterval)\s*\(")
_LOCATION = re.compile(
    r"(?:\bwindow\s*\.\s*|(?<![\w.]))location(?:\s*\.\s*href)?\s*=(?!=)"
    r"|\blocation\s*\.\s*(?:assign|replace)\s*\("
)
_QUERY_SELECTOR = re.compile(r"(?<![\w.])(?:\$|jQuery)\s*\(\s*(?:window\s*\.\s*)?location\s*\.\s*hash\b")
_TRUST = re.compile(r"\bbypassSecurityTrust(?:Html|Script|Url|ResourceUrl)\s*\(")
_ANSWER = re.compile(r"\bres(?:ponse)?\s*\.\s*(?:send|write|end)\s*\(")
_CIPHER_IV = re.compile(r"\bcreateCipheriv\([^()]*,\s*([A-Za-z_$][\w$]*)\s*[,)]")
_CONSTANT_BYTES = re.compile(
    r"\s*(?:Buffer\.(?:alloc\(|from\(\s*['\"])|['\"]|new\s+Uint8Array\(\s*(?:\d|\[))"
)
_RANDOM = re.compile(r"\bMath\s*\.\s*random\s*\(")
_ASSIGNED_TO = re.compile(r"([A-Za-z_$][\w$]*)\s*[:=](?!=)[^=;\n]*$")
_WITHIN = re.compile(r"\bfunction\s+([A-Za-z_$][\w$]*)[^;]*$")


_SERVER_PROTOCOLS = re.compile(
    r"(?i)\bssl_?protocols?\b[^#;]*(?<![\w-])\+?(?:SSLv[23]|TLSv1(?:\.[01])?)(?![\w.])"
)
_SERVER_CIPHERS = re.compile(r"(?i)\bssl_?cipher(?:s|suite)\s+([^#;\n]+)")
_WEAK_SUITE = re.compile(r"(?i)^(?!!|-)[\w-]*(?:RC4|\bDES|3DES|NULL|EXPORT|MD5)|^(?:LOW|EXP|ADH)$")


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


# Patterns read in code with comments blanked: (pattern, rule).
_IN_CODE = [
    (
        _any(
            r"createHash\(\s*['\"](?:md5|sha-?1|md4)['\"]",
            r"createHmac\(\s*['\"](?:md5|md4)['\"]",
            r"\bsubtle\.digest\(\s*['\"]SHA-1['\"]",
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
            r"\balg\s*:\s*['\"]none['\"]",
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

_MORE_IN_CODE = [
    (
        _any(
            r"pbkdf2(?:Sync)?\((?:[^(),]|\([^()]*\))+,(?:[^(),]|\([^()]*\))+,\s*\d{1,2}_?\d{0,3}\s*,",
            r"\bgenSalt(?:Sync)?\(\s*[1-9]\s*[,)]",
            r"\bbcrypt\w*\.hash(?:Sync)?\([^(),]+,\s*[1-9]\s*[,)]",
        ),
        "crypto-iterations",
    ),
    (
        _any(
            r"\b(?:pbkdf2|scrypt)(?:Sync)?\((?:[^(),]|\([^()]*\))+,\s*(?:['\"][^'\"]{0,100}['\"]|Buffer\.from\(['\"])"
        ),
        "crypto-fixed-salt",
    ),
    (_any(r"\bmodulusLength\s*:\s*(?:512|768|1024)\b"), "crypto-short-key"),
]
_DECODES = re.compile(r"\b(?:jwt|jsonwebtoken)\s*\.\s*decode\s*\(|\bjwtDecode\s*\(|\bjwt_decode\s*\(")
_VERIFIES = re.compile(r"\b(?:jwt|jsonwebtoken|jose)?\.?\s*(?:verify|jwtVerify)\s*\(")

_IN_SHELL = _any(
    r"\bcurl\b[^|;&\n]*\s(?-i:-[a-zA-Z]*k[a-zA-Z]*|--insecure)(?=\s|$)",
    r"\bwget\b[^|;&\n]*\s--no-check-certificate\b",
    r"\b(?:NODE_TLS_REJECT_UNAUTHORIZED|PYTHONHTTPSVERIFY)\s*[=:]\s*['\"]?0",
    r"\bGIT_SSL_NO_VERIFY\s*[=:]\s*['\"]?(?:1|true)",
    r"\bhttp\.sslVerify\s*=?\s*false\b",
    r"\bstrict-ssl\s*[= ]\s*false\b",
    r"\bpip3?\b[^|;&\n]*\s--trusted-host\b",
    r"\bStrictHostKeyChecking[= ]no\b",
    r"\b(?:kubectl|helm)\b[^|;&\n]*--insecure-skip-tls-verify\b(?!=false)",
    r"\bhttp\b[^|;&\n]*\s--verify[= ]no\b",
)
_WEAK_COMMANDS = [
    (
        re.compile(r"\bopenssl\s+(?:enc\s+)?-?(?:des3?|rc[24]|bf|idea|cast5?)(?:-\w+)*\b"),
        "crypto-weak-cipher",
    ),
    (re.compile(r"\bopenssl\s+enc\s+-aes-\d+-ecb\b"), "crypto-ecb"),
    (
        re.compile(
            r"\bopenssl\s+(?:genrsa|req)\b[^|;&\n]*\b(?:rsa:)?(?:512|768|1024)\b|\bssh-keygen\b[^|;&\n]*(?:-b\s*1024|-t\s*dsa)\b"
        ),
        "crypto-short-key",
    ),
]


def find(source: Source) -> Iterator[Hit]:
    """Yield the findings of one file that is not Python."""
    base = source.name.rsplit("/", 1)[-1].lower()
    script = read(source)
    if script is not None:
        yield from _sql(script)
        yield from _dom(script)
        yield from _crypto(script)
        yield from script_cors.find(script)
    if source.suffix in page_rules.SUFFIXES:
        yield from page_rules.find(source)
    if source.suffix in _SHELLS or base.startswith(("dockerfile", "makefile", ".env")):
        yield from _shell(source)
    if source.suffix in _SERVERS:
        yield from script_cors.header_pairs(source.text)
        yield from _server_tls(source)


def _sql(script: Script) -> Iterator[Hit]:
    seen: list[tuple[int, int]] = []
    for pattern, is_sql in ((_SQL_CALL, looks_like_sql), (_SQL_PIECE, _is_condition)):
        for found in pattern.finditer(script.bare):
            span = script.expression(found.end(), stops=",")
            name = script.bare[slice(*span)].strip()
            if re.fullmatch(r"[A-Za-z_$][\w$]*", name):
                assigned = _assigned(script, name, found.start())
                if assigned is None:
                    continue
                span = assigned
            if script.dynamic(span) and is_sql(script.literal(span)):
                seen.append(span)
                yield Hit(RULES["sql-built-text"], *script.place(found.start()))
    yield from _loose_statements(script, seen)


def _is_condition(text: str) -> bool:
    return bool(_CONDITION.search(text)) or looks_like_sql(text)


def _loose_statements(script: Script, seen: list[tuple[int, int]]) -> Iterator[Hit]:
    """Find statements put together from values that reach no call known to run them, but are no message either."""
    done = 0
    for found in _SQL_TEXT.finditer(script.code):
        start = found.start()
        if start < done or any(first <= start < last for first, last in seen):
            continue
        if script.bare[start] != " ":
            continue
        span = script.expression(start, stops=";,")
        text = script.literal(span)
        first = re.match(r"\s*([A-Za-z]+)", text)
        if (
            first is None
            or not looks_like_sql(text)
            or not (first[1].isupper() or _FULL_STATEMENT.search(text))
        ):
            continue
        done = span[1]
        if script.dynamic(span) and not _NO_QUERY.search(script.bare[max(0, start - 80) : start]):
            yield Hit(RULES["sql-built-text"], *script.place(start))


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
    for pattern in (_EVALUATE, _QUERY_SELECTOR):
        for found in pattern.finditer(script.bare):
            yield Hit(RULES["xss-dom"], *script.place(found.start()))
    yield from _script_sinks(script)
    for found in _DOM_APPEND.finditer(script.bare):
        span = script.expression(found.end(), stops=",")
        if script.dynamic(span) and re.search(r"<\w", script.literal(span)):
            yield Hit(RULES["xss-dom"], *script.place(found.start()))
    for found in _ANSWER.finditer(script.bare):
        span = script.expression(found.end(), stops=",")
        if script.dynamic(span) and (_is_page(script, span, found.start()) or script.from_request(span)):
            yield Hit(RULES["xss-response"], *script.place(found.start()))


def _script_sinks(script: Script) -> Iterator[Hit]:
    """Find values that become a handler, a document, a timer's code, or an address taken from the page's own."""
    for found in _HANDLERS.finditer(script.bare):
        _, comma = script.expression(found.end(), stops=",")
        name = script.code[found.end() : comma].strip(" '\"`").lower()
        risky = name.startswith("on") or name == "srcdoc"
        if risky and script.dynamic(script.expression(comma + 1, stops=",")):
            yield Hit(RULES["xss-dom"], *script.place(found.start()))
    for found in _SOURCE_DOC.finditer(script.bare):
        if script.dynamic(script.expression(found.end(), stops=";")):
            yield Hit(RULES["xss-dom"], *script.place(found.start()))
    for found in _TIMER.finditer(script.bare):
        span = script.expression(found.end(), stops=",")
        if script.code[slice(*span)].lstrip()[:1] in {"'", '"', "`"} and script.dynamic(span):
            yield Hit(RULES["xss-dom"], *script.place(found.start()))
    for found in _LOCATION.finditer(script.bare):
        span = script.expression(found.end())
        value = script.bare[slice(*span)].strip()
        # An address that begins with constant text cannot turn into a script.
        if re.match(r"[A-Za-z_$]", value) and not value.startswith("location") and script.from_request(span):
            yield Hit(RULES["xss-dom"], *script.place(found.start()))


def _is_page(script: Script, span: tuple[int, int], before: int) -> bool:
    """Return whether an answer has HTML in it, written on the spot or in the variable that is sent."""
    name = script.bare[slice(*span)].strip()
    if re.fullmatch(r"[A-Za-z_$][\w$]*", name):
        span = _assigned(script, name, before) or span
    return bool(re.search(r"<\w", script.literal(span)))


def _crypto(script: Script) -> Iterator[Hit]:
    for pattern, rule in (*_IN_CODE, *_MORE_IN_CODE):
        for found in pattern.finditer(script.code):
            # The match must begin in code: inside a string it is only talk about code.
            if script.bare[found.start()] != " ":
                yield Hit(RULES[rule], *script.place(found.start()))
    if script.source.suffix in {".js", ".mjs", ".cjs", ".ts"} and not _VERIFIES.search(script.bare):
        for found in _DECODES.finditer(script.bare):
            yield Hit(RULES["crypto-jwt-unverified"], *script.place(found.start()))
    for found in _CIPHER_IV.finditer(script.bare):
        bound = re.compile(rf"(?<![\w$.]){re.escape(found[1])}\s*=(?!=)")
        for given in bound.finditer(script.bare, max(0, found.start() - 4000), found.start()):
            if _CONSTANT_BYTES.match(script.code, given.end()):
                yield Hit(RULES["crypto-fixed-iv"], *script.place(found.start()))
    for found in _RANDOM.finditer(script.bare):
        before = script.bare[max(0, found.start() - 200) : found.start()]
        named = [match[1] for match in (_ASSIGNED_TO.search(before), _WITHIN.search(before)) if match]
        if any(secrecy(name) not in {None, "random"} for name in named):
            yield Hit(RULES["crypto-random"], *script.place(found.start()))


def _server_tls(source: Source) -> Iterator[Hit]:
    for number, line in enumerate(source.lines, 1):
        if line.lstrip().startswith("#") or len(line) > 4000:
            continue
        if _SERVER_PROTOCOLS.search(line):
            yield Hit(RULES["crypto-tls-old"], number)
        ciphers = _SERVER_CIPHERS.search(line)
        if ciphers and any(
            _WEAK_SUITE.match(suite) for suite in re.split(r"[:\s]+", ciphers[1].strip("'\";"))
        ):
            yield Hit(RULES["crypto-weak-cipher"], number)


def _shell(source: Source) -> Iterator[Hit]:
    for number, line in enumerate(source.lines, 1):
        if line.lstrip().startswith("#") or len(line) > 4000:
            continue
        found = _IN_SHELL.search(line)
        if found:
            yield Hit(RULES["crypto-tls-unverified"], number, found.start() + 1)
        for pattern, rule in _WEAK_COMMANDS:
            found = pattern.search(line)
            if found:
                yield Hit(RULES[rule], number, found.start() + 1)
