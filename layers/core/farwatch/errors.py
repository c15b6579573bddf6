"""Every error Farwatch raises on purpose.

::

    FarwatchError
    ├── Refused                  the caller's fault: an HTTP 4xx, never retried
    │   ├── InvalidInput         400/422: names the fields at fault
    │   ├── Unauthenticated      401: who are you?
    │   ├── Forbidden            403: we know who you are, and no
    │   ├── NotFound             404
    │   ├── Conflict             409: the state does not allow it (now)
    │   ├── PreconditionFailed   412: somebody changed it first (ETag)
    │   ├── TooLarge             413
    │   └── RateLimited          429: carries ``retry_after_s``
    ├── Misconfigured            the operator's fault: names the key and a valid example
    └── DependencyError          something outside: carries ``retryable``
        ├── Unavailable          try again later (network, 5xx, overloaded)
        └── Rejected             trying again will not help (revoked webhook, bad address)

``farwatch.http.problems`` is the one place that turns these into RFC 9457 bodies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with the input: ``loc`` is a path such as ``series[3].values[0]``."""

    loc: str
    msg: str


class FarwatchError(Exception):
    """Root of every deliberate error. ``code`` is stable and documented in ``docs/errors.md``."""

    code = "internal"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code


class Refused(FarwatchError):
    """The request cannot be served as it stands; ``status`` is the HTTP status to answer with."""

    status = 400
    code = "bad_request"


class InvalidInput(Refused):
    """The input does not fit; ``errors`` names each field at fault."""

    status = 422
    code = "invalid_input"

    def __init__(
        self,
        message: str,
        errors: Sequence[FieldError] = (),
        *,
        code: str | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message, code=code)
        self.errors = tuple(errors)
        if status is not None:
            self.status = status


class Unauthenticated(Refused):
    """No credential, or one that proves nothing."""

    status = 401
    code = "unauthenticated"


class Forbidden(Refused):
    """The credential is good and does not permit this."""

    status = 403
    code = "forbidden"


class NotFound(Refused):
    """There is no such thing, or the caller may not know that there is."""

    status = 404
    code = "not_found"


class Conflict(Refused):
    """The thing's present state does not allow the change."""

    status = 409
    code = "conflict"


class PreconditionFailed(Refused):
    """The ``If-Match`` version is not the stored one: somebody else changed it first."""

    status = 412
    code = "version_conflict"


class TooLarge(Refused):
    """The body is over a documented limit."""

    status = 413
    code = "too_large"


class RateLimited(Refused):
    """Too many requests; ``retry_after_s`` says when the next one will be let through."""

    status = 429
    code = "rate_limited"

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Misconfigured(FarwatchError):
    """A setting is missing or wrong; the message names the key and shows a valid example."""

    code = "misconfigured"


class DependencyError(FarwatchError):
    """Something outside the process failed; ``dependency`` is its name on the health page."""

    code = "dependency_failed"
    retryable = True

    def __init__(self, dependency: str, message: str) -> None:
        super().__init__(f"{dependency}: {message}")
        self.dependency = dependency


class Unavailable(DependencyError):
    """A passing fault: the same call may succeed later. ``retry_after_s`` is the far side's own wish."""

    code = "dependency_unavailable"

    def __init__(self, dependency: str, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(dependency, message)
        self.retry_after_s = retry_after_s


class Rejected(DependencyError):
    """A permanent refusal: the same call will never succeed."""

    code = "dependency_rejected"
    retryable = False
