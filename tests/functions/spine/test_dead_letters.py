"""Dead letters on the health page, counted where they lie."""

from __future__ import annotations

from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from farwatch.adapters.sqs import DEAD_LETTERS
from farwatch.bootstrap import Container
from farwatch.domain.rbac import Role
from functions.api.handler import api, handler
from tests.api_events import answer, as_user, http_event


@pytest.fixture(autouse=True)
def fresh_api(made: Container) -> None:
    api.cache_clear()


def dead_letters() -> dict[str, Any]:
    """Return the part of that name on the health page."""
    event = http_event("GET", "/api/v1/health", verdict=as_user(Role.ADMIN))
    response = handler(event, LambdaContext())
    assert response["statusCode"] == 200
    (found,) = [part for part in answer(response)["parts"] if part["name"] == "dead letters"]
    return dict(found)


def test_the_health_page_says_how_many_messages_died_and_where(made: Container) -> None:
    sqs = made.adapters.sqs
    urls = {
        name: sqs.create_queue(
            QueueName=name, Attributes={"FifoQueue": "true"} if name.endswith(".fifo") else {}
        )["QueueUrl"]
        for name in DEAD_LETTERS
    }
    assert (dead_letters()["status"], dead_letters()["detail"]) == ("ok", "")
    for number in range(2):
        sqs.send_message(QueueUrl=urls["notify-email-dead"], MessageBody=f"event {number}")
    found = dead_letters()
    assert (found["status"], found["detail"]) == ("down", "2 in notify-email-dead")


def test_an_installation_that_does_not_say_where_its_queues_are_is_told_so(
    made: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(made, "settings", made.settings.model_copy(update={"samples_queue_url": ""}))
    found = dead_letters()
    assert (found["status"], "SAMPLES_QUEUE_URL must end in" in found["detail"]) == ("down", True)


def test_queues_that_cannot_be_asked_are_a_part_that_is_down(made: Container) -> None:
    found = dead_letters()
    assert found["status"] == "down"
    assert "dead letters cannot be counted" in found["detail"]
