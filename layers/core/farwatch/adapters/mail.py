"""Plain messages over SMTP: invitations and password resets."""

from __future__ import annotations

import smtplib
import ssl
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

from farwatch.errors import Unavailable
from farwatch.observability import logger
from farwatch.settings import SmtpSecrets

TIMEOUT_S = 10


class SmtpMail:
    """Implements ``farwatch.ports.mail.Mail``; an empty ``host`` means that there is no mail server."""

    def __init__(self, smtp: SmtpSecrets) -> None:
        self._smtp = smtp

    @property
    def configured(self) -> bool:
        """Whether messages can be sent at all."""
        return bool(self._smtp.host)

    def send(self, to: str, subject: str, text: str) -> None:
        """Send a plain-text message; raises Unavailable when the server does not take it."""
        if not self.configured:
            logger.warning("no mail server is configured; a message was not sent", extra={"subject": subject})
            return
        message = EmailMessage()
        message["From"] = self._smtp.sender
        message["To"] = to
        message["Subject"] = subject
        message["Date"] = formatdate()
        message["Message-ID"] = make_msgid(domain="farwatch")
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text)
        try:
            with self._connected() as server:
                if self._smtp.username:
                    server.login(self._smtp.username, self._smtp.password)
                server.send_message(message)
        except (OSError, smtplib.SMTPException) as error:
            raise Unavailable("smtp", type(error).__name__) from error

    def _connected(self) -> smtplib.SMTP:
        smtp = self._smtp
        if smtp.security == "tls":
            return smtplib.SMTP_SSL(
                smtp.host, smtp.port, timeout=TIMEOUT_S, context=ssl.create_default_context()
            )
        server = smtplib.SMTP(smtp.host, smtp.port, timeout=TIMEOUT_S)
        if smtp.security == "starttls":
            server.starttls(context=ssl.create_default_context())
        return server
