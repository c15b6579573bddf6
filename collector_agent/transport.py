"""HTTP to the back end over one kept connection, with the standard library's client.

``http.client`` does keep-alive and TLS; urllib3 was measured at 5.6 MB more memory for what is used here.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

_MAX_ANSWER = 256 * 1024
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class TransportError(Exception):
    """No answer was had; the message says why in words an operator can use."""


class Answer(NamedTuple):
    """An HTTP answer: status, media type, seconds of ``Retry-After`` and the body."""

    status: int
    content_type: str
    retry_after: float | None
    body: bytes

    def json(self) -> dict[str, Any] | None:
        """Return the body as a JSON object, or ``None`` when it is none."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None

    def problem(self) -> dict[str, Any] | None:
        """Return the body when it is an RFC 9457 problem, and ``None`` when somebody else answered."""
        return self.json() if self.content_type == "application/problem+json" else None

    def explain(self) -> str:
        """Return status and reason in one line, for people."""
        body = self.problem() or self.json() or {}
        words = body.get("detail") or body.get("title") or body.get("message") or ""
        errors = body.get("errors")
        if isinstance(errors, list):
            words = "; ".join(
                [str(words), *(f"{e.get('loc')}: {e.get('msg')}" for e in errors[:3] if isinstance(e, dict))]
            )
        return f"HTTP {self.status} {str(words)[:500]}".strip()


class Transport:
    """Requests to one server, one at a time, over one connection that is kept between them."""

    def __init__(self, server: str, *, timeout: float = 10.0, ca_file: str | None = None) -> None:
        """``server`` is the URL before ``/api/v1``; ``ca_file`` is trusted instead of the system's."""
        self._url: SplitResult = urlsplit(server.rstrip("/"))
        self._timeout = timeout
        self._ca_file = ca_file
        self._connection: http.client.HTTPConnection | None = None
        self._started: float | None = None
        self._lock = threading.Lock()

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        content_type: str = "application/octet-stream",
        credential: str | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> Answer:
        """Send a request and return its answer; raise :class:`TransportError` when there is none.

        A kept connection that the server has closed meanwhile is replaced once.  That is safe because every
        request of the agent may be sent twice.
        """
        sent = {"Accept": "application/json", "User-Agent": "farwatch-agent", **headers}
        if body is not None:
            sent["Content-Type"] = content_type
        if credential is not None:
            sent["Authorization"] = f"Bearer {credential}"
        reused = self._connection is not None
        try:
            try:
                return self._once(method, path, body, sent)
            except (http.client.RemoteDisconnected, ConnectionError):
                if not reused:
                    raise
                return self._once(method, path, body, sent)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise TransportError(_reason(error)) from error

    def _once(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        with self._lock:
            if self._connection is None:
                self._connection = self._connect()
            connection = self._connection
            self._started = time.monotonic()
        complete = False
        try:
            connection.request(method, self._url.path + path, body=body, headers=headers)
            response = connection.getresponse()
            content = response.read(_MAX_ANSWER + 1)
            if len(content) > _MAX_ANSWER:
                raise http.client.HTTPException(f"answer is longer than {_MAX_ANSWER} bytes")
            complete = not response.will_close
            return Answer(
                response.status,
                (response.getheader("Content-Type") or "").partition(";")[0].strip().lower(),
                _retry_after(response.getheader("Retry-After")),
                content,
            )
        finally:
            with self._lock:
                self._started = None
            if not complete:
                self.close()

    def _connect(self) -> http.client.HTTPConnection:
        host = self._url.hostname or ""
        if self._url.scheme == "https":
            import ssl

            try:
                context = ssl.create_default_context(cafile=self._ca_file)
            except OSError as error:  # an SSLError too; the file may be being replaced, so a later try may do
                if self._ca_file is None:
                    raise
                raise TransportError(
                    f"ca_file: {self._ca_file} has no certificates that can be read ({_reason(error)})"
                ) from error
            return http.client.HTTPSConnection(host, self._url.port, timeout=self._timeout, context=context)
        return http.client.HTTPConnection(host, self._url.port, timeout=self._timeout)

    def abort_if_older(self, seconds: float) -> bool:
        """Break off a request that has been under way for longer; return whether there was one.

        The time limit of the socket applies to each read, so a server that sends a byte now and then would
        hold a request open for ever.  Called from another thread than the one that waits.
        """
        with self._lock:
            if (
                self._started is None
                or time.monotonic() - self._started < seconds
                or self._connection is None
            ):
                return False
            sock = self._connection.sock
        if sock is None:
            return False
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return False  # closed at this very moment, which is what was wanted
        return True

    def close(self) -> None:
        """Close the connection; the next request opens a new one."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def is_safe(server: str) -> bool:
    """Return whether a credential may be sent to ``server``: over TLS, or without leaving this host."""
    url = urlsplit(server)
    return url.scheme == "https" or url.hostname in _LOOPBACK


def _retry_after(value: str | None) -> float | None:
    """Return the seconds of a ``Retry-After`` header, given as a number or as a date (RFC 9110, 10.2.3)."""
    if not value:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        when = parsedate_to_datetime(value)
        return max(0.0, when.timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, http.client.RemoteDisconnected):
        return "the server closed the connection without an answer"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
