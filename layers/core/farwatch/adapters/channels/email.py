"""E-mail: one thread per incident, text and HTML, over SMTP with TLS."""

from __future__ import annotations

import smtplib
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from functools import cache
from pathlib import Path
from typing import Any, Literal

from farwatch.adapters.channels.words import (
    clock,
    explanation,
    fixes,
    incident_link,
    look_of,
    process_lines,
    settings_link,
    title_of,
    what_happened,
)
from farwatch.domain.events import IncidentEvent
from farwatch.domain.headlines import one_line
from farwatch.domain.samples import SeriesKey
from farwatch.errors import Misconfigured, Rejected, Unavailable
from farwatch.ports.deliveries import RECIPIENT_REJECTED

TIMEOUT_S = 10.0
IDLE_S = 30.0  # servers close idle connections; a fresh one is cheaper than a failed attempt
LISTED_SIGNALS = 10
_WANTS_SIGN_IN = {530, 534, 538}  # RFC 4954 §6, RFC 3207 §4
LISTED_PROCESSES = 5


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed over. ``security``: ``starttls`` (587), ``tls`` (465), or ``none`` for a server on loopback.

    ``id`` is what health is recorded under.
    """

    id: str
    host: str
    port: int
    security: Literal["starttls", "tls", "none"]
    sender: str
    username: str = ""
    password: str = field(default="", repr=False)


def compose(
    event: IncidentEvent,
    recipient: str,
    delivery_id: str,
    *,
    sender: str,
    dashboard_url: str,
    environment: str,
) -> EmailMessage:
    """Return the mail about an event.

    Message-ID follows from the delivery, so a second copy after a crash has the same one and a mailbox may drop it. All
    mails of an incident refer to one root that follows from the incident, so programs that thread by References
    (RFC 5322 §3.6.4) show one thread; those that look at the subject as well start another one for the end. Raises
    Rejected for an address that cannot be one.
    """
    name, address = parseaddr(sender)
    domain = address.rpartition("@")[2] or "farwatch.invalid"
    message = EmailMessage(policy=SMTP)
    message["Subject"] = subject(event)
    try:
        message["From"] = Address(name, *address.rsplit("@", 1)) if "@" in address else address
    except ValueError as error:
        raise Rejected("email", "the sender is not an e-mail address") from error
    message["To"] = _mailbox(recipient)
    message["Date"] = format_datetime(datetime.fromtimestamp(event.at / 1000, UTC))
    message["Message-ID"] = f"<{delivery_id}@{domain}>"
    root = f"<{event.incident_id}@{domain}>"
    message["In-Reply-To"] = root
    message["References"] = root
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday notice comes back
    message["X-Farwatch-Incident"] = event.incident_id
    message["X-Farwatch-Event"] = f"{event.kind} {event.id}"
    message["List-Unsubscribe"] = f"<{settings_link(dashboard_url)}>"
    if event.severity.rank >= 2 and event.kind.firing:
        message["Importance"] = "high"
    view = _view(event, dashboard_url, environment)
    message.set_content(_templates().get_template("email.txt.j2").render(view))
    message.add_alternative(_templates().get_template("email.html.j2").render(view), subtype="html")
    return message


def _mailbox(recipient: str) -> Address:
    """Return the address as a header takes it; one that cannot be one says nothing against the mail server."""
    try:
        return Address(addr_spec=recipient)
    except (ValueError, HeaderParseError) as error:
        rejected = Rejected("email", "the recipient is not an e-mail address")
        rejected.code = RECIPIENT_REJECTED
        raise rejected from error


def subject(event: IncidentEvent) -> str:
    """Return ``[CRITICAL] CPU 97 % on web-3 … (inc_…)``, on one line whatever a host calls itself.

    ``=?`` is taken apart: ``email`` would decode what looks like an encoded word (RFC 2047), line breaks included, and
    a host's name could add headers to the mail.
    """
    title = title_of(event, 150)
    where = one_line(event.host_name, 60)
    lead = "" if not where or where in title else f"{where}: "
    return f"[{look_of(event).word}] {lead}{title} ({event.incident_id})".replace("=?", "= ?")


def _view(event: IncidentEvent, dashboard_url: str, environment: str) -> dict[str, Any]:
    evidence = event.evidence
    facts = [("Severity", event.severity.value), ("Since", clock(event.opened_at))]
    if event.host_name:
        facts.insert(0, ("Host", one_line(event.host_name, 100)))
    if evidence is not None and evidence.metric is not None:
        facts.append(("Metric", one_line(SeriesKey.of(evidence.metric, evidence.labels).text(), 150)))
    facts.append(("Installation", environment))
    return {
        "subject": subject(event),
        "look": look_of(event),
        "title": title_of(event),
        "happened": what_happened(event),
        "reason": explanation(event),
        "note": one_line(event.note, 2000) if event.actor else "",
        "facts": facts,
        "signals": event.signals[:LISTED_SIGNALS] if event.signal_count > 1 else (),
        "more_signals": max(0, event.signal_count - LISTED_SIGNALS),
        "processes": process_lines(event, LISTED_PROCESSES) if event.kind.firing else [],
        "fixes": fixes(event),
        "link": incident_link(dashboard_url, event.incident_id),
        "settings": settings_link(dashboard_url),
        "incident_id": event.incident_id,
    }


@cache
def _templates() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(enabled_extensions=("html.j2",), default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # A per cent sign alone on the next line looks like a mistake.
    environment.filters["glued"] = lambda text: text.replace(" %", "\u00a0%")
    return environment


class EmailSender:
    """Sends mail through the server that ``server`` returns, over one connection kept for a while."""

    def __init__(
        self, server: Callable[[], MailServer | None], *, dashboard_url: str, environment: str
    ) -> None:
        self._server = server
        self._dashboard_url = dashboard_url
        self._environment = environment
        self._open: tuple[MailServer, smtplib.SMTP, float] | None = None
        self._lock = threading.Lock()

    def destination(self, recipient: str) -> str:
        """Return the mail server's id: all mail shares its fate."""
        del recipient
        server = self._server()
        return server.id if server is not None else "email"

    def send(self, event: IncidentEvent, recipient: str, delivery_id: str) -> str:
        """Send the mail and return its Message-ID; see the port for the errors."""
        server = self._server()
        if server is None:
            raise Unavailable("email", "no mail server is configured")
        message = compose(
            event,
            recipient,
            delivery_id,
            sender=server.sender,
            dashboard_url=self._dashboard_url,
            environment=self._environment,
        )
        with self._lock:
            self._hand_over(server, message, recipient)
        return str(message["Message-ID"])

    def _hand_over(self, server: MailServer, message: EmailMessage, recipient: str) -> None:
        _, sender = parseaddr(server.sender)
        try:
            self._connected(server).send_message(message, sender, [recipient])
        except smtplib.SMTPRecipientsRefused as error:
            self._hang_up()
            code, said = error.recipients[recipient]
            raise _refusal(code, said, of_recipient=True) from error
        except smtplib.SMTPAuthenticationError as error:
            # The password is mended in one place; until then every mail waits rather than being lost.
            self._hang_up()
            raise Unavailable("email", f"{server.host} does not accept the user name and password") from error
        except smtplib.SMTPResponseException as error:
            self._hang_up()
            raise _refusal(error.smtp_code, error.smtp_error, of_recipient=False) from error
        except (smtplib.SMTPException, OSError) as error:
            self._hang_up()
            raise Unavailable("email", f"{server.host}:{server.port}: {_words(error)}") from error
        if self._open is not None:
            self._open = (*self._open[:2], time.monotonic())

    def _connected(self, server: MailServer) -> smtplib.SMTP:
        if self._open is not None:
            known, connection, used_at = self._open
            if known == server and time.monotonic() - used_at < IDLE_S and _answers(connection):
                return connection
            self._hang_up()
        connection = connect(server)
        self._open = (server, connection, time.monotonic())
        return connection

    def _hang_up(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None


def _answers(connection: smtplib.SMTP) -> bool:
    try:
        return connection.noop()[0] == 250
    except (smtplib.SMTPException, OSError):
        return False


def connect(server: MailServer) -> smtplib.SMTP:
    """Return an open connection, secured and signed in as the server asks; raises smtplib's and OS errors, and
    Misconfigured when a server elsewhere would be reached without TLS, or with settings SMTP cannot carry.
    """
    if server.security == "none" and server.host not in {"127.0.0.1", "::1", "localhost"}:
        raise Misconfigured(
            f"mail server {server.host} must be reached over TLS: set security to starttls or tls "
            "(none is for a server on this machine)"
        )
    if not (server.username + server.password).isascii():
        raise Misconfigured("the mail server's user name and password must be ASCII")
    context = ssl.create_default_context()
    try:
        if server.security == "tls":
            connection: smtplib.SMTP = smtplib.SMTP_SSL(
                server.host, server.port, timeout=TIMEOUT_S, context=context
            )
        else:
            connection = smtplib.SMTP(server.host, server.port, timeout=TIMEOUT_S)
    except UnicodeError as error:
        raise Misconfigured(f"{server.host} is not a host name") from error
    try:
        if server.security == "starttls":
            connection.starttls(context=context)
        if server.username:
            connection.login(server.username, server.password)
    except BaseException:
        connection.close()
        raise
    return connection


def _refusal(code: int, said: bytes | str, *, of_recipient: bool) -> Unavailable | Rejected:
    """Return the error for an SMTP reply: 4xx passes, 5xx does not (RFC 5321 §4.2.1).

    But a server that wants a password first, or TLS, is not set up yet; until it is, every mail waits.
    """
    text = said.decode(errors="replace") if isinstance(said, bytes) else said
    words = f"{code} {one_line(text, 300)}"
    if code in _WANTS_SIGN_IN:
        return Unavailable("email", words)
    error = Rejected("email", words) if code >= 500 else Unavailable("email", words)
    if of_recipient:
        error.code = RECIPIENT_REJECTED
    return error


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason or 'no reason given'})"
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT_S:.0f} s"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return one_line(str(error), 200) or type(error).__name__
