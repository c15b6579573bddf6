"""The double of the API on a port, with a real WebSocket that pushes a batch per host every second.

For browser tests and for working on the pages. Run it by hand: ``python -m tests.unit.dashboard.fake_server 18901`` and sign
in as admin@example.org / farwatch-demo.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from tests.unit.dashboard.fake_api import FakeApi
from tests.unit.dashboard.fake_shapes import NAMES


class _Server:
    """The ASGI side of the double."""

    def __init__(self, api: FakeApi) -> None:
        self.api = api
        self.sockets: set[tuple[WebSocket, asyncio.AbstractEventLoop]] = set()

    async def http(self, request: Request) -> Response:
        raw = await request.body()
        while request.url.path in self.api.held:
            self.api.waiting.add(request.url.path)
            await asyncio.sleep(0.02)
        status, content, headers = self.api.respond(
            request.method,
            request.url.path,
            list(request.query_params.multi_items()),
            json.loads(raw) if raw else None,
            request.headers,
        )
        return JSONResponse(content, status, headers) if status != 204 else Response(status_code=204)

    async def ws(self, socket: WebSocket) -> None:
        if (
            self.api.refuse_sockets
            or self.api.tickets.pop(socket.query_params.get("ticket", ""), None) is None
        ):
            await socket.close(4401)
            return
        await socket.accept()
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        topics: set[str] = set()

        def listen(message: dict[str, Any]) -> None:
            loop.call_soon_threadsafe(queue.put_nowait, message)

        async def send() -> None:
            while True:
                message = await queue.get()
                if message["topic"] in topics:
                    await socket.send_json(message)

        entry = (socket, loop)
        self.sockets.add(entry)
        self.api.listeners.append(listen)
        sender = asyncio.create_task(send())
        try:
            while True:
                frame = await socket.receive_json()
                if frame.get("action") == "subscribe":
                    topics.update(frame["topics"])
                    await self._replay(socket, frame)
        except (WebSocketDisconnect, RuntimeError):
            return
        finally:
            self.api.listeners.remove(listen)
            self.sockets.discard(entry)
            sender.cancel()

    async def _replay(self, socket: WebSocket, frame: dict[str, Any]) -> None:
        if "after" in frame:
            for topic in frame["topics"]:
                for message in self.api.pushed.get(topic, []):
                    if message["seq"] > frame["after"]:
                        await socket.send_json(message)

    def cut(self) -> None:
        """Close every socket."""
        for socket, loop in list(self.sockets):
            asyncio.run_coroutine_threadsafe(socket.close(1012), loop)


@contextmanager
def serve(api: FakeApi, port: int = 0, *, batch_every_s: float | None = 1.0) -> Iterator[str]:
    """Serve ``api`` over HTTP and WebSocket on loopback; give its base URL; stop at the end of the block."""
    parts = _Server(api)
    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    app = Starlette(
        routes=[Route("/api/v1/{rest:path}", parts.http, methods=methods), WebSocketRoute("/live", parts.ws)]
    )
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", ws="websockets-sansio")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise RuntimeError("the double of the API did not start")
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    api.ws_url = f"ws://127.0.0.1:{port}/live"
    api.cut = parts.cut
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(batch_every_s):
            api.push_batches()

    if batch_every_s:
        threading.Thread(target=beat, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        stop.set()
        server.should_exit = True
        thread.join(timeout=5)


if __name__ == "__main__":
    fleet = FakeApi(hosts=int(sys.argv[2]) if len(sys.argv) > 2 else len(NAMES))
    with serve(fleet, int(sys.argv[1])) as url:
        print(url, flush=True)
        threading.Event().wait()
