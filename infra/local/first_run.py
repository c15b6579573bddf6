"""What an installation needs once, an administrator and this host enrolled, and how its own agent runs."""

from __future__ import annotations

import secrets
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from infra.local.home import CHECKOUT, Home
from infra.local.parts import Part, plain_environment
from infra.local.process import Command

if TYPE_CHECKING:
    from collections.abc import Callable

    from farwatch.bootstrap import Container

ADMINISTRATOR = "admin@farwatch.local"


def first_administrator(home: Home, tell: Callable[[str], None]) -> None:
    """Make the first administrator unless there is a user, and ``tell`` a person how to sign in (or an empty text).

    The password is made here, shown once and kept nowhere. It is told before it holds: told in vain it is made anew at the
    next start, while one that nobody heard would lock everybody out for good.
    """
    from farwatch.domain.rbac import COMMAND_LINE
    from farwatch.errors import Conflict

    made = container(home)
    if made.adapters.people.count():
        tell("")
        return
    password = "-".join(secrets.token_hex(2) for _ in range(5))
    tell(
        f"\n  Sign in as {ADMINISTRATOR} with the password {password}\n"
        "  It is shown this once; change it after signing in."
    )
    with suppress(Conflict):  # somebody else was quicker, and has said theirs
        made.auth.create_first_admin(COMMAND_LINE, ADMINISTRATOR, "Administrator", password, _now())


def stock_rules(home: Home) -> None:
    """Install the stock rules that this installation has never had."""
    from farwatch.domain.stock_rules import STOCK_RULES

    container(home).adapters.rules.install_stock(STOCK_RULES)


def enrol_this_host(home: Home, api_url: str) -> None:
    """Enrol the machine this runs on, unless its agent has a credential for a host that the database knows.

    Raises `collector_agent.enrolment.EnrolmentError` when the API refuses.
    """
    from collector_agent import state
    from collector_agent.enrolment import describe_host, enrol
    from collector_agent.transport import Transport
    from farwatch.domain.rbac import COMMAND_LINE

    made = container(home)
    folder = home.path("agent")
    credentials = state.load_credentials(folder)
    if credentials is not None and made.adapters.credentials.agent(credentials.host_id) is not None:
        return
    token = made.enrol.create_enrolment_token(COMMAND_LINE, _now(), name="this machine", lifetime_ms=120_000)
    transport = Transport(api_url, timeout=30.0)
    state.save_credentials(folder, enrol(transport, api_url, token.text, describe_host(), {"env": "local"}))


def agent_part(home: Home, api_url: str) -> Part:
    """The agent of this host. Its settings are in `agent/agent.toml` of the data folder, empty at first."""

    def command() -> Command:
        folder = home.path("agent")
        settings = folder / "agent.toml"
        if not settings.exists():
            settings.write_text("# Settings of this host's agent; docs/agent.md lists them.\n")
        environment = {
            **plain_environment(),
            "FARWATCH_AGENT_SERVER": api_url,
            "FARWATCH_AGENT_STATE_DIR": str(folder),
        }
        argv = [sys.executable, "-m", "collector_agent", "--config", str(settings), "run"]
        return Command(argv, environment, CHECKOUT)

    # It has nothing that could be asked; one that cannot run ends at once and is started again, which is said.
    return Part("agent", "Agent", "samples this host", command, lambda: True)


def enrol_demo(home: Home, api_url: str) -> None:
    """Give the demonstration fleet its identities, unless the database knows them already.

    Raises `infra.local.demo.DemoError` when the API refuses.
    """
    from farwatch.domain.rbac import COMMAND_LINE
    from infra.local import demo
    from infra.local.demo.feed import demo_folder

    made = container(home)
    folder = demo_folder(home)
    folder.mkdir(mode=0o700, exist_ok=True)
    demo.enrol(
        api_url=api_url,
        folder=folder,
        new_token=lambda: (
            made.enrol.create_enrolment_token(COMMAND_LINE, _now(), name="demo", max_uses=20).text
        ),
        is_known=lambda host_id: made.adapters.credentials.agent(host_id) is not None,
    )


def demo_part(home: Home, api_url: str) -> Part:
    """The process that sends live samples for the demonstration fleet."""
    argv = [sys.executable, "-m", "infra.local.demo.feed", "--home", str(home.root), "--api-url", api_url]
    return Part(
        "demo",
        "Demo fleet",
        "20 simulated hosts send samples",
        lambda: Command(argv, _our_code(plain_environment()), CHECKOUT),
        lambda: True,
    )


def demo_history(home: Home) -> Command:
    """How to write the history of the demonstration fleet; the process ends when it is written."""
    argv = [sys.executable, "-m", "infra.local.load_demo", str(home.root)]
    return Command(argv, _our_code(plain_environment()), CHECKOUT)


def _our_code(environment: dict[str, str]) -> dict[str, str]:
    """The environment, with this checkout on the path also where it was not installed."""
    return {**environment, "PYTHONPATH": f"{CHECKOUT}:{CHECKOUT / 'layers' / 'core'}"}


def container(home: Home) -> Container:
    """What the back end's own code needs to work on this installation from outside a function."""
    from farwatch.bootstrap import Container
    from farwatch.settings import Settings

    return Container(Settings(secrets_file=home.secrets))


def _now() -> int:
    return time.time_ns() // 1_000_000
