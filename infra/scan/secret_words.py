"""Which names stand for credentials, and which values can be one: the judgement behind ``secret-literal``."""

from __future__ import annotations

import math
import re
from collections import Counter
from functools import lru_cache
from itertools import pairwise

_SPLIT = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

_PASSWORD_WORDS = {
    "password", "passwd", "passphrase", "pwd", "contrasena", "passwort", "passcode", "passw", "psw", "pword",
}  # fmt: skip
_SECRET_WORDS = {
    "secret", "secrets", "credential", "credentials", "apikey", "authtoken", "token", "pat", "apitoken",
    "secretkey", "privatekey", "accesskey", "appsecret",
}  # fmt: skip
# Names such as PGPASSWORD and dbpasswd run a word into the one before it.
_RUN_IN = ("password", "passwd", "passphrase", "pwd")
_RUN_IN_SECRET = ("secret", "authtoken", "apikey", "secretkey")
_KEY_PARTNERS = {
    "api", "access", "private", "secret", "signing", "signature", "encryption", "auth", "account",
    "master", "webhook", "routing", "integration", "service", "shared", "hmac", "aes", "fernet",
    "cookie", "jwt",
}  # fmt: skip
_PASS_PARTNERS = {
    "db", "database", "user", "smtp", "mail", "email", "gmail", "redis", "root", "admin", "auth", "mysql", "pg",
    "postgres", "mongo", "rabbit", "rabbitmq", "amqp", "ftp", "sftp", "ssh", "ldap", "bind", "proxy", "login",
    "account", "api", "app", "service", "oracle", "mssql", "sql", "sudo", "keystore", "truststore", "wifi", "default",
    "prod", "dev", "my", "mqtt", "jenkins", "registry", "docker", "vault", "backup",
}  # fmt: skip
# Keys that are no secrets, by the word before "key".
_OPEN_KEYS = {
    "public", "publishable", "site", "primary", "foreign", "partition", "sort", "cache", "object", "row", "dict",
    "map", "idempotency", "dedup", "deduplication", "host", "lookup", "unique", "composite", "config", "storage",
    "lock", "redis", "group", "cursor", "index", "translation", "message", "ordering", "order", "hash", "shard",
    "range", "bucket", "metric", "series", "s", "registry", "sorting", "json", "yaml", "event", "state", "item",
    "field", "column", "value", "header", "query", "param", "search", "tag", "label", "feature", "flag", "setting",
    "settings", "option", "user", "device", "record", "entity", "answer", "hot", "left", "right", "escape", "enter",
    "pub", "ssh", "gpg",
    "verify", "verification", "job", "task", "trace", "correlation", "request", "session",
    "external", "natural", "surrogate", "candidate", "super", "artifact", "build", "rate", "limit", "the", "no",
}  # fmt: skip
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
    "created", "updated", "expired", "invalid", "missing", "template", "page", "view", "route", "screen", "cookie",
    "topic", "queue", "channel", "event", "action", "command", "button", "link", "icon", "dialog", "modal",
    "component", "handler", "factory", "helper", "validator", "validators", "middleware", "filter", "guard",
    "hashers", "hasher", "getter", "generator", "resolver", "callback", "hook",
}  # fmt: skip
_PLAIN_WORDS = _PASSWORD_WORDS | _SECRET_WORDS | _KEY_PARTNERS | _ABOUT | {
    "key", "keys", "x", "my", "the", "login", "user", "client", "bearer", "basic", "refresh", "session",
    "csrf", "reset", "new", "old", "current", "confirm", "pass", "none", "null", "empty", "value",
    "string", "literal", "agent", "enrol", "enrolment", "id", "oauth", "oidc", "grant", "code", "test", "tests",
    "fake", "dummy", "mock", "stub", "local", "dev", "invalid", "wrong", "bad", "valid", "some", "any", "other",
    "another", "not", "real", "used", "unused", "a", "an", "for", "only", "this", "is", "of", "in", "app", "foo",
    "bar", "baz", "unit", "testing", "default", "good", "your", "use", "set", "add", "put", "here", "more",
}  # fmt: skip

_PLACEHOLDER = re.compile(
    r"""(?ix)
      ^(?:[x*.\-_?#0]+|none|null|nil|true|false|undefined|todo|tbd|n/?a|test(?:ing|er)?|dummy|fake|foo(?:bar)?|bar|
         change.?me.*|change.?this.*|redacted|masked|hidden|removed|required|optional|default|unset|string|str|bytes)$
      | ^(?:fake|mock|dummy|not[-_.]?(?:a|real|so|used)|no[-_]|ci[-_]|unused|irrelevant|whatever)
      | (?:[-_.]|\b)(?:here|goes|me)$ | ^(?:enter|fill|paste|provide|replace|put|set|add|use)[-_ ]
      | for[-_ ]?(?:test|local|dev|ci) | example | sample | placeholder | dummy
      | your[-_ ] | yourpass | insert[-_ ] | replace[-_ ]
      | \.\.\. | …
      | \$\{ | \{\{ | \{[^{}]*\} | %\(\w+\) | %s | \$\( | ^\$ | ^<.*>$ | ^\[.*\]$ | @@ | ^! | ^%\w+%$ | ^\#\{
      | ^(?:sha\d+|md5)[-:] | ^\{resolve | ^secretsmanager
    """
)
_NOT_A_SECRET = re.compile(
    r"""(?x)
      :// | ^arn: | ^[a-z][a-z0-9-]+:(?:\*|[A-Z]\w*)$
      | abcdefghijklmnopqrstuvwxyz | ABCDEFGHIJKLMNOPQRSTUVWXYZ
      | ^[./~] | ^[A-Za-z]:\\                               # addresses and paths
      | ^[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+$                                 # names of environment variables
      | ^[A-Za-z_]\w{0,29}(?:\.[A-Za-z_]\w{0,29})+$   # dotted names
      | ^[\w./-]*\w/[\w.-]+\.(?:html?|txt|json|ya?ml|pem|key|crt|env|toml|ini|py|[jt]sx?)$         # files
      | \w\( | ^[\w-]+(?:/[\w.-]+){2,}$   # calls, and paths such as prod/shop/db
    """
)


def words(name: str) -> list[str]:
    """Return the words of an identifier in lower case: ``dbPasswd_2`` gives ``["db", "passwd", "2"]``."""
    return [part.lower() for part in _SPLIT.findall(name)]


@lru_cache(maxsize=20_000)
def squeeze(name: str) -> str:
    """Return a setting's name without case and separators, so that all spellings compare equal."""
    return re.sub(r"[\W_]", "", name).lower()


def is_about(name: str) -> bool:
    """Return whether a name speaks about a credential (``token_bucket``) and does not hold one."""
    return bool(words(name)) and words(name)[-1] in _ABOUT


@lru_cache(maxsize=20_000)
def secrecy(name: str) -> str | None:
    """Say what a thing with this name holds, or ``None`` for no credential.

    ``"password"`` and ``"secret"`` may have been made up by a person, a ``"key"`` was generated; ``"random"``
    is a key of unknown purpose (``MAPS_KEY``).
    """
    parts = words(name)
    while parts and parts[-1].isdigit():
        parts.pop()
    if not parts or parts[-1] in _ABOUT or {"public", "publishable"} & set(parts) or len(parts) > 8:
        return None
    if _is_password(parts):
        return "password"
    if parts[-1] == "secret" or parts[-2:] == ["secret", "key"] or parts[-1].endswith(_RUN_IN_SECRET):
        return "secret"
    pairs = set(pairwise(parts))
    if _SECRET_WORDS & set(parts) or any(
        first in _KEY_PARTNERS and second == "key" for first, second in pairs
    ):
        return "key"
    named_key = parts[-1] == "key" and len(parts) > 1 and not _OPEN_KEYS & set(parts)
    return "random" if named_key else None


def _is_password(parts: list[str]) -> bool:
    if _PASSWORD_WORDS & set(parts) or any(part.endswith(_RUN_IN) for part in parts):
        return True
    return parts[-1] == "pass" and (len(parts) == 1 or parts[-2] in _PASS_PARTNERS)


def placeholder(value: str) -> bool:
    """Say whether a value only stands where a credential will: ``changeme``, ``<token>``, ``${TOKEN}``."""
    return bool(_PLACEHOLDER.search(value) or _NOT_A_SECRET.search(value))


def plausible(value: str, holds: str) -> bool:
    """Say whether ``value`` can be a credential of the sort ``holds`` (as returned by ``secrecy``).

    Passwords may be anything a person would type, secrets anything but plain words; keys must look random.
    Placeholders, references, paths, addresses, sentences and the names of fields are none of these.
    """
    value = value.strip()
    if not 4 <= len(value) <= 4096 or re.search(r"\s", value) or not re.search(r"[A-Za-z0-9]{3}", value):
        return False
    if placeholder(value):
        return False
    parts = words(value)
    if _PLAIN_WORDS & set(parts) and all(part in _PLAIN_WORDS for part in parts if not part.isdigit()):
        # "password123" is what people type; "token-2" is the name of a field.
        digits = sum(map(str.isdigit, value))
        return holds in {"password", "secret"} and digits >= 2 and value.isalnum()
    random = looks_random(value)
    return {
        "password": True,
        "secret": random or _typed(value),
        "key": random,
        "random": random and _generated(value),
    }[holds]


def _typed(value: str) -> bool:
    """Say whether a person may have made a value up as a secret, and it is no name of something."""
    if len(value) < 6:
        return False
    boasts = (
        bool(re.search(r"(?i)(?:super|top|very|ultra|my|big)[-_]?s[e3]cr[e3]t", value)) and len(value) > 8
    )
    if re.fullmatch(r"[a-z0-9]+(?:[-_.][a-z0-9]+)+", value):
        return boasts
    mixed = bool(re.search(r"\d", value)) and bool(re.search(r"[A-Za-z]", value))
    return boasts or mixed or bool(re.search(r"[^\w.:/-]", value))


def _generated(value: str) -> bool:
    """Say whether a value can only have been generated: long, of one run, without words."""
    return (
        len(value) >= 20
        and bool(re.fullmatch(r"[A-Za-z0-9+/=]+|[A-Za-z]{2,8}_[A-Za-z0-9]+", value))
        and entropy(value) >= 3.2
    )


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
