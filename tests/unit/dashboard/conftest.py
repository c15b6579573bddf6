from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from dashboard.client import Client, open_http
from dashboard.session import SessionStore
from dashboard.settings import Settings
from tests.unit.dashboard.fake_api import FakeApi

SETTINGS = Settings("http://api.test")


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
def http(api: FakeApi) -> Iterator[httpx.Client]:
    with open_http(SETTINGS.api_url, api.transport()) as client:
        yield client


@pytest.fixture
def client(http: httpx.Client) -> Client:
    return Client(http, sleep=lambda _: None)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[SessionStore]:
    """A session store of this test's own, in place of the process's."""
    made = SessionStore()
    for module in ("session", "routes", "context"):
        monkeypatch.setattr(f"dashboard.{module}.STORE", made)
    yield made
    made.close()
