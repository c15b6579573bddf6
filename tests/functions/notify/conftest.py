"""Fixtures of the way from a signal to people."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from farwatch.domain.people import User
from farwatch.domain.rbac import Role
from farwatch.http.clock import now_ms
from tests.functions.notify.backend import Backend, running_backend
from tests.functions.notify.far_sides import (
    PAGERDUTY_SAYS_YES,
    SLACK_SAYS_YES,
    Mailbox,
    Vendor,
    mail_server,
    pagerduty_faults,
    slack_faults,
    vendor,
)
from tests.gateway import Gateway


@pytest.fixture
def backend(
    postgres_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Backend]:
    """The functions around incidents, wired as the template wires them."""
    with running_backend(postgres_url, redis_url, tmp_path, monkeypatch) as made:
        yield made


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """A mail server without TLS on loopback."""
    with mail_server() as box:
        yield box


@pytest.fixture
def slack() -> Iterator[Vendor]:
    """A stand-in for Slack."""
    with vendor(slack_faults, SLACK_SAYS_YES) as made:
        yield made
        assert made.faults == []


@pytest.fixture
def pagerduty() -> Iterator[Vendor]:
    """A stand-in for PagerDuty."""
    with vendor(pagerduty_faults, PAGERDUTY_SAYS_YES) as made:
        yield made
        assert made.faults == []


@pytest.fixture
def api(backend: Backend) -> Gateway:
    """The API in front of them."""
    from functions.api.handler import api as assembled

    assembled.cache_clear()
    return Gateway(backend.container)


@pytest.fixture
def admin(api: Gateway) -> str:
    """The access token of an administrator."""
    ada = User("user_ada", "ada@example.com", "Ada", Role.ADMIN, now_ms())
    api.container.adapters.people.add(ada, api.container.adapters.passwords.hash("x" * 20))
    return str(api.sign_in("ada@example.com", "x" * 20).body["access_token"])
