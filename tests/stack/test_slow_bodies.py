"""Two hundred requests whose bodies never end: everybody else is answered. They are cut off in `tests/unit/local`."""

from __future__ import annotations

import contextlib
import socket
from urllib.parse import urlsplit

import pytest

from tests.stack.running import RunningStack

pytestmark = pytest.mark.stack


def test_bodies_that_never_end_hold_up_nobody(stack: RunningStack) -> None:
    url = urlsplit(stack.api_url)
    head = (
        f"POST {url.path}/api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        "Content-Length: 1000\r\n\r\n{"
    ).encode()
    with contextlib.ExitStack() as opened:
        slow = [
            opened.enter_context(socket.create_connection((url.hostname or "", url.port or 0)))
            for _ in range(200)
        ]
        for connection in slow:
            connection.sendall(head)
        for connection in slow:
            connection.sendall(b" ")
            if connection is slow[100]:
                assert stack.call("GET", "/api/v1/health/live", token="")[0] == 200
        assert stack.call("GET", "/api/v1/auth/me")[0] == 200
        for _ in range(5):
            assert stack.call("GET", "/api/v1/health/live", token="")[0] == 200
