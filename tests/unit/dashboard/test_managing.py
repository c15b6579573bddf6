"""The pages that manage people, agents, rules, channels and the account, against the double of the API."""

from __future__ import annotations

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from dashboard import components as dashboard_components
from dashboard.components import Row
from dashboard.pages.health import PARTS
from farwatch.services.health import findings
from tests.unit.dashboard.fake_api import FakeApi
from tests.unit.dashboard.fake_shapes import PASSWORD
from tests.unit.dashboard.test_pages import MAIN, Open, button, components, open_page, session, stand
from tests.unit.notify.makers import Dead

__all__ = ["open_page", "session", "stand"]  # fixtures


@pytest.fixture
def pressed(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[tuple[str, str]]]:
    """Press a row's button: AppTest cannot reach into browser components. Maps a table's key to (row, action),
    once for each run of the page that is to see it: AppTest runs the whole page where a browser runs a dialog alone.
    """
    wanted: dict[str, list[tuple[str, str]]] = {}

    def table(columns: Any, rows: list[Row], *, label: str, empty: str, key: str) -> tuple[str, str] | None:
        choice = wanted[key].pop() if wanted.get(key) else None
        if choice is not None:
            row = next(one for one in rows if one.id == choice[0])
            assert choice[1] in {action.id for action in row.actions}, "that button is not offered"
        return choice

    monkeypatch.setattr("dashboard.components.table", table)
    return wanted


PAGES = ["people", "agents", "rules", "channels", "audit", "health", "profile"]


@pytest.mark.parametrize("name", PAGES)
def test_each_page_shows_its_list(open_page: Open, name: str) -> None:
    app = open_page(name)
    assert not app.error
    assert components(app)[0]["rows"]


@pytest.mark.parametrize(
    ("name", "path"), [("people", "users"), ("agents", "agents"), ("rules", "rules"), ("audit", "audit")]
)
def test_each_page_says_what_could_not_be_loaded(api: FakeApi, open_page: Open, name: str, path: str) -> None:
    api.failing[f"GET /{path}"] = (403, {"title": "Forbidden", "detail": "not yours"})
    app = open_page(name)
    assert "not yours" in app.error[0].value


def test_nobody_can_lock_themselves_out(open_page: Open) -> None:
    rows = components(open_page("people"))[0]["rows"]
    mine = next(row for row in rows if row["id"] == "user_admin")
    assert mine["actions"] == []
    assert {a["id"] for a in rows[1]["actions"]} == {"role", "reset", "sign-out", "disable"}


def test_disabling_somebody_asks_first(
    api: FakeApi, open_page: Open, pressed: dict[str, list[tuple[str, str]]]
) -> None:
    pressed["people"] = [("user_viewer", "disable")] * 2
    app = open_page("people")
    assert api.changes == []
    button(app, "Yes").click().run()
    assert api.changes == [("PATCH /users/user_viewer", {"disabled": True})]


def test_an_invitation_is_shown_until_it_is_taken_and_then_listed(api: FakeApi, open_page: Open) -> None:
    app = open_page("people")
    app.session_state["farwatch.invited"] = {
        "name": "New",
        "email": "n@example.org",
        "mailed": False,
        "link": "l",
    }
    button(app, "Invite somebody").click().run()
    assert not [one for one in app.code if one.value == "l"], "an older link is not shown again"


def test_a_reset_link_is_shown_once(open_page: Open, pressed: dict[str, list[tuple[str, str]]]) -> None:
    pressed["people"] = [("user_viewer", "reset")]
    app = open_page("people")
    assert "reset=abc" in app.code[0].value


def test_switching_a_rule_off_puts_the_whole_rule_back(
    api: FakeApi, open_page: Open, pressed: dict[str, list[tuple[str, str]]]
) -> None:
    pressed["rules"] = [("rule_cpu", "off")]
    open_page("rules")
    route, body = api.changes[0]
    assert route == "PUT /rules/rule_cpu"
    assert body["enabled"] is False
    assert body["conditions"][0]["enter"] == 90.0
    assert not {"id", "stock"} & set(body)


def test_a_viewer_sees_rules_and_is_not_offered_to_change_them(open_page: Open) -> None:
    app = open_page("rules", role="viewer")
    assert all(not row["actions"] for row in components(app)[0]["rows"])
    assert not [one for one in app.button if one.label == "New rule"]


def test_a_threshold_is_written_with_its_unit(open_page: Open) -> None:
    assert components(open_page("rules"))[0]["rows"][0]["cells"][1] == "cpu.percent > 90 %"


def test_only_what_was_not_delivered_can_be_sent_again(open_page: Open, api: FakeApi) -> None:
    rows = components(open_page("channels"))[1]["rows"]
    assert [bool(row["actions"]) for row in rows] == [False, True]


def test_a_dead_delivery_is_sent_again(
    api: FakeApi, open_page: Open, pressed: dict[str, list[tuple[str, str]]]
) -> None:
    pressed["deliveries"] = [("dlv_2", "again")]
    open_page("channels")
    assert api.changes[0][0] == "POST /deliveries/dlv_2/redrive"


def test_revoking_an_agent_asks_first(
    api: FakeApi, open_page: Open, pressed: dict[str, list[tuple[str, str]]]
) -> None:
    pressed["agents"] = [("host_001", "revoke")] * 2
    app = open_page("agents")
    button(app, "Yes").click().run()
    assert api.changes[0][0] == "POST /agents/host_001/revoke"


def test_a_host_that_is_used_twice_is_named_with_what_to_do(api: FakeApi, open_page: Open) -> None:
    assert not open_page("agents").warning
    api.lists["agents"][0]["clone_suspected_at"] = "2026-01-01T00:00:00.000Z"
    warning = open_page("agents").warning[0].value
    assert r"**web\-1**" in warning
    assert "Re-enrol" in warning


def test_older_entries_of_the_audit_log_are_fetched_on_demand(api: FakeApi, open_page: Open) -> None:
    entry = api.lists["audit"][0]
    api.lists["audit"] = [{**entry, "seq": 500 - n} for n in range(450)]
    app = open_page("audit")
    assert len(components(app)[-1]["rows"]) == 200
    assert components(app)[-1]["rows"][0]["cells"][1] == "Admin", "people are named"


def test_hosts_and_tokens_in_the_audit_log_are_named_and_found_by_name(api: FakeApi, open_page: Open) -> None:
    entry = api.lists["audit"][0]
    api.lists["audit"] = [
        {**entry, "seq": 8, "action": "agent.retire", "target": "host_002"},
        {**entry, "seq": 7, "actor_kind": "token", "actor_id": "00000000000000a1", "target": "gone_1"},
    ]
    app = open_page("audit", target="WEB-3")
    cells = [row["cells"][1:3] for row in components(app)[-1]["rows"]]
    assert cells == [["Admin", "web-3"], ["token grafana", "gone_1"]]
    asked = [dict(params) for path, params in api.queries if path == "/audit"]
    assert asked[-1]["target"] == "host_002"


def test_an_entry_of_the_audit_log_says_who_by_name_and_by_id(
    open_page: Open, pressed: dict[str, list[tuple[str, str]]]
) -> None:
    pressed["audit-rows"] = [("7", "show")]
    text = " ".join(one.value for one in open_page("audit").markdown)
    assert r"by **Admin** (user user\_admin)" in text
    assert r"(UTC) from 127\.0\.0\.1 on **Admin** (user\_admin)" in text


def test_the_list_of_sessions_says_which_browser_each_is(api: FakeApi, open_page: Open) -> None:
    chrome = "farwatch-dashboard Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0"
    api.lists["sessions"][0]["user_agent"] = chrome
    assert components(open_page("profile"))[0]["rows"][0]["cells"][0] == "Chrome 142 on Linux"


def test_parts_are_called_by_what_they_do(open_page: Open) -> None:
    names = [row["cells"][0] for row in components(open_page("health"))[0]["rows"]]
    assert names == ["Database (PostgreSQL)", "Cache (Redis)", "Live feed of this dashboard"]


def test_every_part_that_the_back_end_tells_of_has_a_name_for_people() -> None:
    told = findings(
        steps=[],
        waiting_ms=[],
        channels=[],
        email_ready=False,
        undelivered={},
        dead_letters=Dead({}),
        now=0,
    )
    assert {part.name for part in told} <= set(PARTS)


def _rule_dialog(app: AppTest, **fields: Any) -> dict[str, Any]:
    widgets = [*app.text_input, *app.selectbox, *app.number_input]
    found = {one.label: one for one in widgets}
    for label, value in fields.items():
        found[label.replace("_", " ")].set_value(value)
    return found


def test_a_rule_is_tried_on_a_hosts_history_and_nothing_is_saved(
    api: FakeApi, open_page: Open, pressed: dict[str, list[tuple[str, str]]]
) -> None:
    pressed["rules"] = [("rule_cpu", "edit")] * 2
    app = open_page("rules")
    _rule_dialog(app, Opens_at=80.0, Ends_at=75.0, Try_it_on="host_002", over_the_last="3 days")
    button(app, "Try it").click().run()
    ((route, body),) = api.changes
    assert route == "POST /rules/preview"
    assert body["host_id"] == "host_002"
    assert body["to"] - body["from"] == 3 * 86_400_000
    assert body["rule"]["conditions"][0]["enter"] == 80.0
    assert body["rule"]["keep_firing_for_s"] == 60.0
    assert not {"id", "stock"} & set(body["rule"])
    assert any("have opened 2 times" in one.value for one in app.markdown)
    assert any("do not choose this host" in one.value for one in app.caption)


def test_the_trial_of_a_rule_on_silence_that_is_off_says_how_long_it_was_silent_and_that_it_is_off(
    api: FakeApi,
    open_page: Open,
    pressed: dict[str, list[tuple[str, str]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: dict[str, list[Row]] = {}
    pressing = dashboard_components.table

    def table(columns: Any, rows: list[Row], *, key: str, **more: Any) -> tuple[str, str] | None:
        shown[key] = rows
        return pressing(columns, rows, key=key, **more)

    monkeypatch.setattr("dashboard.components.table", table)
    rule = next(one for one in api.lists["rules"] if one["id"] == "rule_disk")
    rule["conditions"] = [{**rule["conditions"][0], "measure": "silent_s"}]
    pressed["rules"] = [("rule_disk", "edit")] * 2
    app = open_page("rules")
    button(app, "Try it").click().run()
    assert [one.value for one in app.caption if "tried" in one.value] == [
        "The rule is switched off: it was tried all the same."
    ]
    assert [row.cells[-1] for row in shown["rule-trial"]] == ["2 min", "2 min"]


def test_a_trial_on_a_host_that_sent_nothing_says_so(
    api: FakeApi, open_page: Open, pressed: dict[str, list[tuple[str, str]]]
) -> None:
    api.tried = {"applies": True, "step_s": 0, "samples": 0, "groups": []}
    pressed["rules"] = [("rule_cpu", "edit")] * 2
    app = open_page("rules")
    button(app, "Try it").click().run()
    assert "sent nothing in that time" in app.info[0].value


def test_a_rule_that_could_never_end_is_refused_in_words(
    api: FakeApi, open_page: Open, pressed: dict[str, list[tuple[str, str]]]
) -> None:
    pressed["rules"] = [("rule_cpu", "edit")] * 2
    app = open_page("rules")
    _rule_dialog(app, Opens_at=80.0, Ends_at=85.0)
    button(app, "Save").click().run()
    assert "could never end" in app.warning[0].value
    assert api.changes == []


def test_a_rule_can_be_kept_to_hosts_with_some_labels(
    api: FakeApi, open_page: Open, pressed: dict[str, list[tuple[str, str]]]
) -> None:
    pressed["rules"] = [("rule_cpu", "edit")] * 3
    app = open_page("rules")
    _rule_dialog(app, Only_hosts_labelled="prod")
    button(app, "Save").click().run()
    assert "name=value" in app.warning[0].value
    assert api.changes == []
    _rule_dialog(app, Only_hosts_labelled="env=prod, role = db")
    button(app, "Save").click().run()
    assert api.changes[0][1]["host_labels"] == {"env": "prod", "role": "db"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"measure": "change_per_hour"}, "change of disk.used_percent per hour > 90 %"),
        ({"measure": "silent_s", "enter": 300.0}, "silence of disk.used_percent > 5 min"),
        (
            {"measure": "seconds_to_bound", "bound": 100.0, "comparison": "below", "enter": 5400.0},
            "time until disk.used_percent reaches 100 % < 90 min",
        ),
    ],
)
def test_a_rule_says_what_it_compares(
    api: FakeApi, open_page: Open, changes: dict[str, Any], words: str
) -> None:
    api.lists["rules"][1]["conditions"][0].update(changes)
    assert components(open_page("rules"))[0]["rows"][1]["cells"][1] == words


def test_a_rule_says_which_series_and_hosts_it_is_for(api: FakeApi, open_page: Open) -> None:
    api.lists["rules"][1].update(series_labels={"mount": "/"}, host_labels={"env": "prod"})
    cell = components(open_page("rules"))[0]["rows"][1]["cells"][1]
    assert cell == "disk.used_percent{mount=/} > 90 % on env=prod"


def _letter(**query: str) -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=60)
    for name, value in query.items():
        app.query_params[name] = value
    return app.run()


def _fill(app: AppTest, *, password: str, again: str, press: str) -> AppTest:
    boxes = {box.label: box for box in app.text_input}
    boxes["Password"].input(password)
    boxes["Again"].input(again)
    return button(app, press).click().run()  # type: ignore[no-any-return]


def test_an_invitation_link_leads_in(api: FakeApi) -> None:
    app = _fill(
        _letter(invitation="good"), password="a few good words", again="a few good words", press="Join"
    )
    assert api.changes[0][1]["token"] == "good"
    assert app.header[0].value == "Fleet"
    assert "invitation" not in app.query_params


@pytest.mark.parametrize(
    ("password", "again", "words"),
    [("short", "short", "12 characters"), ("a few good words", "other words here", "do not match")],
)
def test_an_unfit_password_is_refused_before_the_link_is_used(
    api: FakeApi, password: str, again: str, words: str
) -> None:
    app = _fill(_letter(reset="good"), password=password, again=again, press="Set the password")
    assert words in app.warning[0].value
    assert api.changes == []


def test_a_reset_link_sets_the_password_and_leads_to_the_sign_in_form(api: FakeApi) -> None:
    app = _fill(
        _letter(reset="good"), password="a few good words", again="a few good words", press="Set the password"
    )
    assert app.header[0].value == "Sign in to Farwatch"
    assert "Your password is set" in app.info[0].value


def test_a_used_up_link_is_explained(api: FakeApi) -> None:
    app = _fill(
        _letter(reset="old"), password="a few good words", again="a few good words", press="Set the password"
    )
    assert "used up" in app.error[0].value


def test_changing_the_password_needs_the_present_one(api: FakeApi, open_page: Open) -> None:
    app = open_page("profile")
    boxes = {box.label: box for box in app.text_input}
    boxes["Present password"].input(PASSWORD)
    boxes["New password"].input("a few good words")
    boxes["New password again"].input("a few good words")
    button(app, "Change it").click().run()
    assert api.changes == [
        ("PUT /auth/password", {"current_password": PASSWORD, "new_password": "a few good words"})
    ]
