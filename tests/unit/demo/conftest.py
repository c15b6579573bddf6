"""What the tests of the demonstration share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.agent.backend import Backend


@pytest.fixture
def backend() -> Iterator[Backend]:
    """A back end that speaks the agents' wire."""
    server = Backend()
    yield server
    server.close()
