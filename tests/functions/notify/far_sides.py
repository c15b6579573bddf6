"""The far sides of channels on loopback: a real mail server, and web servers that hold messages to the vendors' limits."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass
class Mailbox:
    """What a mail server received; ``reply`` may refuse a recipient or the message with an SMTP reply line."""

    port: int = 0
    messages: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    refuse_recipient: str = ""
    refuse_message: str = ""
    connections: int = 0

    async def handle_EHLO(  # noqa: N802 - aiosmtpd's name
        self, server: Any, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        self.connections += 1
        session.host_name = hostname
        return responses

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.refuse_recipient:
            return self.refuse_recipient
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        if self.refuse_message:
            return self.refuse_message
        content = envelope.content
        assert isinstance(content, bytes)
        parsed = message_from_bytes(content, policy=policy.default)
        assert isinstance(parsed, EmailMessage)
        self.messages.append(parsed)
        self.recipients += envelope.rcpt_tos
        return "250 accepted"


@contextmanager
def mail_server(
    *, certificate: Path | None = None, implicit_tls: bool = False, login: tuple[str, str] | None = None
) -> Iterator[Mailbox]:
    """Run a mail server on a free port: plain, with STARTTLS, or with TLS from the first byte."""
    box = Mailbox(port=free_port())
    context = None
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)

    def check(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        good = login is not None and isinstance(data, LoginPassword)
        known = good and (data.login.decode(), data.password.decode()) == login
        return AuthResult(success=bool(known), handled=False)

    options: dict[str, Any] = {}
    if implicit_tls:
        options["ssl_context"] = context
    elif context is not None:
        options["tls_context"] = context
        options["require_starttls"] = True
    if login is not None:
        options |= {"authenticator": check, "auth_required": True, "auth_require_tls": not implicit_tls}
    controller = Controller(box, hostname="127.0.0.1", port=box.port, **options)
    controller.start()
    try:
        yield box
    finally:
        controller.stop()


def certificate(folder: Path) -> Path:
    """Return a PEM file with a fresh key and a self-signed certificate for 127.0.0.1 and localhost."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "farwatch tests")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@dataclass
class Vendor:
    """A web server standing in for Slack or PagerDuty; ``answers`` are used up first, then it says yes."""

    faults_of: Callable[[Any], list[str]]
    yes: tuple[int, str]
    url: str = ""
    bodies: list[Any] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str], str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def take(self, body: Any) -> tuple[int, dict[str, str], str]:
        """Answer one request."""
        if self.answers:
            return self.answers.pop(0)
        self.faults += self.faults_of(body)
        self.bodies.append(body)
        return self.yes[0], {}, self.yes[1]


@contextmanager
def vendor(faults_of: Callable[[Any], list[str]], yes: tuple[int, str]) -> Iterator[Vendor]:
    """Run a vendor's web server on a free port."""
    made = Vendor(faults_of, yes)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers["Content-Length"]))
            status, headers, text = made.take(json.loads(sent))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


SLACK_SAYS_YES = (200, "ok")
PAGERDUTY_SAYS_YES = (202, '{"status":"success","message":"Event processed","dedup_key":"k"}')


def slack_faults(body: Any) -> list[str]:
    """Return where a webhook body breaks Slack's documented limits (Block Kit reference, attachments)."""
    faults = []
    if not body.get("text"):
        faults.append("text, the fallback of notifications, is missing")
    if len(json.dumps(body)) > 40_000 or len(body.get("text", "")) > 4000:
        faults.append("too long")
    for attachment in body.get("attachments", []):
        if not attachment.get("color", "").startswith("#") or len(attachment["color"]) != 7:
            faults.append("color is not #rrggbb")
        blocks = attachment.get("blocks", [])
        if not 1 <= len(blocks) <= 50:
            faults.append(f"{len(blocks)} blocks")
        for block in blocks:
            faults += _block_faults(block)
    return faults


def _block_faults(block: Any) -> list[str]:
    faults = []
    if block["type"] == "section":
        if "text" not in block and "fields" not in block:
            faults.append("a section needs text or fields")
        if "text" in block and not 1 <= len(block["text"]["text"]) <= 3000:
            faults.append("section text must have 1 to 3000 characters")
        if len(block.get("fields", [])) > 10 or any(len(f["text"]) > 2000 for f in block.get("fields", [])):
            faults.append("at most 10 fields of 2000 characters")
    elif block["type"] == "actions":
        elements = block["elements"]
        if any(len(e["text"]["text"]) > 75 or len(e.get("url", "")) > 3000 for e in elements):
            faults.append("a button's text has at most 75 characters, its url 3000")
        if len(block["elements"]) > 25:
            faults.append("at most 25 elements")
    elif block["type"] == "context":
        if not 1 <= len(block["elements"]) <= 10:
            faults.append("1 to 10 context elements")
    else:
        faults.append(f"unexpected block {block['type']}")
    return faults


def pagerduty_faults(body: Any) -> list[str]:
    """Return where a body breaks the documented limits of the Events API v2."""
    faults = []
    if len(body.get("routing_key", "")) != 32:
        faults.append("routing_key must have 32 characters")
    if body.get("event_action") not in {"trigger", "acknowledge", "resolve"}:
        faults.append("event_action")
    if not 1 <= len(body.get("dedup_key", "")) <= 255:
        faults.append("dedup_key must have 1 to 255 characters")
    if len(json.dumps(body)) > 512 * 1024:
        faults.append("larger than 512 KB")
    if body.get("event_action") == "trigger":
        payload = body.get("payload", {})
        if not 1 <= len(payload.get("summary", "")) <= 1024:
            faults.append("summary must have 1 to 1024 characters")
        if not payload.get("source"):
            faults.append("source is needed")
        if payload.get("severity") not in {"critical", "error", "warning", "info"}:
            faults.append("severity")
        datetime.fromisoformat(payload["timestamp"])
        if any(not link.get("href", "").startswith("http") for link in body.get("links", [])):
            faults.append("a link needs an address")
    return faults


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
