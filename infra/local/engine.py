"""The local engine (MiniStack): API Gateway, Lambda, SQS, SNS, Secrets Manager in one process on loopback.

It keeps nothing: every start deploys the template anew, and what was in its queues comes again from the agents'
spools and from the outbox.
"""

from __future__ import annotations

import shutil
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from infra.local.deploy import ACCOUNT, REGION
from infra.local.process import Command

if TYPE_CHECKING:
    from infra.local.home import Home


def command(home: Home, port: int) -> Command:
    """How to run the engine, in an environment of its own: function workers inherit all of it.

    `TMPDIR` is private and emptied here because each worker unpacks its code there again. `AUTH` makes the engine
    check every call of a function against that function's role, so that a missing permission shows here first.
    """
    scratch = home.path("engine")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(mode=0o700)
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_REGION": REGION,
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "AUTH": "true",
        "IOT_MTLS_ENABLED": "0",
        "LAMBDA_ACCOUNT_CONCURRENCY": "24",
        "LAMBDA_WARM_TTL_SECONDS": "120",
        "LOG_LEVEL": "WARNING",
    }
    # -P: the server's own folder must not be where the engine looks for its modules.
    server = Path(__file__).with_name("engine_server.py")
    return Command([sys.executable, "-P", str(server)], environment, scratch)


def answers(port: int, timeout: float = 1.0) -> bool:
    """Whether the engine on the port says that it is well."""
    return fetch_status(f"http://127.0.0.1:{port}/_ministack/health", timeout) == 200


def fetch_status(url: str, timeout: float = 1.0) -> int:
    """The HTTP status of a GET of `url`; 0 when nothing answered in time."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:  # noqa: S310 - our own loopback addresses
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, ValueError):
        return 0
