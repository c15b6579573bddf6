"""Reading JSON bodies from strangers: bounded depth, no NaN, no repeated keys, no text PostgreSQL cannot hold."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any

from farwatch.errors import FieldError, InvalidInput, TooLarge

MAX_DEPTH = 32
DEFAULT_MAX_BODY = 256 * 1024

# PostgreSQL cannot store NUL, and UTF-8 cannot hold half of a surrogate pair.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def raw_body(event: Mapping[str, Any], max_bytes: int) -> bytes:
    """Return the body's bytes; raises TooLarge above ``max_bytes`` and InvalidInput when it is not what it claims."""
    body = event.get("body")
    if not body:
        return b""
    text = str(body)
    if event.get("isBase64Encoded"):
        if len(text) > max_bytes * 4 // 3 + 4:
            raise _too_large(max_bytes)
        try:
            data = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise InvalidInput("the body is not valid base64", status=400, code="invalid_body") from error
    else:
        data = text.encode("utf-8", "surrogatepass")
    if len(data) > max_bytes:
        raise _too_large(max_bytes)
    return data


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(f"the body may be at most {max_bytes} bytes")


def check_utf8(body: bytes) -> None:
    """Raise InvalidInput (400, ``invalid_json``) when ``body`` is not UTF-8."""
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise _invalid("the body is not UTF-8") from error


def parse_json(text: str) -> Any:
    """Return the JSON value of ``text``; raises InvalidInput (400, ``invalid_json``) naming what is wrong with it."""
    try:
        _check_depth(text)
        value = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_without_repeats)
    except json.JSONDecodeError as error:
        raise _invalid(f"{error.msg} at line {error.lineno} column {error.colno}") from error
    except (ValueError, RecursionError) as error:  # an integer of thousands of digits is a ValueError
        raise _invalid("a number or a structure in it is out of bounds") from error
    _check_strings(value, "body")
    return value


def check_text(value: str, loc: str) -> None:
    """Raise InvalidInput when ``value`` holds a character that cannot be stored."""
    if _UNSTORABLE.search(value):
        raise InvalidInput(
            "text may not contain NUL or unpaired surrogates",
            [FieldError(loc, "has an unstorable character")],
        )


def _check_strings(value: Any, loc: str) -> None:
    if isinstance(value, str):
        check_text(value, loc)
    elif isinstance(value, dict):
        for name, inner in value.items():
            check_text(name, loc)
            _check_strings(inner, f"{loc}.{name}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _check_strings(inner, f"{loc}[{index}]")


def _check_depth(text: str) -> None:
    # Counting brackets outside strings is enough to refuse what would exhaust the parser's stack. The pattern never
    # backtracks (possessive, and an unterminated string is a match), so the scan is linear.
    depth = 0
    for bracket in re.finditer(r'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', text, re.DOTALL):
        mark = bracket.group()
        if mark in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise _invalid(f"nested deeper than {MAX_DEPTH} levels")
        elif mark in "]}":
            depth -= 1


def _refuse_constant(name: str) -> Any:
    raise _invalid(f"{name} is not a JSON number")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _invalid("an object repeats a key")
    return found


def _invalid(why: str) -> InvalidInput:
    return InvalidInput(
        f"the body is not acceptable JSON: {why}", [FieldError("body", why)], status=400, code="invalid_json"
    )
