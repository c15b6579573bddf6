"""The demonstration as a part of a one-machine installation."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from infra.local.demo.feed import demo_folder
from infra.local.demo.load import enrol
from infra.local.home import CHECKOUT, Home
from infra.local.parts import Part, plain_environment
from infra.local.process import Command

if TYPE_CHECKING:
    from farwatch.bootstrap import Container


def container(home: Home) -> Container:
    """Return the use cases and stores of the installation in ``home``."""
    from farwatch.bootstrap import Container
    from farwatch.settings import Settings

    return Container(Settings(secrets_file=home.secrets))


def enrol_fleet(home: Home, api_url: str) -> int:
    """Give the fleet its identities unless it has them; return how many hosts were enrolled. Takes about a second.

    Raises :class:`infra.local.demo.DemoError` when the API refuses.
    """
    from farwatch.domain.rbac import COMMAND_LINE

    made = container(home)

    def new_token() -> str:
        now = time.time_ns() // 1_000_000
        token = made.enrol.create_enrolment_token(
            COMMAND_LINE, now, name="demonstration", lifetime_ms=300_000, max_uses=20
        )
        return token.text

    return enrol(
        api_url=api_url,
        folder=demo_folder(home),
        new_token=new_token,
        is_known=lambda host_id: made.credentials.agent(host_id) is not None,
    )


def demo_part(home: Home, api_url: str) -> Part:
    """The feeder: it sends for the fleet at once, and writes the history beside that."""

    def command() -> Command:
        argv = [sys.executable, "-m", "infra.local.demo.feed", "--home", str(home.root), "--api-url", api_url]
        # The checkout's own packages, also where they are not installed in the environment.
        environment = {
            **plain_environment(),
            "PYTHONPATH": os.pathsep.join((str(CHECKOUT), str(CHECKOUT / "layers" / "core"))),
        }
        return Command([*argv, "--with-history"], environment, CHECKOUT)

    return Part("demo", "Demo fleet", "20 simulated hosts", command, lambda: True)
