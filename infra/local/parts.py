"""The parts of an installation: how each is started, how one knows that it works, what it needs before others use it."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from infra.local import engine, postgres, single_sign_on, valkey
from infra.local.home import CHECKOUT, Home, Ports
from infra.local.process import Command

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.local.keys import Keys


@dataclass(frozen=True)
class Part:
    """One process of the installation.

    `command` prepares the part's files and says how to start it; `answers` whether it works, asked every few
    milliseconds for at most `patience` seconds; `settle` does what has to follow each start. All three may block.
    `title` and `where` are for people.
    """

    name: str
    title: str
    where: str
    command: Callable[[], Command]
    answers: Callable[[], bool]
    settle: Callable[[], None] | None = None
    patience: float = 60.0


def postgres_part(home: Home, ports: Ports, keys: Keys, document: dict[str, Any]) -> Part:
    """PostgreSQL, provisioned and migrated after each start."""

    def settle() -> None:
        from farwatch.adapters.postgres.migrate import migrate

        postgres.provision(ports.postgres, keys.superuser_password, keys.database_password)
        migrate(document["database_url"])

    return Part(
        "postgres",
        "PostgreSQL",
        f"127.0.0.1:{ports.postgres}",
        lambda: postgres.Postgres.prepare(home, keys, ports.postgres).command(),
        lambda: postgres.answers(ports.postgres),
        settle,
    )


def valkey_part(home: Home, ports: Ports, keys: Keys) -> Part:
    """Valkey."""
    return Part(
        "valkey",
        "Valkey",
        f"127.0.0.1:{ports.valkey}",
        lambda: valkey.command(home, ports.valkey, keys.valkey_password),
        lambda: valkey.answers(ports.valkey, keys.valkey_password),
    )


def engine_part(home: Home, ports: Ports, document: dict[str, Any]) -> Part:
    """The local engine, with template.yaml deployed after each start."""

    provider = single_sign_on.parameters()

    def deploy() -> None:
        from infra.local.deploy import deploy

        deploy(
            root=CHECKOUT,
            build=home.path("build"),
            endpoint=f"http://127.0.0.1:{ports.engine}",
            parameters={
                "SecretsId": "farwatch",
                "EngineAddress": f"127.0.0.1:{ports.engine}",
                "DashboardUrl": ports.urls()["dashboard_url"],
                "EnvironmentName": "local",
                "Tracing": "PassThrough",
                # Every execution environment is a process here: a burst must not start one for each caller.
                "ReservedConcurrency": "machine",
                **provider,
            },
            secret=document,
        )

    return Part(
        "engine",
        "Back end",
        ports.urls()["api_url"],
        lambda: engine.command(home, ports.engine),
        lambda: engine.answers(ports.engine),
        deploy,
        patience=30.0,
    )


def dashboard_part(home: Home, ports: Ports, keys: Keys, document: dict[str, Any]) -> Part:
    """The Streamlit dashboard. Secrets of single sign-on are in a file, so that they are not in its environment."""
    provider = single_sign_on.dashboard_file(home, ports, keys, document)
    urls = ports.urls()
    argv = [
        *(sys.executable, "-m", "streamlit", "run", str(CHECKOUT / "dashboard" / "app.py")),
        *("--server.address", "127.0.0.1", "--server.port", str(ports.dashboard)),
        *("--server.headless", "true", "--server.fileWatcherType", "none"),
        *("--browser.gatherUsageStats", "false"),
    ]
    environment = {
        **plain_environment(),
        "FARWATCH_API_URL": urls["api_url"],
        "FARWATCH_WS_URL": urls["ws_url"],
        **({"FARWATCH_OIDC_FILE": provider} if provider else {}),
    }
    return Part(
        "dashboard",
        "Dashboard",
        urls["dashboard_url"],
        lambda: Command(argv, environment, CHECKOUT),
        lambda: engine.fetch_status(f"{urls['dashboard_url']}/_stcore/health") == 200,
    )


def plain_environment() -> dict[str, str]:
    """The caller's environment without what would change how our programs behave."""
    dropped = ("AWS_", "FARWATCH_", "PYTHON", "STREAMLIT_", "SECRETS_", "PG", "OTEL_")
    return {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
