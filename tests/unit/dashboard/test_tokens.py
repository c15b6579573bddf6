"""The page of API tokens, against the double of the API."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.session import Session
from tests.unit.dashboard.fake_api import FakeApi
from tests.unit.dashboard.test_managing import pressed
from tests.unit.dashboard.test_pages import Open, button, components, open_page, session, stand

__all__ = ["open_page", "pressed", "session", "stand"]  # fixtures


def test_tokens_that_work_are_listed_with_their_owners_and_ended_ones_on_demand(open_page: Open) -> None:
    rows = components(open_page("tokens"))[0]["rows"]
    assert [row["cells"][0] for row in rows] == ["grafana", "pipeline"]
    assert [row["cells"][2] for row in rows] == ["you", "Operator"]
    assert [row["cells"][3][2] for row in rows] == ["Works", "Ends soon"]
    every = components(open_page("tokens", ended="true"))[0]["rows"]
    assert [row["cells"][3][2] for row in every if row["dim"]] == ["Expired", "Revoked"]
    assert all(not row["actions"] for row in every if row["dim"])


def test_who_does_not_manage_tokens_is_shown_no_owners_and_no_filter_by_them(open_page: Open) -> None:
    app = open_page("tokens", role="viewer")
    assert "Owner" not in [column["label"] for column in components(app)[0]["columns"]]
    assert [toggle.label for toggle in app.toggle] == ["Show ended ones"]


def test_no_token_yet_teaches_what_one_is_for(api: FakeApi, open_page: Open) -> None:
    api.lists["tokens"] = []
    assert "Grafana" in components(open_page("tokens"))[0]["empty"]


def test_a_failure_is_shown_with_its_request_id(api: FakeApi, open_page: Open) -> None:
    api.failing["GET /tokens"] = (503, {"detail": "the database is away", "instance": "request-9"})
    app = open_page("tokens")
    assert "the database is away" in app.error[0].value
    assert "request-9" in app.error[0].value


def test_revoking_asks_first_and_shows_the_name_letter_by_letter(
    api: FakeApi, open_page: Open, pressed: dict[str, list[tuple[str, str]]]
) -> None:
    api.lists["tokens"][1]["name"] = "pipeline [x](http://evil.example)"
    pressed["tokens"] = [("00000000000000a2", "revoke")] * 2
    app = open_page("tokens")
    question = next(text.value for text in app.markdown if "will be refused" in text.value)
    assert r"\[x\]" in question
    assert api.changes == []
    button(app, "Yes").click().run()
    assert api.changes == [("DELETE /tokens/00000000000000a2", None)]


FORM = """
from dashboard import context
from dashboard.pages import tokens
tokens._form(["hosts:read", "rules:write"])
"""


@pytest.mark.parametrize(
    ("name", "scopes", "words"), [("", ["hosts:read"], "a name"), ("x", [], "at least one")]
)
def test_a_token_needs_a_name_and_a_scope(
    api: FakeApi, session: Session, name: str, scopes: list[str], words: str
) -> None:
    app = AppTest.from_string(FORM, default_timeout=60)
    app.session_state["farwatch.session"] = session
    app.run()
    app.text_input[0].input(name)
    app.button_group[0].set_value(scopes)
    button(app, "Make it").click().run()
    assert words in app.warning[0].value
    assert api.changes == []
