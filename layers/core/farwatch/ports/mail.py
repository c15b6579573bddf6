"""Messages to a person's mailbox that are no notifications: invitations and password resets."""

from __future__ import annotations

from typing import Protocol


class Mail(Protocol):
    """A mail server, or none."""

    @property
    def configured(self) -> bool:
        """Whether messages can be sent at all."""
        ...

    def send(self, to: str, subject: str, text: str) -> None:
        """Send a plain-text message; without a mail server do nothing but log that it was not sent (without its text)."""
        ...
