"""A real InfluxDB 1.6 server (Debian's package) with the two v2 endpoints that influxdb-client writes through.

InfluxDB 1.6 speaks InfluxQL but has no ``/api/v2/write`` and ``/api/v2/delete``; the gateway here maps them to ``/write``
and to a DELETE statement, and passes everything else through.
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

INSTALL = "apt-get install influxdb"


def available() -> bool:
    return shutil.which("influxd") is not None


@contextmanager
def influx_server() -> Iterator[str]:
    """Run InfluxDB on loopback and yield the gateway's URL."""
    folder = Path(tempfile.mkdtemp(prefix="farwatch-influx-"))
    port, rpc = _free_port(), _free_port()
    (folder / "influxdb.conf").write_text(
        f"""reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
  dir = "{folder}/meta"
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
  query-log-enabled = false
[http]
  bind-address = "127.0.0.1:{port}"
  log-enabled = false
[monitor]
  store-enabled = false
"""
    )
    log = (folder / "log").open("wb")
    server = subprocess.Popen(["influxd", "-config", str(folder / "influxdb.conf")], stdout=log, stderr=log)
    gateway = ThreadingHTTPServer(("127.0.0.1", 0), _gateway(f"http://127.0.0.1:{port}"))
    threading.Thread(target=gateway.serve_forever, daemon=True).start()
    try:
        _wait(f"http://127.0.0.1:{port}/ping", server)
        yield f"http://127.0.0.1:{gateway.server_address[1]}"
    finally:
        gateway.shutdown()
        gateway.server_close()
        server.kill()
        server.wait()
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


def create_databases(url: str, *names: str) -> None:
    for name in names:
        _query(url, f'CREATE DATABASE "{name}"')


def drop_databases(url: str, *names: str) -> None:
    for name in names:
        _query(url, f'DROP DATABASE "{name}"')


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _query(url: str, statement: str, database: str = "") -> None:
    form = urllib.parse.urlencode({"q": statement, "db": database}).encode()
    with urllib.request.urlopen(f"{url}/query", form, timeout=10) as answer:
        result = json.load(answer)["results"][0]
    if "error" in result:
        raise RuntimeError(f"{statement}: {result['error']}")


def _wait(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError("influxd ended while starting")
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("influxd did not answer within 20 s")


def _gateway(upstream: str) -> type[BaseHTTPRequestHandler]:
    class Gateway(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            path, _, query = self.path.partition("?")
            wanted = dict(urllib.parse.parse_qsl(query))
            if path == "/api/v2/write":
                arguments = urllib.parse.urlencode(
                    {"db": wanted["bucket"], "precision": wanted.get("precision", "ns")}
                )
                self._forward(f"/write?{arguments}", body)
            elif path == "/api/v2/delete":
                order = json.loads(body)
                only = dict(re.findall(r'(\w+)="([^"]*)"', order.get("predicate", "")))
                source = f'"{only["_measurement"]}"' if "_measurement" in only else "/.*/"
                host = f" AND \"host\" = '{only['host']}'" if "host" in only else ""
                statement = f"DELETE FROM {source} WHERE time >= '{order['start']}' AND time < '{order['stop']}'{host}"
                _query(upstream, statement, wanted["bucket"])
                self._answer(204, b"")
            else:
                self._forward(self.path, body)

        def do_GET(self) -> None:
            self._forward(self.path, None)

        def _forward(self, path: str, body: bytes | None) -> None:
            kind = self.headers.get("Content-Type", "application/octet-stream")
            request = urllib.request.Request(upstream + path, body, {"Content-Type": kind})
            try:
                with urllib.request.urlopen(request, timeout=20) as answer:
                    self._answer(answer.status, answer.read())
            except urllib.error.HTTPError as error:
                self._answer(error.code, error.read())

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            if status != 204:
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if status != 204:
                self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Keep quiet."""

    return Gateway
