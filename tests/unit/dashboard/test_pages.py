"""The pages, run by Streamlit's own test harness against the double of the API."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from streamlit.testing.v1 import AppTest

from dashboard import context
from dashboard.session import Session, SessionStore, sign_in
from tests.unit.dashboard.conftest import SETTINGS
from tests.unit.dashboard.fake_api import FakeApi
from tests.unit.dashboard.fake_shapes import PASSWORD

MAIN = Path(__file__).parents[3] / "dashboard" / "entry" / "main.py"
PAGE = """
import streamlit as st
from dashboard import context, sidebar
from dashboard.pages import {name}, registry
context.clear_fragments()
st.navigation(registry.pages(None), position="hidden")
{name}.page()
"""
Open = Callable[..., AppTest]


@pytest.fixture(autouse=True)
def stand(monkeypatch: pytest.MonkeyPatch, http: httpx.Client, store: SessionStore) -> None:
    monkeypatch.setattr(context, "settings", lambda: SETTINGS)
    monkeypatch.setattr(context, "http", lambda: http)


@pytest.fixture
def session(http: httpx.Client, store: SessionStore) -> Session:
    return sign_in(http, SETTINGS, "admin@example.org", PASSWORD)


@pytest.fixture
def open_page(http: httpx.Client, store: SessionStore) -> Open:
    def opened(name: str, role: str = "admin", **query: str) -> AppTest:
        app = AppTest.from_string(PAGE.format(name=name), default_timeout=60)
        app.session_state["farwatch.session"] = sign_in(http, SETTINGS, f"{role}@example.org", PASSWORD)
        for key, value in query.items():
            app.query_params[key] = value
        app.run()
        assert not app.exception
        return app

    return opened


def components(app: AppTest) -> list[dict[str, Any]]:
    """Return the data given to each browser component on the page, in order."""
    found = [element.proto for element in app.main if element.type == "bidi_component"]
    return [json.loads(proto.json) for proto in found]


def button(app: AppTest, label: str) -> Any:
    return next(one for one in app.button if one.label == label)


def test_signing_in_leads_to_the_fleet(api: FakeApi) -> None:
    app = AppTest.from_file(str(MAIN), default_timeout=60).run()
    assert app.header[0].value == "Sign in to Farwatch"
    app.text_input(key="sign-in-email").input(" admin@example.org ")
    app.text_input(key="sign-in-password").input(PASSWORD)
    button(app, "Sign in").click().run()
    assert not app.exception
    assert app.header[0].value == "Fleet"
    assert not app.text_input(key="q").value


def test_a_wrong_password_is_said_and_nothing_else_is_shown(api: FakeApi) -> None:
    app = AppTest.from_file(str(MAIN), default_timeout=60).run()
    app.text_input(key="sign-in-email").input("admin@example.org")
    app.text_input(key="sign-in-password").input("guess")
    button(app, "Sign in").click().run()
    assert app.error[0].value == "The e-mail address or the password is wrong."
    assert [h.value for h in app.header] == ["Sign in to Farwatch"]
    assert app.expander[0].label == "Forgot your password?"


def test_an_empty_form_asks_for_what_is_missing_without_asking_the_api(api: FakeApi) -> None:
    app = AppTest.from_file(str(MAIN), default_timeout=60).run()
    button(app, "Sign in").click().run()
    assert "Enter your e-mail" in app.warning[0].value
    assert api.requests == []


def test_signing_out_of_a_session_that_has_ended_already_is_no_failure(
    api: FakeApi, session: Session
) -> None:
    app = AppTest.from_file(str(MAIN), default_timeout=60)
    app.session_state["farwatch.session"] = session
    app.run()
    api.failing["POST /auth/logout"] = (401, {"detail": "this session has ended"})
    button(app, "Sign out").click().run()
    assert app.header[0].value == "Sign in to Farwatch"
    assert not app.toast


def test_a_missing_setting_is_explained_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.delenv("FARWATCH_API_URL", raising=False)
    context.settings.cache_clear()
    app = AppTest.from_file(str(MAIN), default_timeout=60).run()
    assert "FARWATCH" in app.error[0].value


def test_the_fleet_shows_problems_worst_first_and_every_host(open_page: Open) -> None:
    app = open_page("fleet")
    problems, table = components(app)
    assert [item["severity"] for item in problems["items"]] == ["critical", "high"]
    assert {host["name"] for host in table["hosts"]} >= {"web-3", "edge-fra"}
    assert all(len(host["spark"]) > 30 for host in table["hosts"] if host["status"] == "live")
    assert app.markdown[0].value == "7 of 8 hosts are reporting; 2 have open incidents."


@pytest.mark.parametrize("status", ["silent", "never_seen"])
def test_without_incidents_all_is_clear_only_if_every_host_reports(
    api: FakeApi, open_page: Open, status: str
) -> None:
    api.incidents.clear()
    for host in api.hosts:
        host["status"] = "late"
    strip = components(open_page("fleet"))[0]
    assert not strip["doubt"]
    assert strip["clear"].startswith("All clear on 8 hosts")
    for host in api.hosts[:5]:
        host["status"] = status
    app = open_page("fleet")
    strip = components(app)[0]
    assert strip["doubt"]
    names = ", ".join(host["name"] for host in api.hosts[:3])
    assert strip["clear"] == f"No incident is open, but {names} and 2 more are not reporting."
    assert app.markdown[0].value == "3 of 8 hosts are reporting."


def test_a_host_that_may_be_off_is_not_missed(api: FakeApi, open_page: Open) -> None:
    api.incidents.clear()
    for host in api.hosts:
        host.update(status="silent", may_be_off=True)
    assert not components(open_page("fleet"))[0]["doubt"]


def test_the_filter_finds_hosts_by_name_and_label(open_page: Open) -> None:
    app = open_page("fleet")
    app.text_input(key="q").input("env:dev build").run()
    assert [host["name"] for host in components(app)[-1]["hosts"]] == ["build-7"]
    app.text_input(key="q").input("nothing-like-it").run()
    assert "No host matches" in app.info[0].value


def test_without_hosts_the_fleet_page_leads_through_adding_the_first(api: FakeApi, open_page: Open) -> None:
    api.hosts.clear()
    app = open_page("fleet")
    assert app.header[0].value == "Add your first host"
    button(app, "Make a token").click().run()
    assert "fwe_0123456789abcdef" in app.code[0].value
    assert app.status[0].label == "Waiting for the first batch …"


def test_a_token_can_be_made_for_many_machines_and_for_longer(api: FakeApi, open_page: Open) -> None:
    api.hosts.clear()
    app = open_page("fleet")
    boxes = {box.label: box for box in app.selectbox}
    boxes["It enrols"].select("any number")
    boxes["It works for"].select("a day")
    button(app, "Make a token").click().run()
    assert api.asked_token == {"name": "dashboard", "max_uses": None, "expires_in_s": 86_400}


def test_adding_a_host_waits_for_one_that_was_not_there_before(api: FakeApi, open_page: Open) -> None:
    for host in api.hosts:
        host |= {"enrolled_at": api.now() - 86_400_000, "last_seen_at": api.now() + 60_000}
    app = open_page("agents")
    button(app, "Make a token").click().run()
    assert app.code[1].value.startswith("python3 -c")
    assert app.status[0].label == "Waiting for the first batch …"


def test_people_who_cannot_add_hosts_are_told_who_can(api: FakeApi, open_page: Open) -> None:
    api.hosts.clear()
    app = open_page("fleet", role="viewer")
    assert "Only an administrator" in app.info[0].value
    assert not app.button


def test_a_failure_shows_what_failed_the_request_id_and_a_way_to_try_again(
    api: FakeApi, open_page: Open
) -> None:
    body = {"title": "Unavailable", "detail": "The <b>database</b> is down.", "instance": "req-77"}
    api.failing["GET /hosts"] = (500, body)
    app = open_page("fleet")
    assert "Could not load the fleet" in app.error[0].value
    assert "req-77" in app.error[0].value
    assert "<b>" not in app.error[0].value.replace("\\<b\\>", "")
    del api.failing["GET /hosts"]
    button(app, "Try again").click().run()
    assert not app.error
    assert app.header[0].value == "Fleet"


def test_a_session_that_has_ended_leads_back_to_the_sign_in_form(api: FakeApi, session: Session) -> None:
    app = AppTest.from_file(str(MAIN), default_timeout=60)
    app.session_state["farwatch.session"] = session
    app.run()
    assert app.header[0].value == "Fleet"
    api.tokens.clear()
    api.refreshes.clear()
    app.run()
    assert app.header[0].value == "Sign in to Farwatch"
    assert "session has ended" in app.info[0].value


def test_the_host_page_draws_six_panels_that_follow_its_topic(open_page: Open) -> None:
    app = open_page("host", id="host_002")
    charts = components(app)[-1]
    assert [panel["id"] for panel in charts["panels"]] == ["cpu", "memory", "disk", "io", "network", "load"]
    assert charts["follow"] is True
    assert charts["topics"] == ["host:host_002"]
    assert charts["window"]["to"] - charts["window"]["from"] == 600_000
    assert all(len(t["times"]) <= 1500 for panel in charts["panels"] for t in panel["traces"])


def test_a_range_in_the_address_is_shown_and_a_fixed_span_stands_still(open_page: Open) -> None:
    day = components(open_page("host", id="host_002", range="24h"))[-1]
    assert day["window"]["to"] - day["window"]["from"] == 86_400_000
    assert day["follow"] is False
    fixed = open_page("host", id="host_002", **{"from": "1700000000000", "to": "1700003600000"})
    assert components(fixed)[-1]["window"] == {"from": 1700000000000, "to": 1700003600000}
    button(fixed, "Back to live")


def test_an_unknown_host_is_said_and_a_way_out_offered(open_page: Open) -> None:
    app = open_page("host", id="host_999")
    assert "There is no such host" in app.warning[0].value


@pytest.mark.parametrize("page", ["host", "incidents", "anomalies", "scans"])
@pytest.mark.parametrize("name", ["../config", "..", "a\nb", "a?b=c", "a#b", "ü 100%", "x" * 3000])
def test_an_address_that_names_nothing_cannot_lead_elsewhere(
    api: FakeApi, open_page: Open, page: str, name: str
) -> None:
    """The id comes from a link, which anybody may have written."""
    app = open_page(page, id=name)
    assert ("GET", "/api/v1/config") not in api.requests
    assert not app.exception


def test_a_hostile_host_name_is_shown_as_text(api: FakeApi, open_page: Open) -> None:
    api.hosts[0]["name"] = "![x](http://evil/p.png) <img src=x onerror=alert(1)> :red[boo]"
    app = open_page("host", id="host_000")
    heading = app.header[0].value
    assert "\\!\\[x\\]" in heading
    assert "\\<img" in heading
    assert ":red[" not in heading


def test_changing_a_hosts_interval_is_sent_and_only_offered_to_those_who_may(
    api: FakeApi, open_page: Open
) -> None:
    app = open_page("host", role="operator", id="host_001")
    app.selectbox[0].select(60).run()
    button(app, "Save").click().run()
    assert api.hosts[1]["interval_s"] == 60.0
    viewer = open_page("host", role="viewer", id="host_001")
    assert not [one for one in viewer.button if one.label == "Save"]


def test_a_guest_sees_that_a_host_is_there_and_not_what_it_measures(open_page: Open) -> None:
    app = open_page("host", role="guest", id="host_001")
    assert "Your role may see" in app.info[0].value
    assert all("panels" not in data for data in components(app))


def test_the_explorer_compares_hosts_and_offers_the_samples(open_page: Open) -> None:
    app = open_page("explorer", hosts="web-1,web-3", metrics="cpu.percent")
    app.multiselect(key="hosts").set_value(["host_000", "host_002"])
    app.multiselect(key="metrics").set_value(["cpu.percent", "load.1m"]).run()
    charts = components(app)[-1]
    assert [panel["id"] for panel in charts["panels"]] == ["cpu.percent", "load.1m"]
    assert {t["name"] for t in charts["panels"][0]["traces"]} == {"web-1", "web-3"}
    assert app.get("download_button")


def test_what_runs_out_soon_without_an_alarm_is_uncertain_and_not_fine(open_page: Open) -> None:
    outlooks, *_ = components(open_page("forecasts"))
    marks = [row["cells"][4][-1] for row in outlooks["rows"]]
    assert marks == ["Warning", "Uncertain", "Fine", "Fine"]


@pytest.mark.parametrize(("current", "when"), [(96.0, "now"), (91.2, "perhaps by now")])
def test_what_is_full_is_said_to_be_so_and_not_to_be_in_no_seconds(
    api: FakeApi, open_page: Open, current: float, when: str
) -> None:
    api.outlook = {"current": current, "median_s": 0.0, "low_s": 0.0, "high_s": 0.0}
    outlooks, *_ = components(open_page("forecasts"))
    assert outlooks["rows"][0]["cells"][3] == when


def test_the_chart_of_a_row_is_that_of_its_series_wherever_it_stands_by_now(
    open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def table(columns: Any, rows: list[Any], *, key: str, **_: Any) -> tuple[str, str] | None:
        if key != "outlooks":
            return None
        (never,) = [row.id for row in rows if "not within a year" in row.cells]
        assert not never.isdigit(), "a place, where another series may stand when it is pressed"
        return never, "chart"

    monkeypatch.setattr("dashboard.components.table", table)
    app = open_page("forecasts", host="host_003")
    assert app.query_params["host"] == "host_000"
    assert app.query_params["series"] == "disk.used_percent{mount=/var}"


def test_a_forecast_that_has_grown_old_on_an_open_page_is_made_anew(
    api: FakeApi, open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = open_page("forecasts", host="host_003")
    app.run()
    assert len([route for route, _ in api.changes if route == "POST /predictions"]) == 1
    monkeypatch.setattr("dashboard.pages.forecasts.FRESH_MS", 0)
    app.run()
    assert len([route for route, _ in api.changes if route == "POST /predictions"]) == 2


def test_a_long_list_of_what_runs_out_says_that_it_is_cut(
    api: FakeApi, open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not [one for one in open_page("forecasts").caption if "soonest of" in one.value]
    monkeypatch.setattr("dashboard.pages.forecasts.MOST_OUTLOOKS", 3)
    app = open_page("forecasts")
    assert len(components(app)[0]["rows"]) == 3
    assert [one.value for one in app.caption if "The 3 soonest of 4" in one.value]


def test_a_forecast_is_drawn_with_its_bands_after_what_was_measured(api: FakeApi, open_page: Open) -> None:
    app = open_page("forecasts", host="host_003", series="disk.used_percent{mount=/var}")
    outlooks, chart, _ = components(app)
    assert "full in 31 h" in outlooks["rows"][0]["cells"][-1]
    panel = chart["panels"][0]
    assert [t["name"] for t in panel["traces"]] == ["95 % range", "80 % range", "measured", "expected"]
    assert panel["lines"] == [{"value": 95.0, "severity": "critical"}]
    assert chart["window"]["to"] - panel["now"] == 48 * 3_600_000
    assert api.changes[0][1]["labels"] == {"mount": "/var"}


def test_what_earlier_forecasts_were_worth_stands_below_the_new_one(api: FakeApi, open_page: Open) -> None:
    rows = components(open_page("forecasts", host="host_003"))[-1]["rows"]
    assert [row["cells"] for row in rows] == [
        ["Farwatch's own", "12", "29 % less than repeating yesterday", "81 %", "94 %"],
        ["Moving average", "3", "31 % more than repeating yesterday", "81 %", "94 %"],
    ]
    api.failing["GET /predictions/accuracy"] = (200, {"items": []})
    nothing = components(open_page("forecasts", host="host_003"))[-1]
    assert nothing["rows"] == []
    assert "has been judged yet" in nothing["empty"]


def test_too_little_history_is_said_and_is_no_error(api: FakeApi, open_page: Open) -> None:
    api.failing["POST /predictions"] = (422, {"detail": "needs 24 h of samples and has 0.7 h"})
    app = open_page("forecasts")
    assert "needs 24 h" in app.info[0].value
    assert not app.error


def test_a_slow_model_is_waited_for_and_then_drawn(api: FakeApi, open_page: Open) -> None:
    app = open_page("forecasts", host="host_003", model="Prophet (slow)")
    assert "is working on it" in app.status[0].label
    api.forecasts_ready = True
    app.session_state["farwatch.session"].memory.clear()
    app.run()
    assert not app.status
    assert components(app)[-2]["panels"][0]["traces"]
    assert len([route for route, _ in api.changes if route == "POST /predictions"]) == 1


def test_the_incident_page_shows_cause_evidence_fixes_timeline_and_deliveries(open_page: Open) -> None:
    app = open_page("incidents", id="inc_000")
    text = " ".join(m.value for m in app.markdown)
    assert "CPU 97 % on web\\-3" in app.header[0].value
    for part in ("above 90 %", "stress", "renice", "Opened", "email to admin"):
        assert part in text
    assert "[link](http" not in text
    assert "times in UTC" in app.caption[-1].value


def test_an_incident_that_is_about_no_host_is_shown_without_a_link_to_one(
    api: FakeApi, open_page: Open
) -> None:
    api.incidents[0] |= {
        "host_id": None,
        "host_name": "",
        "title": "Shop is slow",
        "signals": [],
        "evidence": None,
    }
    app = open_page("incidents", role="operator", id="inc_000")
    assert not app.exception
    assert app.header[0].value == "Shop is slow"
    assert not [link for link in app.get("page_link") if link.proto.label.startswith("Charts of")]
    assert button(app, "Resolve")
    assert not open_page("incidents").exception


def test_acknowledging_and_resolving_reach_the_api(api: FakeApi, open_page: Open) -> None:
    app = open_page("incidents", role="operator", id="inc_000")
    button(app, "Acknowledge").click().run()
    assert api.incidents[0]["state"] == "acknowledged"
    assert not [one for one in app.button if one.label == "Acknowledge"]


def test_a_viewer_may_look_at_an_incident_and_is_not_offered_to_change_it(open_page: Open) -> None:
    app = open_page("incidents", role="viewer", id="inc_000")
    assert not [one for one in app.button if one.label in {"Acknowledge", "Resolve", "Comment"}]


def test_the_incident_list_starts_with_what_is_open(open_page: Open) -> None:
    listed = components(open_page("incidents"))[0]["items"]
    assert [item["id"] for item in listed] == ["inc_000", "inc_001"]


def test_notifications_can_be_marked_read_one_by_one_and_all_at_once(api: FakeApi, open_page: Open) -> None:
    app = open_page("notifications")
    app.button(key="read-ntf_000").click().run()
    assert api.notifications[0]["read_at"] is not None
    assert api.notifications[1]["read_at"] is None
    button(app, "Mark all read").click().run()
    assert all(item["read_at"] for item in api.notifications)


def _signed_in(session: Session) -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=60)
    app.session_state["farwatch.session"] = session
    return app.run()


def test_the_sidebar_counts_unread_and_the_indicator_follows_the_persons_topics(session: Session) -> None:
    app = _signed_in(session)
    pulse = next(json.loads(e.proto.json) for e in app.sidebar if e.type == "bidi_component")
    assert set(pulse["topics"]) == {"incidents", "notifications", "fleet"}
    assert pulse["stream"]["key"] == session.stream_key
    assert session.tokens["access_token"] not in json.dumps(pulse)
    assert app.sidebar.get("popover")[0].proto.popover.label == "2 unread"


def test_many_new_notifications_are_toasted_in_a_few_words(api: FakeApi, session: Session) -> None:
    app = _signed_in(session)
    known = api.notifications[0]
    api.notifications[:0] = [
        {**known, "id": f"note_new_{n}", "title": f"news {n}", "read_at": None} for n in range(6)
    ]
    session.memory.clear()
    toasts = [toast.value for toast in app.run().toast]
    assert [text.partition(" ")[2] for text in toasts[:3]] == ["news 0", "news 1", "news 2"]
    assert toasts[3:] == ["and 3 more notifications"]


def test_the_check_interval_of_the_sidebar_changes_the_fleet(api: FakeApi, session: Session) -> None:
    app = _signed_in(session)
    slider = app.sidebar.select_slider(key="interval")
    assert (slider.options[0], slider.options[-1]) == ("5 s", "1 h")
    slider.set_value(30).run()
    assert api.default_interval_s == 30.0


@pytest.mark.parametrize("address", ["nobody", "a@b", "a b@example.org", ""])
def test_a_bad_address_is_refused_with_words_and_not_saved(
    api: FakeApi, session: Session, address: str
) -> None:
    app = _signed_in(session)
    app.sidebar.text_input(key="pref-address").input(address)
    next(one for one in app.sidebar.button if one.label == "Save").click().run()
    assert "not an e-mail address" in app.sidebar.error[0].value
    assert api.preferences == {}


def test_a_good_address_and_the_toggles_are_saved(api: FakeApi, session: Session) -> None:
    app = _signed_in(session)
    app.sidebar.text_input(key="pref-address").input("me@example.org")
    app.sidebar.toggle(key="pref-slack").set_value(True)
    next(one for one in app.sidebar.button if one.label == "Save").click().run()
    saved = api.preferences["user_admin"]
    assert saved["email"] == "me@example.org"
    assert saved["channels"]["slack"] is True


def test_signing_out_forgets_the_session(session: Session, store: SessionStore) -> None:
    app = _signed_in(session)
    app.sidebar.button(key="sign-out").click().run()
    assert app.header[0].value == "Sign in to Farwatch"
    assert store.by_cookie(session.id) is None
