"""The agent's own sender and renewal over the real API functions, without a network between them."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from collector_agent import state
from collector_agent.log import Log
from collector_agent.renewal import Renewal
from collector_agent.sender import Sender
from collector_agent.spool import Spool
from collector_agent.state import Credentials
from collector_agent.transport import Answer, Transport, TransportError
from tests.api_events import http_event
from tests.gateway import Gateway
from tests.unit.agent.payloads import payload

Step = Callable[[str], None]


class Wire(Transport):
    """Carries the agent's requests to the functions as the gateway would, and tells ``step`` before and after."""

    def __init__(self, gateway: Gateway, step: Step) -> None:
        super().__init__("https://farwatch.example")
        self._gateway = gateway
        self._step = step
        self.renewals = 0

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        content_type: str = "application/octet-stream",
        credential: str | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> Answer:
        name = "renew" if path.endswith("/credential") else "report"
        self._step(f"before {name}")
        answer = self._serve(method, path, body, credential, headers)
        self.renewals += name == "renew"
        self._step(f"after {name}")
        return answer

    def _serve(
        self, method: str, path: str, body: bytes | None, credential: str | None, headers: Mapping[str, str]
    ) -> Answer:
        from functions.ingest.handler import handler

        if path.endswith("/credential"):
            given = self._gateway(method, path, token=credential, headers=headers)
        else:
            route, _, query = path.partition("?")
            pairs = dict([query.split("=")]) if query else None
            verdict = self._gateway.verdict(credential)
            event = http_event(method, route, query=pairs, verdict=verdict)
            if body is not None:
                event |= {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
            given = self._gateway.send(event, handler)
        return Answer(given.status, given.headers["Content-Type"], None, given.raw.encode())


class RenewingAgent:
    """What of an agent has to do with its credential. A new one over the same folder is the agent restarted."""

    def __init__(self, gateway: Gateway, folder: Path, step: Step = lambda _: None) -> None:
        held = state.load_credentials(folder)
        assert held is not None
        self.lines = io.StringIO()
        self._ahead = 0.0
        log = Log("info", stream=self.lines)
        self.wire = Wire(gateway, step)
        self.renewal = Renewal(folder, held, self.wire, log)
        spool = Spool(None, log)
        spool.append(payload(1))
        self.sender = Sender(
            spool,
            self.wire,
            log,
            host_id=held.host_id,
            credential=held.credential,
            own=dict,
            renewal=self.renewal,
        )

    def report(self, times: int = 1) -> None:
        """Do what the sender's thread does, with every wait over."""
        for _ in range(times):
            self._ahead += 1e6
            self.sender.step(time.monotonic() + self._ahead)

    @property
    def accepted(self) -> bool:
        """Whether the back end took what was reported last."""
        return not self.sender.learned.unauthorised and not self.sender.learned.last_error


def enrolled_agent(gateway: Gateway, folder: Path, hostname: str = "web-1") -> str:
    """Enrol a host, put its credentials into ``folder`` as the agent does, and return its id."""
    host_id, credential = gateway.enrolled(hostname)
    state.save_credentials(folder, Credentials("https://farwatch.example", host_id, credential))
    return host_id


def grow_old(gateway: Gateway, host_id: str, days: float = 40) -> None:
    """Let the host's credential in use have been issued ``days`` ago."""
    with gateway.container.adapters.database.transaction() as connection:
        connection.execute(
            """UPDATE agent_credentials SET issued_at = now() - make_interval(secs => %s)
               WHERE host_id = %s AND activated_at IS NOT NULL AND superseded_at IS NULL""",
            (days * 86_400, host_id),
        )
    forget_cached(gateway)


def forget_cached(gateway: Gateway) -> None:
    """Let the half minute pass for which rows are cached."""
    redis = gateway.container.adapters.redis
    for name in redis.keys("credential:*"):
        redis.delete(name)


def on_disk(folder: Path) -> Credentials:
    """Return what the agent would start with."""
    held = state.load_credentials(folder)
    assert held is not None
    return held


def fail_with(error: BaseException, at: str, times: int = 1) -> Step:
    """Return a step that raises ``error`` at the place named, the first ``times`` times."""
    left = [times]

    def step(name: str) -> None:
        if name == at and left[0] > 0:
            left[0] -= 1
            raise error

    return step


NO_ANSWER = TransportError("no answer in time")


def credentials_of(gateway: Gateway, host_id: str) -> list[dict[str, Any]]:
    """Return the host's rows, oldest first."""
    with gateway.container.adapters.database.transaction() as connection:
        return connection.execute(
            "SELECT * FROM agent_credentials WHERE host_id = %s ORDER BY issued_at", (host_id,)
        ).fetchall()
