"""The bound on slow bodies, before the server that the engine runs on."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config

from infra.local.engine_server import bounded
from tests.stack.running import free_base

SLOW = 100
HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"


async def echo(
    scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
) -> None:
    """Answer with the body, once all of it is there; leave without an answer when the client is gone."""
    if scope["type"] != "http":
        return
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def ask(port: int, body: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body))
    writer.write(body)
    answer = await reader.read()
    writer.close()
    return answer


async def dribble(port: int) -> tuple[bytes, float]:
    """Send a body byte by byte until the server has had enough; return its status line and the seconds that took."""
    began = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HEAD)
    answer = asyncio.ensure_future(reader.readline())
    while not answer.done():
        writer.write(b" ")
        await asyncio.wait([answer], timeout=0.05)
    took = time.monotonic() - began
    with contextlib.suppress(ConnectionError):  # a reset is an end as well
        await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer.result(), took


async def under_attack(within_s: float) -> tuple[list[bytes], list[tuple[bytes, float]]]:
    port = free_base()
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.loglevel = "ERROR"
    stop = asyncio.Event()
    server = asyncio.ensure_future(serve(bounded(echo, within_s), config, shutdown_trigger=stop.wait))  # type: ignore[arg-type]
    for _ in range(200):
        try:
            await ask(port, b"up")
            break
        except OSError:
            await asyncio.sleep(0.02)
    slow = [asyncio.ensure_future(dribble(port)) for _ in range(SLOW)]
    honest = [await ask(port, b"honest %d" % n) for n in range(10)]
    cut = await asyncio.gather(*slow)
    stop.set()
    await server
    return honest, cut


def test_slow_bodies_are_cut_off_and_hold_up_nobody() -> None:
    honest, cut = asyncio.run(asyncio.wait_for(under_attack(within_s=1.0), 60))
    for n, answer in enumerate(honest):
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"honest %d" % n in answer
    assert {line.split()[1] for line, _ in cut} == {b"408"}
    assert min(took for _, took in cut) >= 0.9
