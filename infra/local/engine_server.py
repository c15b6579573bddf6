"""Runs the local engine with a bound on how long the body of a request may take to arrive.

Its server (Hypercorn) ends connections on which no request begins, and requests whose head does not come, after 75 s; for a
body it waits for ever, as long as the connection is open. API Gateway has bounds of its own, which nobody can set.

Run as a file and importing nothing of ours: the engine's Python path is inherited by every function.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

BODY_WITHIN_S = 30.0

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


def bounded(app: App, within_s: float) -> App:
    """Return `app` behind a bound: a request that is not there after `within_s` seconds gets 408 and is cut off."""

    async def served(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        deadline = asyncio.get_running_loop().time() + within_s
        complete = False

        async def receive_in_time() -> Message:
            nonlocal complete
            if complete:
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                complete = True
                headers = [(b"connection", b"close"), (b"content-length", b"0")]
                await send({"type": "http.response.start", "status": 408, "headers": headers})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return {"type": "http.disconnect"}
            complete = not message.get("more_body", False)
            return message

        await app(scope, receive_in_time, send)

    return served


def main() -> None:
    """Run the engine, as `python -m ministack` does, behind the bound."""
    engine = importlib.import_module("ministack.app")
    vars(engine)["app"] = bounded(engine.app, BODY_WITHIN_S)
    engine.main()


if __name__ == "__main__":
    main()
