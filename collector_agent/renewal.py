"""Renewal: a fresh credential for this agent, once the back end says that it is time.

It can be interrupted anywhere.  The new credential is on disk, and synced, before it is used for the first time; until
the back end has accepted it once, the earlier one is kept beside it, and the back end ends that one only after the
first use of the new one.  So whatever is lost on the way, one of the two on disk is good.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from pathlib import Path

from collector_agent import state
from collector_agent.log import Log
from collector_agent.state import Credentials, StateError
from collector_agent.transport import Answer, Transport, TransportError

RENEW_PATH = "/api/v1/agents/credential"
_NEVER = float("inf")
# A fleet is told all at once when somebody lowers the age; it need not obey all at once.
_SPREAD = 300.0
_RETRY_FIRST, _RETRY_MAX = 60.0, 3600.0
_FAILURES_WORTH_SAYING = 3


class RenewalError(Exception):
    """The credential was not renewed; the message says why.  ``lasting``: trying again alone will not help."""

    def __init__(self, message: str, *, lasting: bool = True) -> None:
        super().__init__(message)
        self.lasting = lasting


class Renewal:
    """Holds the credential of one agent and replaces it.  All times are monotonic seconds.

    Not for several threads: the sender's thread alone calls it.  ``error`` is for people, empty while all is well.
    """

    def __init__(
        self,
        state_dir: Path,
        credentials: Credentials,
        transport: Transport,
        log: Log,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._state_dir = state_dir
        self._held = credentials
        self._ours = {credentials.credential, credentials.previous} - {""}
        self._transport = transport
        self._log = log
        self._uniform = uniform
        self._at = _NEVER
        self._failures = 0
        self._tried_other = False
        # Sent again with every attempt until one is kept: an answer that was lost is then given once more.
        self._key = uuid.uuid4().hex
        self.error = ""

    @property
    def credential(self) -> str:
        """The credential to send."""
        return self._held.credential

    def told(self, now: float, *, due: bool) -> None:
        """Take in what the back end said: whether it is time for another credential."""
        if not due:
            self._at, self._failures, self.error = _NEVER, 0, ""
        elif self._at == _NEVER:
            self._at = now + self._uniform(0.0, _SPREAD)

    def accepted(self) -> None:
        """Take in that the credential was accepted: the one kept beside it is no longer needed."""
        self._tried_other = False
        if not self._held.previous:
            return
        self._held = self._held._replace(previous="")
        try:
            self._keep(self._held)
        except (OSError, StateError, RenewalError) as error:
            # What stays on disk is the good credential and a worthless one: nothing is lost by it.
            self._log.warning("the earlier credential cannot be removed", error=str(error))

    def refused(self) -> bool:
        """Take in that the credential was refused; return whether there is another to try.

        That is the case only until a new credential has been accepted: it and the earlier one are tried in turn.
        """
        if not self._held.previous or self._tried_other:
            self._tried_other = False
            return False
        self._tried_other = True
        self._held = self._held._replace(credential=self._held.previous, previous=self._held.credential)
        self._log.warning("credential was refused, the one kept beside it is tried")
        return True

    def step(self, now: float) -> None:
        """Renew the credential if that is due at ``now``; never raises."""
        if now < self._at:
            return
        try:
            self._renew()
        except TransportError as error:
            self._failed(now, str(error), lasting=False)
        except OSError as error:
            reason = (
                f"{self._state_dir} cannot be written ({error.strerror}), so the present one stays in use"
            )
            self._failed(now, reason, lasting=True)
        except StateError as error:
            self._failed(now, str(error), lasting=True)
        except RenewalError as error:
            self._failed(now, str(error), lasting=error.lasting)
        else:
            self._at, self._failures, self.error = _NEVER, 0, ""
            self._log.info("credential renewed")

    def _renew(self) -> None:
        self._keep(self._held)  # shows, before anything is asked, that an answer could be kept
        answer = self._transport.request(
            "POST", RENEW_PATH, credential=self.credential, headers={"Idempotency-Key": self._key}
        )
        renewed = _credential_in(answer, self._held.host_id)
        replaced = self._held._replace(credential=renewed, previous=self._held.credential)
        self._keep(replaced)
        self._held = replaced
        self._key = uuid.uuid4().hex

    def _keep(self, credentials: Credentials) -> None:
        """Put the credentials on disk, unless somebody has enrolled this host anew meanwhile."""
        found = state.load_credentials(self._state_dir)
        if found is None or found.credential not in self._ours:
            raise RenewalError("credentials.json was replaced while this agent ran: restart it")
        self._ours.add(credentials.credential)  # a write that fails may still have replaced the file
        state.save_credentials(self._state_dir, credentials)

    def _failed(self, now: float, reason: str, *, lasting: bool) -> None:
        delay = min(_RETRY_MAX, _RETRY_FIRST * 2.0 ** min(self._failures, 10))
        self._failures += 1
        self._at = now + self._uniform(0.5, 1.5) * delay
        if lasting or self._failures >= _FAILURES_WORTH_SAYING:
            self.error = reason
        self._log.warning("credential could not be renewed, the present one stays in use", error=reason)


def _credential_in(answer: Answer, host_id: str) -> str:
    """Return the credential that the back end gave; raises :class:`RenewalError` when it gave none for this host."""
    body = answer.json() if answer.status == 200 else None
    if body is None:
        raise RenewalError(
            answer.explain(), lasting=answer.status in (401, 403) and answer.problem() is not None
        )
    credential = body.get("credential")
    if body.get("host_id") != host_id or not isinstance(credential, str) or not credential.startswith("fwa_"):
        raise RenewalError("the server does not answer as a Farwatch server does", lasting=False)
    return credential
