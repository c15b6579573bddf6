"""Which names stand for credentials, and which values can be one: the judgement behind ``secret-literal``."""

from __future__ import annotations

import math
import re
from collections import Counter
from itertools import pairwise

_SPLIT = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

_PASSWORD_WORDS = {"password", "passwd", "passphrase", "pwd", "contrasena", "passwort"}
_SECRET_WORDS = {"secret", "secrets", "credential", "credentials", "apikey", "authtoken", "token", "pat"}
_KEY_PARTNERS = {
    "api", "access", "private", "secret", "signing", "signature", "encryption", "auth", "account",
    "master", "webhook", "routing", "integration", "service", "shared", "hmac", "aes", "fernet",
    "cookie", "jwt",
}  # fmt: skip
_PASS_PARTNERS = {
    "db",
    "database",
    "user",
    "smtp",
    "mail",
    "redis",
    "root",
    "admin",
    "auth",
    "mysql",
    "pg",
    "ftp",
}
# A name that ends in one of these speaks about a credential; it does not hold one.
_ABOUT = {
    "name", "names", "id", "ids", "url", "uri", "path", "file", "field", "fields", "header", "env",
    "var", "arn", "param", "parameter", "prefix", "suffix", "length", "len", "size", "ttl", "type",
    "kind", "count", "max", "min", "policy", "pattern", "regex", "re", "label", "hint", "help", "text",
    "message", "placeholder", "title", "description", "expiry", "expires", "seconds", "minutes", "days",
    "algorithm", "alg", "scheme", "format", "endpoint", "issuer", "audience", "store", "manager",
    "provider", "version", "column", "table", "index", "ref", "location", "status", "error", "errors",
    "rotation", "strength", "required", "reset", "change", "changed", "input", "form", "class", "alias",
    "mode", "method", "bucket", "backend", "lifetime", "age", "limit", "chars", "alphabet", "charset",
    "attribute", "attr", "selector", "hash", "digest", "usage", "scope", "scopes", "state", "source",
    "created", "updated", "expired", "invalid", "missing",
}  # fmt: skip
_PLAIN_WORDS = _PASSWORD_WORDS | _SECRET_WORDS | _KEY_PARTNERS | _ABOUT | {
    "key", "keys", "x", "my", "the", "login", "user", "client", "bearer", "basic", "refresh", "session",
    "csrf", "reset", "new", "old", "current", "confirm", "pass", "none", "null", "empty", "value",
    "string", "literal", "agent", "enrol", "enrolment", "id", "oauth", "oidc", "grant", "code",
}  # fmt: skip

_PLACEHOLDER = re.compile(
    r"""(?ix)
      ^(?:[x*.\-_?#0]+|none|null|nil|true|false|undefined|todo|tbd|n/?a|test(?:ing|er)?|dummy|fake|foo(?:bar)?|bar|
         change.?me.*|change.?this.*|redacted|masked|hidden|removed|required|optional|default|unset|string|str|bytes)$
      | example | sample | placeholder | dummy | your[-_ ] | yourpass | insert[-_ ] | replace[-_ ]
      | \.\.\. | …
      | \$\{ | \{\{ | \{\w*\} | %\(\w+\) | %s | \$\( | ^\$ | ^<.*>$ | ^\[.*\]$ | @@ | ^! | ^%\w+%$ | ^\#\{
      | ^(?:sha\d+|md5)[-:] | ^\{resolve | ^secretsmanager
    """
)
_NOT_A_SECRET = re.compile(
    r"""(?x)
      :// | ^arn: | ^[./~] | ^[A-Za-z]:\\                               # addresses and paths
      | ^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$   # identifiers
      | ^[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+$                                 # names of environment variables
      | ^[A-Za-z_]\w{0,29}(?:\.[A-Za-z_]\w{0,29})+$   # dotted names
      | \w\( | ^[\w-]+(?:/[\w.-]+){2,}$   # calls, and paths such as prod/shop/db
    """
)


def words(name: str) -> list[str]:
    """Return the words of an identifier in lower case: ``dbPasswd_2`` gives ``["db", "passwd", "2"]``."""
    return [part.lower() for part in _SPLIT.findall(name)]


def squeeze(name: str) -> str:
    """Return a setting's name without case and separators, so that all spellings compare equal."""
    return re.sub(r"[\W_]", "", name).lower()


def is_about(name: str) -> bool:
    """Return whether a name speaks about a credential (``token_bucket``) and does not hold one."""
    return bool(words(name)) and words(name)[-1] in _ABOUT


def secrecy(name: str) -> str | None:
    """Say what a thing with this name holds: ``"password"``, ``"key"``, or ``None`` for no credential."""
    parts = words(name)
    while parts and parts[-1].isdigit():
        parts.pop()
    if not parts or parts[-1] in _ABOUT or "public" in parts or len(parts) > 8:
        return None
    if (
        _PASSWORD_WORDS & set(parts)
        or parts == ["pass"]
        or (parts[-1] == "pass" and parts[-2] in _PASS_PARTNERS)
    ):
        return "password"
    if _SECRET_WORDS & set(parts):
        return "key"
    pairs = set(pairwise(parts))
    return "key" if any(first in _KEY_PARTNERS and second == "key" for first, second in pairs) else None


def plausible(value: str, holds: str) -> bool:
    """Say whether ``value`` can be a credential of the sort ``holds`` (as returned by ``secrecy``).

    Passwords may be anything a person would type; keys must look random. Placeholders, references, paths,
    addresses, sentences and the names of fields are neither.
    """
    value = value.strip()
    if not 4 <= len(value) <= 4096 or re.search(r"\s", value) or not re.search(r"[A-Za-z0-9]{3}", value):
        return False
    if _PLACEHOLDER.search(value) or _NOT_A_SECRET.search(value):
        return False
    parts = words(value)
    if _PLAIN_WORDS & set(parts) and all(part in _PLAIN_WORDS or part.isdigit() for part in parts):
        return False
    return True if holds == "password" else looks_random(value)


def looks_random(value: str) -> bool:
    """Say whether a string has the length, the mix of characters and the entropy of a generated key."""
    mixed = bool(re.search(r"\d", value) and re.search(r"[A-Za-z]", value))
    return len(value) >= 12 and mixed and entropy(value) >= 3.0


def entropy(value: str) -> float:
    """Return the Shannon entropy of the characters in bits per character."""
    total = len(value)
    return -sum(count / total * math.log2(count / total) for count in Counter(value).values())


def mask(secret: str) -> str:
    """Return a stand-in that lets an owner recognise the secret without giving it away.

    Long ones keep four characters, which is the vendor's prefix in most token formats; short ones keep none.
    """
    return f"{secret[:4]}…" if len(secret) >= 20 else "…"
