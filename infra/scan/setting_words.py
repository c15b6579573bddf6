"""Settings that switch protection off, judged by name and value, in whatever language they are written."""

from __future__ import annotations

import re

from infra.scan.secret_words import squeeze, words

MAX_VALUE = 60

_YES = {"true", "yes", "1", "on", "enabled"}
_NO = {"false", "no", "0", "off", "disabled", "none", "never"}
_PEER = {"ssl", "tls", "https", "cert", "certs", "certificate", "certificates", "hostname", "peer", "x"}
_VERIFY = {"verify", "verification", "verified", "validate", "validation", "check", "strict", "assert"}
_NEGATION = {
    "no",
    "skip",
    "disable",
    "disabled",
    "ignore",
    "without",
    "bypass",
    "insecure",
    "allow",
    "accept",
    "trust",
}
_LOOSE = {"insecure", "invalid", "ignore", "all", "untrusted"}
_OLD_TLS = re.compile(
    r"""(?ix) ^(?: tls[\s_v-]*1(?:[._-]?[01])?(?:_20\d\d)? | ssl[\s_v-]*[23](?:\.0)?
        | elbsecuritypolicy-(?:2015-\d+|2016-08|tls-1-[01]-\S+) | policy-min-tls-1-0-\S+ )$"""
)
_VERSIONED = {"version", "versions", "protocol", "protocols", "policy", "min", "minimum"}
_WEAK_HASH = re.compile(r"(?i)^(?:md[245]|sha-?1|plain(?:text)?|crc32|ntlm|lm|des_?crypt|none)$")
_WEAK_CIPHER = re.compile(
    r"(?i)^(?:(?:3|triple)?des(?:ede)?[\d-]*(?:-?(?:cbc|ecb|ede3?))*|rc[24](?:-\d+)?|arcfour|blowfish|bf-cbc)$"
)
_ECB = re.compile(r"(?i)^aes[\d-]*[-_/]ecb\b")


def weakness(name: str, value: str) -> str | None:
    """Return the rule a setting breaks, or ``None``: ``verify_ssl: false``, ``MIN_TLS_VERSION=1.0``."""
    if len(value) > MAX_VALUE:
        return None
    parts = set(words(name))
    value = value.strip().strip("'\"")
    rule = None
    if _unverified(name, parts, value.lower()):
        rule = "crypto-tls-unverified"
    elif _old_tls(parts, value):
        rule = "crypto-tls-old"
    elif value in {"disable", "allow"} and squeeze(name).endswith("sslmode"):
        rule = "crypto-in-transit"
    else:
        rule = _algorithm(parts, value)
    # A member of an enumeration has its name for a value.
    return None if rule is None or squeeze(name) == squeeze(value) else rule


def opens_cors(name: str, value: str) -> bool:
    """Return whether a setting such as ``CORS_ALLOWED_ORIGINS`` admits every origin."""
    key = squeeze(name)
    about_origins = ("cors" in key and "origin" in key) or key.endswith(
        ("alloworigin", "allowedorigins", "alloworigins")
    )
    if about_origins and value.strip().strip("'\"[]") == "*":
        return True
    return (
        key in {"corsallowallorigins", "corsoriginallowall", "corsallowall"} and value.strip().lower() in _YES
    )


def _unverified(name: str, parts: set[str], value: str) -> bool:
    if value not in _YES | _NO:
        return False
    if squeeze(name) == "rejectunauthorized":
        return value in _NO
    if {"skip", "verify"} <= parts or {"insecure", "verify"} <= parts:
        return value in _YES
    if not _PEER & parts:
        return False
    if _VERIFY & parts:
        return (value in _YES) if _NEGATION & parts else (value in _NO)
    return value in _YES and bool(_LOOSE & parts)


def _old_tls(parts: set[str], value: str) -> bool:
    about_tls = bool({"tls", "ssl"} & parts)
    if _OLD_TLS.match(value):
        return about_tls or bool(_VERSIONED & parts)
    return about_tls and bool(_VERSIONED & parts) and value in {"1", "1.0", "1.1"}


def _algorithm(parts: set[str], value: str) -> str | None:
    if {"jwt", "jws", "token"} & parts and {"algorithm", "alg"} & parts and value.lower() == "none":
        return "crypto-jwt-none"
    if {"password", "passwords"} & parts and {
        "hash",
        "hasher",
        "hashing",
        "algorithm",
        "scheme",
        "digest",
    } & parts:
        return "crypto-password-hash" if _WEAK_HASH.match(value) else None
    if {"cipher", "ciphers", "encryption", "encrypt", "crypto"} & parts:
        if _ECB.match(value):
            return "crypto-ecb"
        return "crypto-weak-cipher" if _WEAK_CIPHER.match(value) else None
    return None
