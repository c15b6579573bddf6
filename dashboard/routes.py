"""What the dashboard serves beside Streamlit's own pages.

``/farwatch/live``     a WebSocket that passes the session's feed on to the browser as it comes. A page proves itself
                       with the session's stream key in the first frame, so the cookie gives another site nothing.
``/farwatch/session``  swaps a one-time code, which the page got over Streamlit's connection, for the session cookie.
``/farwatch/assets/…`` the scripts, styles and font of the components, and Plotly's own script from its Python package.
``/healthz``           200 while the server runs, for load balancers.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import json
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from dashboard.live import FeedStatus, Message, Subscription
from dashboard.session import COOKIE, IDLE_S, STORE, Session

ASSETS = Path(__file__).parent / "assets"
PREFIX = "/farwatch"
MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css", ".woff2": "font/woff2", ".svg": "image/svg+xml"}
QUEUE = 1000
MOST_TOPICS = 50
FIRST_FRAME_S = 10.0
UNKNOWN_KEY = 4401
TOO_SLOW = 1013


@dataclass(frozen=True, slots=True)
class Asset:
    """A file ready to be sent; ``packed`` is its gzip form where that is smaller."""

    plain: bytes
    packed: bytes | None
    media_type: str


@cache
def asset_names() -> dict[str, Path]:
    """Return the files the browser may ask for, by name."""
    import plotly

    files = {path.name: path for path in sorted(ASSETS.iterdir()) if path.suffix in MEDIA_TYPES}
    files["plotly.min.js"] = Path(str(plotly.__file__)).parent / "package_data" / "plotly.min.js"
    return files


@cache
def asset_version() -> str:
    """Return a short hash over all assets; it is part of their URL, so a browser may keep them for ever."""
    digest = hashlib.sha256()
    for name, path in asset_names().items():
        stat = path.stat()
        digest.update(f"{name}:{stat.st_size}".encode())
        if path.parent == ASSETS:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


@cache
def asset(name: str) -> Asset:
    """Return an asset by name, packed once; raises KeyError for anything not on the list."""
    path = asset_names()[name]
    plain = path.read_bytes()
    packed = gzip.compress(plain, 6) if path.suffix in {".js", ".css", ".svg"} else None
    return Asset(plain, packed, MEDIA_TYPES[path.suffix])


def warm_up() -> None:
    """Pack the large script before the first browser asks for it."""
    threading.Thread(target=asset, args=("plotly.min.js",), name="farwatch-warm-up", daemon=True).start()


async def send_asset(request: Request) -> Response:
    """Answer ``GET /farwatch/assets/{version}/{name}``."""
    try:
        found = await asyncio.to_thread(asset, request.path_params["name"])
    except KeyError:
        return PlainTextResponse("no such file", status_code=404)
    headers = {"X-Content-Type-Options": "nosniff", "Vary": "Accept-Encoding", "Cache-Control": "no-cache"}
    if request.path_params["version"] == asset_version():
        headers["Cache-Control"] = "public, max-age=31536000, immutable"
    if found.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(found.packed, media_type=found.media_type, headers=headers)
    return Response(found.plain, media_type=found.media_type, headers=headers)


async def start_cookie(request: Request) -> Response:
    """Answer ``POST /farwatch/session``: a good one-time code sets the session cookie.

    A form on another site cannot send JSON without asking first, and browsers say where a request comes from, so
    nobody can be signed in to a stranger's session unawares.
    """
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return JSONResponse({"detail": "only the dashboard's own pages may do this"}, status_code=403)
    if not request.headers.get("content-type", "").startswith("application/json"):
        return JSONResponse({"detail": "JSON is expected"}, status_code=415)
    try:
        body = json.loads(await request.body())
    except ValueError:
        body = None
    code = body.get("code") if isinstance(body, dict) else None
    session = STORE.redeem(code) if isinstance(code, str) else None
    if session is None:
        return JSONResponse({"detail": "the code is unknown, used or too old"}, status_code=403)
    response = Response(status_code=204)
    response.set_cookie(
        COOKIE,
        session.id,
        max_age=int(IDLE_S),
        httponly=True,
        samesite="strict",
        secure=_is_https(request),
        path="/",
    )
    return response


async def end_cookie(request: Request) -> Response:
    """Answer ``DELETE /farwatch/session``: the browser forgets the cookie (the session ends in :mod:`session`)."""
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=_is_https(request), path="/")
    return response


def _is_https(request: Request) -> bool:
    return request.url.scheme == "https" or request.headers.get("x-forwarded-proto", "") == "https"


async def healthz(_: Request) -> Response:
    """Answer ``GET /healthz``."""
    return JSONResponse({"status": "ok"}, headers={"Cache-Control": "no-store"})


class _TooSlow(Exception):
    pass


async def stream(socket: WebSocket) -> None:
    """Pass a session's feed on to one page.

    First frame from the page: ``{"key", "topics": […], "after": {topic: seq}}``; later frames may replace ``topics``.
    Frames to the page: pushes as :meth:`Message.wire` gives them, and ``{"status": {...}}`` when the feed's connection
    changes. A page that falls a thousand messages behind is cut off and comes back for what it missed.
    """
    await socket.accept()
    try:
        hello = await asyncio.wait_for(socket.receive_json(), FIRST_FRAME_S)
        key = hello.get("key") if isinstance(hello, dict) else None
        session = STORE.by_stream_key(key) if isinstance(key, str) else None
        if session is None:
            await socket.close(UNKNOWN_KEY, "sign in again")
            return
        await _Page(socket, session).run(hello)
    except _TooSlow:
        await socket.close(TOO_SLOW, "too slow")
    except (TimeoutError, WebSocketDisconnect, RuntimeError, ValueError, KeyError):
        return  # the page is gone, or sent something that is not our protocol: either way there is nobody to serve


class _Page:
    """One page that follows a session's feed."""

    def __init__(self, socket: WebSocket, session: Session) -> None:
        self.socket = socket
        self.session = session
        self.loop = asyncio.get_running_loop()
        self.queue: asyncio.Queue[Message | FeedStatus | None] = asyncio.Queue(QUEUE)
        self.subscription: Subscription | None = None

    def _listen(self, item: Message | FeedStatus) -> None:
        """Take an item in the feed's thread."""
        with contextlib.suppress(RuntimeError):  # the server's loop has closed: it is stopping
            self.loop.call_soon_threadsafe(self._put, item)

    def _put(self, item: Message | FeedStatus) -> None:
        if not self.queue.full():
            self.queue.put_nowait(item)
        elif self.subscription is not None:
            self.subscription.close()
            self.queue.get_nowait()
            self.queue.put_nowait(None)

    async def run(self, hello: Any) -> None:
        """Serve the page until it goes away (raises WebSocketDisconnect)."""
        await self._follow(hello)
        receiving = asyncio.create_task(self._receive())
        try:
            await self._send(self.session.feed.status())
            while True:
                getting = asyncio.create_task(self.queue.get())
                done, _ = await asyncio.wait({receiving, getting}, return_when=asyncio.FIRST_COMPLETED)
                if getting in done:
                    await self._send(getting.result())
                else:
                    getting.cancel()
                if receiving in done:
                    receiving.result()
        finally:
            receiving.cancel()
            if self.subscription is not None:
                self.subscription.close()

    async def _receive(self) -> None:
        while True:
            await self._follow(await self.socket.receive_json())

    async def _follow(self, frame: Any) -> None:
        topics, after = _interest(frame)
        feed, old = self.session.feed, self.subscription
        self.subscription = await asyncio.to_thread(feed.subscribe, topics, self._listen)
        if old is not None:
            old.close()
        for topic, seq in after.items():
            for message in feed.recent(topic, seq):
                self._put(message)

    async def _send(self, item: Message | FeedStatus | None) -> None:
        if item is None:
            raise _TooSlow
        self.session.last_used = self.session.clock()
        await self.socket.send_json(item.wire() if isinstance(item, Message) else {"status": _status(item)})


def _interest(frame: Any) -> tuple[list[str], dict[str, int]]:
    """Return the topics a frame asks for and, for each that wants a replay, the sequence number to start after."""
    if not isinstance(frame, dict):
        return [], {}
    asked = frame.get("topics")
    topics = [t for t in asked if isinstance(t, str)][:MOST_TOPICS] if isinstance(asked, list) else []
    given = frame.get("after")
    after = {t: given[t] for t in topics if isinstance(given.get(t), int)} if isinstance(given, dict) else {}
    return topics, after


def _status(status: FeedStatus) -> dict[str, Any]:
    return {"state": status.state.value, "age_s": status.age_s, "reason": status.reason}


def routes() -> list[BaseRoute]:
    """Return the routes to mount beside Streamlit's."""
    return [
        Route("/healthz", healthz, methods=["GET"]),
        Route(f"{PREFIX}/session", start_cookie, methods=["POST"]),
        Route(f"{PREFIX}/session", end_cookie, methods=["DELETE"]),
        Route(f"{PREFIX}/assets/{{version}}/{{name}}", send_asset, methods=["GET"]),
        WebSocketRoute(f"{PREFIX}/live", stream),
    ]
