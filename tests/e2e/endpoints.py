"""The far ends of notifications: a real SMTP server, and HTTP servers that answer as Slack and PagerDuty do."""

from __future__ import annotations

import email
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller


class Mailbox:
    """Keeps every mail that was delivered."""

    def __init__(self) -> None:
        self.mails: list[Message] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd calls it by this name
        """Accept one mail."""
        self.mails.append(email.message_from_bytes(envelope.content))
        return "250 OK"


@dataclass
class FarEnds:
    """What arrived: mails, and the JSON bodies posted to Slack and to PagerDuty."""

    smtp_port: int
    http_port: int
    mailbox: Mailbox
    slack: list[dict[str, Any]] = field(default_factory=list)
    pagerduty: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def far_ends() -> Iterator[FarEnds]:
    """Run them all and yield what arrives."""
    mailbox = Mailbox()
    with socket.socket() as probe:  # aiosmtpd cannot be asked to choose a port
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    smtp = Controller(mailbox, hostname="127.0.0.1", port=port)
    smtp.start()
    ends = FarEnds(port, 0, mailbox)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            pagerduty = self.path.startswith("/v2/enqueue")
            (ends.pagerduty if pagerduty else ends.slack).append(body)
            answer = (
                b'{"status":"success","message":"Event processed","dedup_key":"x"}' if pagerduty else b"ok"
            )
            self.send_response(202 if pagerduty else 200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments: object) -> None:
            """Keep quiet."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    ends.http_port = http.server_address[1]
    threading.Thread(target=http.serve_forever, daemon=True).start()
    try:
        yield ends
    finally:
        http.shutdown()
        http.server_close()
        smtp.stop()
