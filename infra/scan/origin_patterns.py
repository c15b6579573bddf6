"""Whether a pattern for allowed origins lets strangers in: it is tried on the origins an attacker would use."""

from __future__ import annotations

import re

# Python keeps its own parser of patterns under this name; it is read, never used to match.
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any, Literal

MAX_PATTERN = 300
MAX_HOST = 60
MAX_REPEATS = 3

How = Literal["fullmatch", "match", "search"]

_HOST = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,}", re.I)
_REPEATS = {codes.MAX_REPEAT, codes.MIN_REPEAT}


def admits_strangers(pattern: str, how: How) -> bool:
    """Return whether ``pattern``, applied as ``how`` says, accepts an origin its author cannot have meant.

    Patterns that are too long, not valid, or could take exponential time are not tried: the answer is no.
    """
    if len(pattern) > MAX_PATTERN:
        return False
    try:
        parsed = parser.parse(pattern)
        if _nested(parsed, inside=False) or _repeats(parsed) > MAX_REPEATS:
            return False
        compiled = re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        return False
    return any(getattr(compiled, how)(origin) for origin in _strangers(pattern))


def _strangers(pattern: str) -> list[str]:
    """Return hostile origins made for a pattern: other hosts around, before and behind the one it names."""
    origins = ["https://evil.test", "http://evil.test", "null"]
    plain = re.sub(r"\\([./:-])", r"\1", re.sub(r"\\w|\\d|\[[^\]]*\]|[*+?^$()]", " ", pattern))
    for found in _HOST.findall(plain)[:3]:
        host = found.strip("-").lower()[-MAX_HOST:]
        origins += [
            f"https://evil{host}",
            f"https://evil-{host}",
            f"https://{host}.evil.test",
            f"https://{host}:443.evil.test",
            f"https://www.{host}.evil.test",
            f"https://app.{host}.evil.test",
            f"https://evil.test/{host}",
        ]
        # An unescaped dot also stands for a letter.
        origins += [
            f"https://{prefix}{host[:at]}x{host[at + 1 :]}"
            for at in (index for index, char in enumerate(host) if char == ".")
            for prefix in ("", "www.", "app.")
        ]
    return origins


def _nested(parsed: Any, *, inside: bool) -> bool:
    """Return whether a repetition or a choice stands inside a repetition: matching can take exponential time."""
    for code, held in parsed:
        repeats = code in _REPEATS and held[1] > 1
        if inside and (repeats or code is codes.BRANCH):
            return True
        if any(_nested(part, inside=inside or repeats) for part in _parts(held)):
            return True
    return False


def _repeats(parsed: Any) -> int:
    return sum(
        (code in _REPEATS and held[1] > 1) + sum(_repeats(part) for part in _parts(held))
        for code, held in parsed
    )


def _parts(held: Any) -> list[Any]:
    """Return the sub-patterns among the arguments of one parsed element."""
    if isinstance(held, parser.SubPattern):
        return [held]
    if isinstance(held, (tuple, list)):
        return [found for part in held for found in _parts(part)]
    return []
