"""The anomalies page: the list, one of them, comparing detectors, and who watches what."""

from __future__ import annotations

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.anomaly_charts import comparison_panel
from dashboard.pages import detectors
from tests.unit.dashboard.fake_api import FakeApi
from tests.unit.dashboard.test_pages import Open, button, components, open_page, stand

__all__ = ["open_page", "stand"]


@pytest.fixture
def pressed(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[tuple[str, str]]]:
    """Buttons to press in tables, by the table's key; each is pressed once."""
    waiting: dict[str, list[tuple[str, str]]] = {}
    real = detectors.components.table

    def table(*args: Any, key: str, **kwargs: Any) -> tuple[str, str] | None:
        real(*args, key=key, **kwargs)
        return waiting[key].pop() if waiting.get(key) else None

    monkeypatch.setattr("dashboard.components.table", table)
    return waiting


def facts_of(app: AppTest) -> dict[str, str]:
    """Return the table of facts, which has no head."""
    (table,) = app.table
    assert table.proto.hide_header
    return dict(table.value.iloc[:, 0])


def asked(api: FakeApi) -> list[str]:
    return [path for method, path in api.requests if method == "GET" and "anomalies" in path]


def test_the_newest_come_first_with_what_was_expected_and_a_door_to_each(open_page: Open) -> None:
    (table,) = components(open_page("anomalies"))
    first = table["rows"][0]
    assert first["id"] == "anom_000"
    assert first["cells"][1:] == [
        "web-3",
        "cpu.percent",
        "New level",
        "97.2 %",
        "14 % to 41 %",
        "0.94",
        "Farwatch's own",
        None,
    ]
    assert [action["label"] for action in first["actions"]] == ["Look"]


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ({"host": "web-3", "score": "0.9"}, ["anom_000"]),
        ({"metric": "disk.used_percent", "pattern": "Drift"}, ["anom_002"]),
        ({"detector": "Isolation forest"}, ["anom_004"]),
    ],
)
def test_the_address_holds_the_filters(open_page: Open, query: dict[str, str], ids: list[str]) -> None:
    rows = components(open_page("anomalies", range="1h", **query))[0]["rows"]
    assert [row["id"] for row in rows if row["id"] < "anom_005"] == ids


def test_older_ones_are_a_page_away_and_the_way_back_too(open_page: Open) -> None:
    app = open_page("anomalies")
    newest = [row["id"] for row in components(app)[0]["rows"]]
    button(app, "Older").click().run()
    older = [row["id"] for row in components(app)[0]["rows"]]
    assert older
    assert not set(older) & set(newest)
    button(app, "Newer").click().run()
    assert [row["id"] for row in components(app)[0]["rows"]] == newest
    assert button(app, "Newer").disabled


def test_a_choice_that_nothing_matches_can_be_cleared(open_page: Open) -> None:
    app = open_page("anomalies", pattern="Flat line")
    assert "No anomaly matches" in app.info[0].value
    button(app, "Clear the filters").click().run()
    assert components(app)[0]["rows"]


def test_an_empty_list_teaches_what_a_detector_needs(api: FakeApi, open_page: Open) -> None:
    api.anomalies.clear()
    app = open_page("anomalies")
    assert "first 200 samples" in app.info[0].value


def test_one_shows_its_curve_the_range_expected_and_its_neighbours(open_page: Open) -> None:
    app = open_page("anomalies", id="anom_000")
    assert app.header[0].value == "cpu\\.percent on web\\-3"
    (chart,) = components(app)
    (panel,) = chart["panels"]
    assert [trace["name"] for trace in panel["traces"]] == ["expected", "measured", "this anomaly"]
    assert panel["now"] == panel["traces"][-1]["times"][0]
    assert "0.94** of 1; the threshold now is 0.50, the usual one" in facts_of(app)["Score"]
    assert "moved to a new level" in " ".join(m.value for m in app.markdown)


def test_one_inside_its_range_is_not_said_to_have_left_it(api: FakeApi, open_page: Open) -> None:
    assert "Outside its range since" in facts_of(open_page("anomalies", id="anom_000"))
    api.anomalies[0]["since"] = api.anomalies[0]["at"]
    assert "Outside its range since" not in facts_of(open_page("anomalies", id="anom_000"))


def test_one_whose_samples_are_gone_is_still_shown(open_page: Open) -> None:
    app = open_page("anomalies", id="anom_040")
    assert components(app)[0]["panels"][0]["title"] == "cpu.iowait_percent"
    assert any("no longer kept" in caption.value for caption in app.caption)


def test_one_says_in_which_zone_its_times_are(open_page: Open) -> None:
    assert "times in UTC" in open_page("anomalies", id="anom_000").caption[-1].value


@pytest.mark.parametrize(("role", "name"), [("admin", "Operator"), ("operator", "somebody else")])
def test_who_judged_one_is_named_as_far_as_it_may_be_known(
    api: FakeApi, open_page: Open, role: str, name: str
) -> None:
    said_by = "user_operator" if role == "admin" else "user_admin"
    api.anomalies[0]["feedback"] = {
        "verdict": "real",
        "said_by": said_by,
        "said_at": "2026-01-01T00:00:00.000Z",
    }
    app = open_page("anomalies", role=role, id="anom_000")
    said = next(one.value for one in app.caption if one.value.startswith("Said by"))
    assert said.startswith(f"Said by {name} at ")


def test_an_unknown_one_is_said(open_page: Open) -> None:
    assert "no such anomaly" in open_page("anomalies", id="anom_zzz").warning[0].value


def test_a_false_alarm_is_kept_shown_and_can_be_taken_back(api: FakeApi, open_page: Open) -> None:
    app = open_page("anomalies", role="operator", id="anom_000")
    button(app, "False alarm").click().run()
    assert api.anomalies[0]["feedback"]["verdict"] == "false_alarm"
    assert "0.75, raised from 0.5" in facts_of(app)["Score"]
    assert any(caption.value.startswith("Said by you at ") for caption in app.caption)
    button(app, "Take it back").click().run()
    assert api.anomalies[0]["feedback"] is None
    button(app, "Real").click().run()
    assert api.anomalies[0]["feedback"]["verdict"] == "real"


def test_a_viewer_may_look_and_is_not_offered_to_judge_run_or_choose(open_page: Open) -> None:
    app = open_page("anomalies", role="viewer", id="anom_000")
    assert not [one for one in app.button if one.label in {"False alarm", "Real"}]
    running = open_page("anomalies", role="viewer", view="Compare")
    assert "operator role" in running.info[0].value
    watching = open_page("anomalies", role="viewer", view="Who watches what")
    assert not watching.text_input
    assert all(not row["actions"] for row in components(watching)[0]["rows"])


def test_detectors_are_run_and_marked_each_in_a_way_of_its_own(api: FakeApi, open_page: Open) -> None:
    app = open_page("anomalies", view="Compare", of="host_002", series="load.1m", range="1h")
    assert components(app) == []
    button(app, "Run").click().run()
    ran = [body["detector"] for route, body in api.changes if route == "POST /anomalies/detect"]
    assert ran == ["default", "zscore", "iqr", "isolation_forest", "lof"]
    chart, table = components(app)
    marks = [trace for trace in chart["panels"][0]["traces"] if trace.get("kind") == "marks"]
    assert len({mark["symbol"] for mark in marks}) == len({mark["color"] for mark in marks}) == 5
    assert [row["cells"][1] for row in table["rows"]] == ["2"] * 5


def test_a_run_that_news_interrupted_goes_on_by_itself(api: FakeApi, open_page: Open) -> None:
    app = open_page("anomalies", view="Compare", of="host_002", series="load.1m", range="1h")
    button(app, "Run").click().run()
    for name in ("isolation_forest", "lof"):
        del app.session_state["farwatch.detector-runs"]["runs"][name]
    api.changes.clear()
    app.run()
    assert [body["detector"] for _, body in api.changes] == ["isolation_forest", "lof"]
    assert len(components(app)[1]["rows"]) == 5


def test_a_range_without_samples_is_no_error(api: FakeApi, open_page: Open) -> None:
    api.failing["POST /anomalies/detect"] = (422, {"detail": "there are no samples of this series"})
    app = open_page("anomalies", view="Compare")
    button(app, "Run").click().run()
    assert "no samples" in app.info[0].value
    assert not app.error


def test_many_samples_become_a_line_a_browser_draws_well() -> None:
    count = 5000
    run: Any = {
        "detector": "iqr",
        "step_s": 0,
        "times": list(range(count)),
        "values": [0.0] * (count - 1) + [9.0],
        "score": [0.0] * count,
        "low": [0.0] * count,
        "high": [1.0] * count,
        "threshold": 0.5,
        "found": [],
    }
    panel = comparison_panel("cpu.percent", {}, [run], {"name": "cpu.percent"})
    band, line, _ = panel["traces"]
    assert max(len(band["times"]), len(line["times"])) <= 1500
    assert max(line["max"]) == 9.0


def test_a_young_detector_that_expects_anything_does_not_flatten_the_curve() -> None:
    run: Any = {
        "detector": "default",
        "step_s": 0,
        "times": [0, 1, 2],
        "values": [5.0, 6.0, 7.0],
        "score": [0.0] * 3,
        "low": [None, -9000.0, 4.0],
        "high": [None, 9000.0, 8.0],
        "threshold": 0.5,
        "found": [],
    }
    assert comparison_panel("load.1m", {}, [run], {"name": "load.1m"})["fit"] == [3.0, 9.0]


def test_a_choice_says_what_it_comes_to_and_how_far_behind_the_slow_ones_are(
    api: FakeApi, open_page: Open
) -> None:
    app = open_page("anomalies", view="Who watches what")
    rows = components(app)[0]["rows"]
    assert rows[0]["cells"] == ["load.*", "LOF", "load.1m"]
    assert "Furthest behind: web\\-3, 22 s" in " ".join(caption.value for caption in app.caption)
    api.behind_s = 900.0
    app = open_page("anomalies", view="Who watches what")
    assert "15 min" in app.warning[0].value


def test_a_new_choice_goes_first_and_can_be_moved_and_removed(
    api: FakeApi, open_page: Open, pressed: dict[str, list[tuple[str, str]]]
) -> None:
    app = open_page("anomalies", role="operator", view="Who watches what")
    app.text_input[0].input("disk.*")
    app.selectbox[0].select("zscore")
    button(app, "Choose").click().run()
    assert [choice["metric"] for choice in api.detectors] == ["disk.*", "load.*", "net.*", "swap.*"]
    pressed["choices"] = [(components(app)[0]["rows"][2]["id"], "up")]
    app.run()
    assert [choice["metric"] for choice in api.detectors] == ["disk.*", "net.*", "load.*", "swap.*"]
    pressed["choices"] = [(components(app)[0]["rows"][3]["id"], "remove")]
    app.run()
    assert [choice["metric"] for choice in api.detectors] == ["disk.*", "net.*", "load.*"]


@pytest.mark.parametrize("theirs", [["swap.*", "load.*", "net.*"], ["load.*"]], ids=["moved", "removed"])
def test_a_line_that_somebody_else_has_changed_meanwhile_is_not_taken_for_another(
    api: FakeApi, open_page: Open, pressed: dict[str, list[tuple[str, str]]], theirs: list[str]
) -> None:
    app = open_page("anomalies", role="operator", view="Who watches what")
    third = components(app)[0]["rows"][2]["id"]
    by_metric = {choice["metric"]: choice for choice in api.detectors}
    api.detectors = [by_metric[metric] for metric in theirs]
    pressed["choices"] = [(third, "remove")]
    app.run()
    assert "somebody changed it first" in app.error[0].value
    assert [choice["metric"] for choice in api.detectors] == theirs
    assert [row["cells"][0] for row in components(app)[0]["rows"]] == theirs


def test_the_host_page_leads_to_its_anomalies(open_page: Open) -> None:
    app = open_page("host", id="host_002")
    marks = [t for p in components(app)[-1]["panels"] for t in p["traces"] if t.get("kind") == "marks"]
    assert [mark["ids"] for mark in marks] == [["anom_000"], ["anom_001"]]
