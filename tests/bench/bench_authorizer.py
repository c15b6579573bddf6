"""How long the authoriser takes when it is warm, and how soon a revoked credential is refused.

Run by ``./farwatch bench authorizer [warm] [revoked]``; both take about two minutes, most of them waiting for the
gateway's cache to end. ``warm`` calls the function's handler in this process, over a real PostgreSQL and Valkey, for each
kind of credential, with its row in the cache and without. ``revoked`` runs a whole installation, revokes an agent and a
session, and asks until the gateway has heard of it.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from farwatch.domain.rbac import Role
from farwatch.observability import logger
from tests.gateway import Gateway, running_gateway
from tests.services import postgres_server, valkey_server
from tests.stack.running import RunningStack, running_stack

CALLS = 2000
P95_MS, REVOKED_S = 10.0, 60.0


def main() -> int:
    """Measure, print, and return 0 when both targets are met."""
    parts = set(sys.argv[1:]) or {"warm", "revoked"}
    with tempfile.TemporaryDirectory(prefix="farwatch-bench-") as folder:
        root = Path(folder)
        root.chmod(0o711)
        worst = _warm(root) if "warm" in parts else 0.0
        slowest = _revoked(root) if "revoked" in parts else 0.0
    return 0 if worst <= P95_MS and slowest <= REVOKED_S else 1


def _warm(root: Path) -> float:
    with (
        postgres_server() as server,
        valkey_server() as redis_url,
        pytest.MonkeyPatch.context() as patch,
        running_gateway(server.create_database(), redis_url, root, patch) as gateway,
    ):
        admin = gateway.as_role(Role.ADMIN)
        wanted = {"name": "bench", "scopes": ["hosts:read"]}
        token = gateway("POST", "/api/v1/tokens", wanted, token=admin).body["token"]
        credentials = {"person": admin, "agent": gateway.enrolled()[1], "API token": token}
        logger.setLevel("WARNING")  # writing its log line is the runtime's work, not the handler's
        return max(_timed(gateway, kind, credential) for kind, credential in credentials.items())


def _timed(gateway: Gateway, kind: str, credential: str) -> float:
    from functions.authorizer.handler import handler

    event = {"version": "2.0", "headers": {"authorization": f"Bearer {credential}"}}
    redis = gateway.container.adapters.redis
    worst = 0.0
    for cached in (True, False):
        took = []
        for _ in range(CALLS):
            if not cached:
                redis.delete(
                    *(f"credential:{kept}:{credential.split('_')[1]}" for kept in ("agent", "token"))
                )
            began = time.perf_counter()
            answer = handler(event, None)
            took.append((time.perf_counter() - began) * 1000)
            if answer["context"]["kind"] == "refused":
                raise RuntimeError(f"{kind}: {answer}")
        took.sort()
        p95 = took[round(0.95 * len(took)) - 1]
        print(
            f"{kind:<10} {'row cached' if cached else 'row from the database':<22} median {statistics.median(took):.2f} ms,"
            f" p95 {p95:.2f} ms, worst {took[-1]:.1f} ms over {CALLS} calls; target {P95_MS:.0f} ms at p95"
        )
        worst = max(worst, p95)
        if kind == "person":
            break  # sessions are in Valkey only
    return worst


def _revoked(root: Path) -> float:
    home = root / "home"
    home.mkdir(mode=0o755)
    with running_stack(home) as stack:
        agent = _time_to_refusal(stack, "agent", *_an_agent(stack))
        session = _time_to_refusal(stack, "session", *_a_session(stack))
    return max(agent, session)


def _an_agent(stack: RunningStack) -> tuple[str, str, Callable[[], int]]:
    made = stack.call("POST", "/api/v1/enrolment-tokens", {})[1]
    enrolled = stack.call(
        "POST", "/api/v1/agents/enrol", {"token": made["token"], "hostname": "bench"}, token=""
    )[1]
    path = f"/api/v1/agents/{enrolled['host_id']}/revoke"
    progress = "/api/v1/metrics/batches/progress?spool_id=bench"
    return progress, enrolled["credential"], lambda: stack.call("POST", path)[0]


def _a_session(stack: RunningStack) -> tuple[str, str, Callable[[], int]]:
    email, password = stack.admin
    signed_in = stack.call("POST", "/api/v1/auth/login", {"email": email, "password": password}, token="")[1]
    token = str(signed_in["access_token"])
    return "/api/v1/hosts", token, lambda: stack.call("POST", "/api/v1/auth/logout", token=token)[0]


def _time_to_refusal(
    stack: RunningStack, what: str, path: str, credential: str, revoke: Callable[[], int]
) -> float:
    """Return the seconds from revoking until the gateway refuses, when the credential is used all the time."""
    if stack.call("GET", path, token=credential)[0] != 200:
        raise RuntimeError(f"the {what} is not accepted to begin with")
    if revoke() != 204:
        raise RuntimeError(f"the {what} was not revoked")
    began = time.monotonic()
    while stack.call("GET", path, token=credential)[0] != 401:
        if time.monotonic() - began > 2 * REVOKED_S:
            raise RuntimeError(f"the {what} is still accepted")
        time.sleep(0.2)
    took = time.monotonic() - began
    print(f"revoked {what}: refused after {took:.1f} s; target {REVOKED_S:.0f} s")
    return took


if __name__ == "__main__":
    raise SystemExit(main())
