from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from streamlit.components.v2 import manifest_scanner

from dashboard.client import Client, open_http
from dashboard.session import SessionStore
from dashboard.settings import Settings
from tests.unit.dashboard.fake_api import FakeApi

SETTINGS = Settings("http://api.test")


@pytest.fixture(autouse=True, scope="session")
def _components_are_looked_for_once() -> Iterator[None]:
    """Each ``AppTest`` starts Streamlit anew, which then reads what is known of every installed package: half a second."""
    found = manifest_scanner.scan_component_manifests()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_scanner, "scan_component_manifests", lambda: found)
        yield


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
