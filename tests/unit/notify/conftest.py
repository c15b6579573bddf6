"""The world of these tests, on a fresh database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.notify.world import World


@pytest.fixture
def world(postgres_url: str) -> Iterator[World]:
    """A back end with one operator, one Slack and one PagerDuty destination."""
    made = World(postgres_url)
    populate(made)
    yield made
    made.database.close()


def populate(world: World) -> None:
    """Give a world the people and channels most tests want."""
    from farwatch.domain.routing import Channel

    world.add_user("usr_ada")
    world.add_channel(Channel.SLACK, "chan_slack", secret={"webhook_url": "https://example.test/hook"})
    world.add_channel(Channel.PAGERDUTY, "chan_pd", secret={"routing_key": "k" * 32})
