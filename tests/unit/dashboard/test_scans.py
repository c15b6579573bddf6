"""The page of security scans, against the double of the API."""

from __future__ import annotations

from typing import Any

from tests.unit.dashboard.fake_admin import SCAN, scans
from tests.unit.dashboard.fake_api import FakeApi
from tests.unit.dashboard.test_managing import pressed
from tests.unit.dashboard.test_pages import Open, components, open_page, session, stand

__all__ = ["open_page", "pressed", "session", "stand"]  # fixtures

HOSTILE = "[click](http://evil.example) :red[x] <script>alert(1)</script>"


def test_the_newest_scan_of_each_tree_says_how_bad_it_is_what_changed_and_who_sent_it(
    open_page: Open,
) -> None:
    rows = components(open_page("scans"))[0]["rows"]
    assert [row["cells"][0] for row in rows] == ["shop", "farwatch"]
    assert rows[0]["cells"][1][2] == "Critical"
    assert rows[0]["cells"][2] == "1 critical, 1 high, 2 medium, 1 low"
    assert rows[0]["cells"][3] == "2 new, 1 fixed, 3 still open"
    assert rows[0]["cells"][4].startswith("token pipeline")
    assert (rows[1]["cells"][1][2], rows[1]["cells"][4]) == ("Nothing found", "this machine")


def test_without_a_scan_the_page_teaches_how_to_make_one(api: FakeApi, open_page: Open) -> None:
    api.lists["scans"] = []
    app = open_page("scans")
    assert app.subheader[0].value == "No scan has been published yet"
    assert "./farwatch scan PATH --publish" in [block.value for block in app.code]
    assert "scan:publish" in app.code[1].value


def test_a_scan_lists_its_findings_worst_first_with_the_other_scans_of_the_tree(open_page: Open) -> None:
    findings, history = components(open_page("scans", id=SCAN))
    assert [row["cells"][1][2] for row in findings["rows"]] == ["Critical", "High", "Medium", "Medium", "Low"]
    assert findings["rows"][0]["cells"][0] == "deploy/settings.py:12"
    assert len(history["rows"]) == 1


def test_findings_are_narrowed_by_change_severity_and_rule_from_the_address(open_page: Open) -> None:
    def shown(**query: Any) -> list[str]:
        return [row["cells"][0] for row in components(open_page("scans", id=SCAN, **query))[0]["rows"]]

    assert shown(change="Fixed") == ["shop/basket.py:40"]
    assert shown(severity="▲ High") == ["shop/orders.py:88"]
    nothing = components(open_page("scans", id=SCAN, change="New", severity="● Low"))[0]
    assert nothing["rows"] == []
    assert "take a filter away" in nothing["empty"]


def test_a_first_scan_has_nothing_to_be_compared_with(api: FakeApi, open_page: Open) -> None:
    app = open_page("scans", id=api.lists["scans"][1]["id"])
    assert any("first scan of this tree" in caption.value for caption in app.caption)
    assert all("Since" not in group.label for group in app.button_group)


def test_hostile_text_of_the_scanned_tree_is_only_text(
    api: FakeApi, open_page: Open, pressed: dict[str, list[tuple[str, str]]]
) -> None:
    api.lists["scans"][0]["target"] = HOSTILE
    api.findings[2]["file"] = "shop/<img src=x onerror=alert(1)>.py"
    pressed["findings"] = [("00000000000000000002", "show")]
    app = open_page("scans", id=SCAN)
    assert app.header[0].value.startswith(r"\[click\]\(http")
    dialog = " ".join(text.value for text in app.markdown)
    assert r"\<img src\=x onerror\=alert\(1\)\>" in dialog
    assert "httpx.Client(verify=False)" in [block.value for block in app.code]


def test_a_scan_that_is_gone_is_said_with_what_the_api_answered(open_page: Open) -> None:
    app = open_page("scans", id="scan_0000000000000000000000")
    assert "there is no such scan" in app.error[0].value


def test_more_findings_than_were_sent_are_owned_up_to(api: FakeApi, open_page: Open) -> None:
    api.lists["scans"] = [{**scans(api.started)[0], "left_out": 40}]
    assert components(open_page("scans"))[0]["rows"][0]["cells"][2].endswith("40 more not listed")
