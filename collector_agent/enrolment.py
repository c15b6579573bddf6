"""Enrolment: trading a token for an identity of this host."""

from __future__ import annotations

import json
import os
import platform
import socket
from collections.abc import Mapping
from typing import Any

import psutil

from collector_agent import __version__
from collector_agent.agent import machine_id
from collector_agent.state import Credentials
from collector_agent.transport import Transport, TransportError

ENROL_PATH = "/api/v1/agents/enrol"


class EnrolmentError(Exception):
    """The back end did not enrol this host; the message says why."""


def describe_host(hostname: str | None = None) -> dict[str, Any]:
    """Return what the back end is told about this host once: name, system, kernel, processors, memory."""
    import hashlib

    # The machine id is meant to stay on the host (machine-id(5)); a hash of it identifies as well.
    marker = machine_id()
    return {
        "hostname": hostname or socket.gethostname(),
        "machine_id": hashlib.sha256(f"farwatch:{marker}".encode()).hexdigest()[:32] if marker else "",
        "os": _os_name(),
        "kernel": platform.release(),
        "cpus": os.cpu_count() or 1,
        "memory_bytes": psutil.virtual_memory().total,
        "agent_version": __version__,
    }


def enrol(
    transport: Transport, server: str, token: str, host: Mapping[str, Any], labels: Mapping[str, str]
) -> Credentials:
    """Enrol ``host`` and return its credentials; raises :class:`EnrolmentError`."""
    body = json.dumps({"token": token, **host, "labels": dict(labels)}).encode()
    try:
        answer = transport.request("POST", ENROL_PATH, body=body, content_type="application/json")
    except TransportError as error:
        raise EnrolmentError(f"{server} cannot be reached: {error}") from error
    values = answer.json()
    if answer.status not in (200, 201) or values is None:
        raise EnrolmentError(f"{server} refused: {answer.explain()}")
    host_id, credential, interval = values.get("host_id"), values.get("credential"), values.get("interval_s")
    if not isinstance(host_id, str) or not isinstance(credential, str) or not host_id or not credential:
        raise EnrolmentError(f"{server} does not answer as a Farwatch server does; is the URL right?")
    known = isinstance(interval, int | float) and not isinstance(interval, bool) and 1 <= interval <= 3600
    return Credentials(
        server, host_id, credential, float(interval) if known and interval is not None else None
    )


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return f"{platform.system()} {platform.release()}"
