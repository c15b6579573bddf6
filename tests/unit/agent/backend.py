"""A back end of the wire contract in one small HTTP server, that can be told to misbehave."""

from __future__ import annotations

import json
import threading
import time
import zlib
from collections import Counter, deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

CREDENTIAL = "fwa_test_0123456789"
PROBLEM = "application/problem+json"


class Backend:
    """Stores batches as the contract says: per spool strictly in order, everything else dropped.

    ``trouble`` is asked before each request and may return a misbehaviour: a tuple ``(status, headers,
    body)``, ``"cut"`` (the connection is closed without an answer), ``"cut after"`` (the request is carried
    out and the answer lost) or ``"hang"`` (no answer for a second).  ``lag`` accepted batches stay in a queue
    before they are stored; ``lose_queue`` forgets them, as a killed engine does.
    """

    def __init__(self, port: int = 0, lag: int = 0) -> None:
        self.lock = threading.RLock()
        self.trouble: Callable[[str], Any] = lambda _: None
        self.lag = lag
        self.interval_s = 5.0
        self.credential = CREDENTIAL
        self.queue: deque[dict[str, Any]] = deque()
        self.stored_through: dict[str, int] = {}
        self.stored: list[dict[str, Any]] = []
        self.samples: Counter[tuple[str, str, int]] = Counter()
        self.requests: list[tuple[str, str, float]] = []
        self.messages: list[dict[str, Any]] = []
        self.clock_offset = 0.0
        self.enrolled = 0
        self.reject: Callable[[dict[str, Any]], int] = lambda _: 0
        handler = type("Handler", (_Handler,), {"backend": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/base"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop as a killed server does: open connections end as well."""
        self.trouble = lambda _: "cut"
        self._server.shutdown()
        self._server.server_close()

    def take(self, message: dict[str, Any]) -> None:
        with self.lock:
            self.messages.append(message)
            self.queue.append(message)
            while len(self.queue) > self.lag:
                self._store(self.queue.popleft())

    def flush(self) -> bool:
        """Store what is queued; return true, so that conditions can begin with it."""
        with self.lock:
            while self.queue:
                self._store(self.queue.popleft())
        return True

    def lose_queue(self) -> None:
        with self.lock:
            self.queue.clear()

    def _store(self, message: dict[str, Any]) -> None:
        spool, seq = message["spool_id"], message["seq"]
        if seq != max(self.stored_through.get(spool, 0) + 1, message["oldest"]):
            return
        self.stored_through[spool] = seq
        self.stored.append(message)
        for series in message["series"]:
            name = series["metric"] + json.dumps(series["labels"], sort_keys=True)
            for time_ms, value in zip(message["times"], series["values"], strict=True):
                if value is not None:
                    self.samples[spool, name, time_ms] += 1

    def progress(self, spool_id: str) -> dict[str, Any]:
        with self.lock:
            return {
                "stored_through": self.stored_through.get(spool_id, 0),
                "server_time": round((time.time() + self.clock_offset) * 1000),
                "interval_s": self.interval_s,
                "config_version": "1",
            }


class _Handler(BaseHTTPRequestHandler):
    backend: Backend
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._serve("POST", body)

    def do_GET(self) -> None:
        self._serve("GET", b"")

    def _serve(self, method: str, body: bytes) -> None:
        backend = self.backend
        url = urlsplit(self.path)
        with backend.lock:
            backend.requests.append((method, url.path, time.monotonic()))
            trouble = backend.trouble(method)
        if trouble == "cut":
            self.close_connection = True
            return
        if trouble == "hang":
            time.sleep(1.0)
            self.close_connection = True
            return
        if isinstance(trouble, tuple):
            self._answer(*trouble)
            return
        result = self._work(method, url.path, url.query, body)
        if trouble == "cut after":
            self.close_connection = True
            return
        self._answer(*result)

    def _work(self, method: str, path: str, query: str, body: bytes) -> tuple[int, dict[str, str], Any]:
        backend = self.backend
        if path == "/base/api/v1/agents/enrol":
            request = json.loads(body)
            if request["token"] != "fwe_good":
                return (
                    401,
                    {"Content-Type": PROBLEM},
                    {"detail": "the token is not valid", "code": "bad_token"},
                )
            backend.messages.append(request)
            backend.enrolled += 1
            return (
                201,
                {},
                {
                    "host_id": f"host_{backend.enrolled}",
                    "credential": backend.credential,
                    "interval_s": backend.interval_s,
                },
            )
        if self.headers.get("Authorization") != f"Bearer {backend.credential}":
            return 401, {"Content-Type": PROBLEM}, {"title": "Unauthorized"}
        if method == "GET" and path == "/base/api/v1/metrics/batches/progress":
            return 200, {}, backend.progress(parse_qs(query)["spool_id"][0])
        if method == "POST" and path == "/base/api/v1/metrics/batches":
            message = json.loads(zlib.decompress(body, 31))
            rejected = backend.reject(message)
            backend.take(message)
            accepted = sum(v is not None for s in message["series"] for v in s["values"]) - rejected
            errors = [{"loc": "series[0]", "msg": "no"}] * min(rejected, 10)
            answer = {"accepted": accepted, "rejected": rejected, "errors": errors}
            return 202, {}, {**answer, **backend.progress(message["spool_id"])}
        return 404, {"Content-Type": PROBLEM}, {"title": "Not Found"}

    def _answer(self, status: int, headers: dict[str, str], body: Any) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
