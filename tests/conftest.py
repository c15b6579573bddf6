"""Fixtures every test may use. The servers start once per pytest process (per worker under xdist), at first use."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path

import psycopg
import pytest
import redis
from hypothesis import HealthCheck, settings

from infra.local.home import Home, write_private
from tests.gateway import Gateway, running_gateway
from tests.identity_provider import IdentityProvider, identity_provider
from tests.services import PostgresServer, postgres_server, valkey_server
from tests.stack.running import RunningStack, open_folder, running_stack

# A busy machine is slow, and that is no failure.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Hand out together what shares something costly: the whole installation, and the dashboard in a browser.

    Tests of the installation also rely on nobody else's hurting it meanwhile. The groups are made before pytest-xdist
    reads them, in this same hook. Of the other tests those that take long begin first, so that nobody waits for one
    that began last.

    Tests are handed out by their id, so of several with one id only one would run: that stops the run.
    """
    for item in items:
        if "stack" in getattr(item, "fixturenames", ()) or item.get_closest_marker("stack"):
            item.add_marker(pytest.mark.stack)
            item.add_marker(pytest.mark.xdist_group("stack"))
        elif item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.xdist_group("browser"))
        if item.get_closest_marker("stack") or item.get_closest_marker("browser"):
            # Patience with a busy machine costs a quiet one nothing.
            item.add_marker(pytest.mark.timeout(600))
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
    twice = [name for name, count in Counter(item.nodeid for item in items).items() if count > 1]
    if twice:
        raise pytest.UsageError(f"several tests have one id, and only one of them would run: {twice[0]}")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Stop the run when tests are handed out by groups and those of the installation are not in theirs."""
    if not getattr(session.config.option, "loadgroup", False):
        return
    for item in session.items:
        if item.get_closest_marker("stack") and not item.nodeid.endswith("@stack"):
            raise pytest.UsageError(f"{item.nodeid} is not in the group of the whole installation")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """When a test of the installation fails, show what the installation last said: its folder is gone afterwards."""
    report = yield
    running = getattr(item, "funcargs", {}).get("stack")
    if report.failed and isinstance(running, RunningStack):
        report.sections += [(f"the installation's {name}", text) for name, text in running.last_words()]
    return report


@pytest.fixture(scope="session")
def provider() -> Iterator[IdentityProvider]:
    """The identity provider of the whole installation."""
    with identity_provider() as running:
        yield running


@pytest.fixture(scope="session")
def stack(provider: IdentityProvider) -> Iterator[RunningStack]:
    """A whole installation that is ready, shared by all tests that ask for it.

    Its agents sample and send every two seconds: each test waits for a sample or two.
    """
    with open_folder() as folder:
        home = Home(folder / "home")
        home.create()
        write_private(home.secrets, json.dumps({"oidc_client_secret": provider.client_secret}))
        home.path("agent").mkdir(mode=0o700)
        home.path("agent", "agent.toml").write_text("flush_s = 1\n")
        with running_stack(home.root, settings=provider.settings) as running:
            with psycopg.connect(
                running.secrets["database_url"]
            ) as connection:  # the API allows 5 s and more
                connection.execute("INSERT INTO config (key, value) VALUES ('default_interval_s', '2')")
            yield running


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running PostgreSQL with a migrated template database."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """URL of a migrated, empty database of this test's own."""
    with postgres.database() as url:
        yield url


@pytest.fixture(scope="session")
def valkey() -> Iterator[str]:
    """URL of a running Valkey."""
    with valkey_server() as url:
        yield url


@pytest.fixture
def redis_url(valkey: str) -> str:
    """URL of an empty Valkey; emptied again before the next test that asks for it."""
    with redis.Redis.from_url(valkey) as client:
        client.flushall()
    return valkey


@pytest.fixture
def gateway(
    postgres_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Gateway]:
    """The HTTP API in this process, over an empty database and an empty cache."""
    with running_gateway(postgres_url, redis_url, tmp_path, monkeypatch) as client:
        yield client
