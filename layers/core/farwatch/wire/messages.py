"""Queue messages: signals, incident events, pushes and looks as JSON, with a version, a type and a body.

``{"v": 1, "type": "signal", "body": {…}}``. A reader refuses what it does not know, so that a message from a newer
release stays in the queue for a container that understands it instead of being half understood.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from farwatch.domain.events import IncidentEvent
from farwatch.domain.looks import Look
from farwatch.domain.pushes import Push
from farwatch.domain.signals import Signal
from farwatch.errors import FieldError, InvalidInput

VERSION = 1
_TYPES: dict[type[Any], str] = {Signal: "signal", IncidentEvent: "event", Push: "push", Look: "look"}

Message = Signal | IncidentEvent | Push | Look
_T = TypeVar("_T", Signal, IncidentEvent, Push, Look)


class _Envelope(msgspec.Struct, frozen=True):
    v: int
    type: str
    body: msgspec.Raw


_encoder = msgspec.json.Encoder()
_envelope_decoder = msgspec.json.Decoder(_Envelope)
_body_decoders: dict[str, msgspec.json.Decoder[Any]] = {
    name: msgspec.json.Decoder(kind) for kind, name in _TYPES.items()
}


def encode(message: Message) -> str:
    """Return a signal, event, push or look as the text of a queue message."""
    body = msgspec.Raw(_encoder.encode(message))
    return _encoder.encode(_Envelope(VERSION, _TYPES[type(message)], body)).decode()


def decode(text: str | bytes) -> Message:
    """Return the signal, event, push or look in a queue message.

    Raises InvalidInput when the text is not such a message, or of a version or type this release does not know.
    """
    try:
        envelope = _envelope_decoder.decode(text)
        if envelope.v != VERSION or envelope.type not in _body_decoders:
            raise InvalidInput(
                "the message is of a version or type this release does not know",
                [FieldError("type", f"{envelope.type!r} version {envelope.v}")],
                code="unknown_message",
            )
        message: Message = _body_decoders[envelope.type].decode(envelope.body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(
            "the message cannot be read", [FieldError("body", str(error))], code="unreadable_message"
        ) from error
    return message


def _decode_as(kind: type[_T], text: str | bytes) -> _T:
    message = decode(text)
    if not isinstance(message, kind):
        raise InvalidInput(
            f"expected a {_TYPES[kind]} message",
            [FieldError("type", f"is {_TYPES[type(message)]}")],
            code="unknown_message",
        )
    return message


def encode_signal(signal: Signal) -> str:
    """Return a signal as a message of ``signals.fifo``."""
    return encode(signal)


def decode_signal(text: str | bytes) -> Signal:
    """Return the signal in a message; raises InvalidInput when it holds anything else."""
    return _decode_as(Signal, text)


def encode_event(event: IncidentEvent) -> str:
    """Return an incident event as a message of the ``events`` topic."""
    return encode(event)


def decode_event(text: str | bytes) -> IncidentEvent:
    """Return the incident event in a message; raises InvalidInput when it holds anything else."""
    return _decode_as(IncidentEvent, text)


def encode_push(push: Push) -> str:
    """Return a push as a message of the ``pushes`` queue."""
    return encode(push)


def decode_push(text: str | bytes) -> Push:
    """Return the push in a message; raises InvalidInput when it holds anything else."""
    return _decode_as(Push, text)


def encode_look(look: Look) -> str:
    """Return a look as a message of ``looks.fifo``."""
    return encode(look)


def decode_look(text: str | bytes) -> Look:
    """Return the look in a message; raises InvalidInput when it holds anything else."""
    return _decode_as(Look, text)
