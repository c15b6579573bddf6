"""People: who they are and what makes a password acceptable."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

from farwatch.domain.rbac import Role
from farwatch.errors import FieldError, InvalidInput

MIN_PASSWORD = 12
MAX_PASSWORD = 256
_OVERUSED = ("password", "farwatch", "qwerty", "letmein", "welcome", "iloveyou", "administrator", "123456")


@dataclass(frozen=True, slots=True)
class User:
    """A person. Times are epoch milliseconds; ``version`` counts changes, for ETags."""

    id: str
    email: str
    name: str
    role: Role
    created_at: int
    last_login_at: int | None = None
    disabled_at: int | None = None
    has_password: bool = True
    identity: str | None = None
    version: int = 1


_EMAIL = re.compile(r"[^@\s\x00-\x1f\x7f<>\"]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


def normal_email(text: str) -> str:
    """Return the address as it is compared: trimmed and in lower case.

    Raises InvalidInput when it cannot be an address. Whether it exists only a message to it can tell.
    """
    email = text.strip().lower()
    if len(email) > 254 or not _EMAIL.fullmatch(email) or ".." in email:
        raise InvalidInput(
            "this is not an e-mail address", [FieldError("body.email", "not an e-mail address")]
        )
    return email


def check_password(password: str, email: str, name: str) -> None:
    """Return when the password is acceptable; raises InvalidInput (``password_unfit``) saying why not.

    Length counts, character classes do not (NIST SP 800-63B §5.1.1.2); what is easily guessed for this person
    or for anybody is refused.
    """
    reason = _weakness(password, email, name)
    if reason:
        raise InvalidInput(reason, [FieldError("body.password", reason)], code="password_unfit")


def _weakness(password: str, email: str, name: str) -> str:
    lowered = password.lower()
    if len(password) < MIN_PASSWORD:
        return f"a password needs at least {MIN_PASSWORD} characters"
    if len(password) > MAX_PASSWORD:
        return f"a password may have at most {MAX_PASSWORD} characters"
    if len(set(lowered)) < 5:
        return "a password needs more than a few different characters"
    if _is_run(lowered):
        return "a password may not be a run of neighbouring characters"
    rest = lowered
    for word in (*_OVERUSED, *re.split(r"[@.\s_-]+", email.lower()), *name.lower().split()):
        if len(word) >= 4:
            rest = rest.replace(word, "")
    if len(rest) < MIN_PASSWORD // 2:
        return "a password may not be made of common words or of your own name or address"
    return ""


def _is_run(text: str) -> bool:
    steps = {ord(b) - ord(a) for a, b in itertools.pairwise(text)}
    return steps <= {1} or steps <= {-1}
