"""Hard-coded secrets in any text: known formats by detect-secrets, URLs, and the entries of YAML and JSON.

detect-secrets is used through its detectors alone: its own scan reads settings and may call the vendors to
verify what it found, which a scanner must never do.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from typing import Protocol

from infra.scan.catalogue import RULES
from infra.scan.findings import Hit
from infra.scan.nodes import Node, Unreadable, pairs, parse
from infra.scan.secret_words import looks_random, plausible, secrecy, squeeze
from infra.scan.sources import Source

WINDOW, OVERLAP = 4000, 300

# module, class, rule
_DETECTORS = [
    ("aws", "AWSKeyDetector", "secret-provider"),
    ("azure_storage_key", "AzureStorageKeyDetector", "secret-provider"),
    ("discord", "DiscordBotTokenDetector", "secret-provider"),
    ("github_token", "GitHubTokenDetector", "secret-provider"),
    ("gitlab_token", "GitLabTokenDetector", "secret-provider"),
    ("mailchimp", "MailchimpDetector", "secret-provider"),
    ("npm", "NpmDetector", "secret-provider"),
    ("openai", "OpenAIDetector", "secret-provider"),
    ("pypi_token", "PypiTokenDetector", "secret-provider"),
    ("sendgrid", "SendGridDetector", "secret-provider"),
    ("slack", "SlackDetector", "secret-provider"),
    ("square_oauth", "SquareOAuthDetector", "secret-provider"),
    ("stripe", "StripeDetector", "secret-provider"),
    ("telegram_token", "TelegramBotTokenDetector", "secret-provider"),
    ("twilio", "TwilioKeyDetector", "secret-provider"),
    ("jwt", "JwtTokenDetector", "secret-token"),
    ("private_key", "PrivateKeyDetector", "secret-private-key"),
]
_SHORTEST = 10
_TOKEN_REST = re.compile(r"[\w.+/=-]*")
_KEY_BODY = re.compile(r"[A-Za-z0-9+/=]{40,}|Proc-Type:|Private-Lines:")

# Formats that detect-secrets does not know, by their vendors' prefixes.
_MORE_FORMATS = re.compile(
    r"""(?x) sk-ant-[\w-]{24,} | AIza[\w-]{35} | \bGOCSPX-[\w-]{28} | \bya29\.[\w-]{30,}   # Anthropic, Google
      | \bgithub_pat_\w{60,} | \bglptt-[0-9a-f]{40} | \bdckr_pat_[\w-]{27} | \bxapp-\d-[\w-]{30,}
      | \bhf_[A-Za-z0-9]{30,} | \bshp(?:at|ss|ca|pa)_[0-9a-f]{32} | \bdop_v1_[0-9a-f]{64} | \brk_live_[A-Za-z0-9]{24,}
      | \bhvs\.[\w-]{24,} | \bdapi[0-9a-f]{32} | \blin_api_[A-Za-z0-9]{40} | \bPMAK-[0-9a-f]{24}-[0-9a-f]{34}
      | \bsk-proj-[\w-]{40,} | \bASIA[A-Z2-7]{16}\b | \bNRAK-[A-Z0-9]{27} | \bkey-[0-9a-f]{32}\b"""
)
_URL = re.compile(
    r"\b[a-z][a-z0-9+.-]{1,20}://([^\s:@/'\"<>]{0,80}):([^\s@/'\"<>]{3,200})@([\w.\-\[\]]{1,120})", re.I
)
_ADMINS = {"root", "admin", "sa", "postgres"}
_LOOPBACK = re.compile(r"^(?:localhost|127\.|\[::1\]|0\.0\.0\.0|.*example\.|.*\.example$|host\b)")
_CONNECTION = re.compile(
    r"(?i)(?<![\w-])(?:password|pwd|passwd)\s*=\s*'?([^;'\"\s&,{}()\[\]]{4,200})(?![(\[])"
)
_CONNECTION_OTHERS = re.compile(
    r"(?i)(?<!\w)(?:host|server|data source|dbname|database|user|username|uid|user id|initial catalog|driver|port|dsn)\s*="
)
_NAME_KEYS = ("name", "key", "parameterkey", "variable", "env", "field")
_VALUE_KEYS = ("value", "parametervalue", "default", "val")
_BEARER = re.compile(r"\b(?:Bearer|Token|Basic)\s+([A-Za-z0-9._~+/=-]{16,})", re.I)

_LOCK_FILES = {
    "package-lock.json",
    "yarn.lock",
    "pnpm-lock.yaml",
    "go.sum",
    "composer.lock",
    "cargo.lock",
    "gemfile.lock",
}


class _Detector(Protocol):
    def analyze_string(self, string: str) -> Iterator[str]: ...


@cache
def detectors() -> tuple[tuple[_Detector, str], ...]:
    """Return the detectors of detect-secrets in use, each with the rule it feeds."""
    made = []
    for module, name, rule in _DETECTORS:
        detector = getattr(import_module(f"detect_secrets.plugins.{module}"), name)
        made.append((detector(), rule))
    return tuple(made)


def is_lock_file(source: Source) -> bool:
    """Return whether a package manager wrote the file: full of hashes, and of nobody's secrets."""
    base = source.name.rsplit("/", 1)[-1].lower()
    return base.endswith(".lock") or base in _LOCK_FILES


def scan_text(source: Source) -> Iterator[Hit]:
    """Find known credential formats, passwords in URLs and bearer tokens on every line of any file."""
    for number, line in enumerate(source.lines, 1):
        if len(line) < 8:
            continue
        for start in range(0, max(len(line) - OVERLAP, 1), WINDOW - OVERLAP):
            for hit in formats(line[start : start + WINDOW], number, start):
                if hit.rule.id != "secret-private-key" or _has_key_body(source, hit):
                    yield hit


def _has_key_body(source: Source, hit: Hit) -> bool:
    """Return whether a private key's header is followed by one, and not just talked about in code."""
    after = "\n".join([source.line_at(hit.line)[hit.column - 1 :], *source.lines[hit.line : hit.line + 8]])
    return bool(_KEY_BODY.search(after[:2000]))


def formats(text: str, number: int, offset: int) -> Iterator[Hit]:
    """Find known credential formats, passwords in URLs and bearer tokens in a piece of line ``number``."""
    for detector, rule in detectors():
        for match in detector.analyze_string(text):
            at = text.find(match)
            # The detector of JSON web tokens stops before the signature; some others give the prefix only.
            whole = rule != "secret-token" and len(match) >= _SHORTEST
            rest = None if whole else _TOKEN_REST.match(text, at)
            value = rest[0] if rest else match
            if _stands_alone(text, value, at) and not _made_up(value):
                yield Hit(RULES[rule], number, offset + at + 1, "detect-secrets", value)
    for found in _MORE_FORMATS.finditer(text):
        yield Hit(RULES["secret-provider"], number, offset + found.start() + 1, secret=found[0])
    for found in _URL.finditer(text):
        user, password, host = found.groups()
        # On a development machine a word is the custom, and no secret.
        weak = (
            password.isalpha() and password.islower() and bool(_LOOPBACK.match(host)) and user not in _ADMINS
        )
        if password != user and not weak and plausible(password, "password"):
            yield Hit(RULES["secret-url"], number, offset + found.start() + 1, secret=password)
    for found in _BEARER.finditer(text):
        if plausible(found[1], "key"):
            yield Hit(RULES["secret-token"], number, offset + found.start() + 1, secret=found[1])


def _made_up(value: str) -> bool:
    """Return whether a value has a known format but is plainly an example."""
    if len(set(value[-12:])) <= 2 or re.fullmatch(r"AC[0-9a-f]{32}", value):
        return True  # a run of x; Twilio's account number, which is a name and no secret
    hook = "hooks.slack.com" in value and not looks_random(value.rsplit("/", 1)[-1])
    return hook or "EXAMPLE" in value.upper()


def _stands_alone(text: str, value: str, at: int) -> bool:
    """Reject a match that is a piece of a longer run, such as 34 characters out of a hash."""
    before, after = text[at - 1 : at], text[at + len(value) : at + len(value) + 1]
    return not (before.isalnum() or after.isalnum())


def scan_nodes(source: Source, root: Node) -> Iterator[Hit]:
    """Find credentials among the keys and values of a YAML or JSON document."""
    if is_lock_file(source):
        return
    for key, node in pairs(root):
        if node.value is not None and not node.tag.startswith("!"):
            yield from judge(key, node.value, node.line, node.column)
            yield from embedded(node.value, node.line, node.column)
        for item in node.items:
            name, equals, value = (item.value or "").partition("=")
            if equals and re.fullmatch(r"[A-Za-z_]\w{1,80}", name):
                yield from judge(name, value, item.line, item.column)
        entries = {(key.value or "").lower(): value for key, value in node.mapping()}
        named = next((entries[name] for name in _NAME_KEYS if name in entries), None)
        held = next((entries[name] for name in _VALUE_KEYS if name in entries), None)
        if named is not None and named.value and held is not None and held.value:
            yield from judge(named.value, held.value, held.line, held.column)


def embedded(text: str, line: int, column: int) -> Iterator[Hit]:
    """Find credentials within a string that is a connection string or a JSON object of its own."""
    yield from connection_string(text, line, column)
    if text.startswith("{") and len(text) < WINDOW:
        try:
            documents = parse(text)
        except Unreadable:
            return
        for document in documents:
            for key, node in pairs(document):
                if node.value is not None:
                    yield from judge(key, node.value, line, column)


def connection_string(text: str, line: int, column: int) -> Iterator[Hit]:
    """Find the password of ``Server=…;Password=…`` and ``host=… password=…`` within text."""
    if text.count("=") < 2 or "\n" in text:
        return
    found = _CONNECTION.search(text)
    if found and _CONNECTION_OTHERS.search(text):
        yield from judge("password", found[1], line, column)


def judge(name: str, value: str, line: int, column: int) -> Iterator[Hit]:
    """Yield a finding when something called ``name`` holding ``value`` is a credential in clear text."""
    if name.lower() in {"auth", "_auth"} and _is_basic(value):
        yield Hit(RULES["secret-literal"], line, column, secret=value)
        return
    holds = secrecy(name)
    if holds is None or not plausible(value, holds) or _same(name, value, holds):
        return
    yield Hit(RULES["secret-literal"], line, column, secret=value)


def _is_basic(value: str) -> bool:
    """Return whether a value is ``user:password`` in base64, as Docker and npm keep it."""
    try:
        user, colon, password = base64.b64decode(value, validate=True).decode("ascii").partition(":")
    except ValueError:
        return False
    return bool(user and colon) and plausible(password, "password")


def _same(name: str, value: str, holds: str) -> bool:
    """Return whether a value only repeats its name, as the name of a field does."""
    key, held = squeeze(name), squeeze(value)
    plain = not re.search(r"\d|[^\w.-]", value) and value in {value.lower(), value.upper()}
    if holds == "password":  # `admin_password = "admin"` is one
        return held == key
    return held in key or (key in held and plain)
