"""Plain messages to one person: invitations and password resets, through the mail server that alerts use."""

from __future__ import annotations

import smtplib
from collections.abc import Callable
from email.message import EmailMessage
from email.utils import formatdate, make_msgid, parseaddr

from farwatch.adapters.channels.email import MailServer, connect
from farwatch.errors import Misconfigured, Unavailable
from farwatch.observability import logger


class SmtpMail:
    """Implements ``farwatch.ports.mail.Mail``; ``server`` returns the mail server of the moment, or None."""

    def __init__(self, server: Callable[[], MailServer | None]) -> None:
        self._server = server

    @property
    def configured(self) -> bool:
        """Whether messages can be sent at all."""
        return self._server() is not None

    def send(self, to: str, subject: str, text: str) -> None:
        """Send a plain-text message; raises Unavailable when the server does not take it."""
        server = self._server()
        if server is None:
            logger.warning("no mail server is configured; a message was not sent", extra={"subject": subject})
            return
        domain = parseaddr(server.sender)[1].rpartition("@")[2] or "farwatch.invalid"
        message = EmailMessage()
        message["From"] = server.sender
        message["To"] = to
        message["Subject"] = subject
        message["Date"] = formatdate()
        message["Message-ID"] = make_msgid(domain=domain)
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text)
        try:
            with connect(server) as connection:
                connection.send_message(message)
        except (OSError, smtplib.SMTPException, Misconfigured) as error:
            raise Unavailable("mail server", type(error).__name__) from error
