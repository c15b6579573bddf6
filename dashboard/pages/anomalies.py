"""Anomalies: what was unusual, newest first; and the doors to one of them, to the detectors, and to who watches what."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard import components, context
from dashboard.answers import Problem
from dashboard.components import Action, Row
from dashboard.components.range_picker import range_picker
from dashboard.pages import anomaly, detectors
from dashboard.pages.fleet import go
from dashboard.ranges import Range
from dashboard.wire import Anomaly, AnomalyPage
from dashboard.words import DETECTOR_WORD, PATTERN_WORD, series_name

VIEWS = {"list": "Raised", "compare": "Compare", "watch": "Who watches what"}
PRESETS = ("1h", "6h", "24h", "7d", "30d")
PER_PAGE = 30
STALE_CURSOR = 400
LOWEST = 0.5
HALF_A_PHONE = 164
_PLACE = "farwatch.anomalies"


def page() -> None:
    """Show one anomaly when the address names one, else the chosen view."""
    anomaly_id = st.query_params.get("id")
    if anomaly_id:
        anomaly.show(anomaly_id)
        return
    st.header("Anomalies", anchor=False)
    view = st.segmented_control(
        "View",
        list(VIEWS),
        default="list",
        format_func=VIEWS.__getitem__,
        key="view",
        bind="query-params",
        required=True,
        label_visibility="collapsed",
    )
    if view == "compare":
        detectors.compare()
    elif view == "watch":
        detectors.watching()
    else:
        _list()


@st.fragment(key="anomalies", run_every="30s")
def _list() -> None:
    st.markdown(
        "Samples unlike anything their series has had before. Each is a mark on a chart and wakes nobody; when several "
        "metrics of a host are unusual at once, an incident says so."
    )
    with context.failures_shown("load the anomalies"):
        names = detectors.host_names()
        wanted = _filters(names)
        chosen = range_picker("anomalies", presets=PRESETS, default="24h")
        found, newest = _page(wanted, chosen)
        if not found["items"]:
            _nothing(wanted, names)
            return
        pressed = _table(found["items"], names)
        if pressed is not None:
            go("anomalies", {"id": pressed[0]})
        _turn(found.get("next_cursor"), newest=newest)
        context.updated()


def _filters(names: dict[str, str]) -> dict[str, Any]:
    """Show the filters, which the address holds, and return what the API is to be asked for."""
    known = sorted(metric["name"] for metric in detectors.catalogue())
    with st.container(horizontal=True, vertical_alignment="bottom"):
        return _widgets(names, known)


def _widgets(names: dict[str, str], known: list[str]) -> dict[str, Any]:
    def choice(label: str, key: str, words: dict[str, str], width: int) -> str | None:
        return st.selectbox(
            label,
            list(words),
            None,
            format_func=words.__getitem__,
            key=key,
            bind="query-params",
            placeholder="All",
            width=width,
        )

    return {
        "host_id": choice("Host", "host", names, HALF_A_PHONE),
        "detector": choice("Detector", "detector", DETECTOR_WORD, HALF_A_PHONE),
        "pattern": choice("Pattern", "pattern", PATTERN_WORD, HALF_A_PHONE),
        "min_score": st.slider(
            "Score at least", LOWEST, 1.0, LOWEST, 0.05, key="score", bind="query-params", width=HALF_A_PHONE
        ),
        "metric": choice("Metric", "metric", {name: name for name in known}, 300),
    }


def _page(wanted: dict[str, Any], chosen: Range) -> tuple[AnomalyPage, bool]:
    """Return the page that is shown, and whether it is the newest.

    Older pages stand still: their range is that of the page they were reached from, since a cursor goes with its question.
    """
    choice = (*wanted.values(), chosen.preset or (chosen.start, chosen.end))
    place = st.session_state.get(_PLACE)
    if place is None or place["choice"] != choice or not place["cursors"]:
        place = {"choice": choice, "range": (chosen.start, chosen.end), "cursors": []}
        st.session_state[_PLACE] = place
    start, end = place["range"]
    asked = {name: value for name, value in wanted.items() if name != "min_score" or value > LOWEST}
    cursor = place["cursors"][-1] if place["cursors"] else None
    try:
        found = context.api().anomalies(**asked, start=start, end=end, cursor=cursor, limit=PER_PAGE)
    except Problem as error:
        if error.status != STALE_CURSOR or cursor is None:
            raise
        place["cursors"].clear()
        found = context.api().anomalies(**asked, start=start, end=end, limit=PER_PAGE)
    return found, not place["cursors"]


def _turn(following: str | None, *, newest: bool) -> None:
    if newest and not following:
        return
    with st.container(horizontal=True):
        st.button("Newer", icon=":material/chevron_left:", disabled=newest, on_click=_newer)
        st.button(
            "Older",
            icon=":material/chevron_right:",
            disabled=not following,
            on_click=_older,
            args=(str(following),),
        )


def _newer() -> None:
    st.session_state[_PLACE]["cursors"].pop()


def _older(cursor: str) -> None:
    st.session_state[_PLACE]["cursors"].append(cursor)


def _table(items: list[Anomaly], names: dict[str, str]) -> tuple[str, str] | None:
    columns = {
        "When": "time",
        "Host": "text",
        "Series": "code",
        "Pattern": "text",
        "Value": "text",
        "Expected": "text",
        "Score": "text",
        "Detector": "text",
        "Verdict": "mark",
    }
    rows = []
    for item in items:
        value, expected = anomaly.value_and_expected(item)
        feedback = item.get("feedback")
        verdict = feedback["verdict"] if feedback else ""
        rows.append(
            Row(
                item["id"],
                [
                    item["at"],
                    names.get(item["host_id"], item["host_id"]),
                    series_name(item["metric"], item["labels"]),
                    PATTERN_WORD.get(item["pattern"], item["pattern"]),
                    value,
                    expected,
                    f"{item['score']:.2f}",
                    DETECTOR_WORD.get(item["detector"], item["detector"]),
                    anomaly.VERDICT.get(verdict),
                ],
                [Action("look", "Look")],
                dim=verdict == "false_alarm",
            )
        )
    return components.table(columns, rows, label="Anomalies", empty="", key="anomaly-list")


def _nothing(wanted: dict[str, Any], names: dict[str, str]) -> None:
    if not names:
        st.info("There is no host yet. Add one on the fleet page.", icon=":material/dns:")
        return
    filtered = [name for name, value in wanted.items() if value not in {None, LOWEST}]
    if filtered:
        st.info("No anomaly matches this choice in this range.", icon=":material/filter_alt_off:")
        st.button("Clear the filters", icon=":material/filter_alt_off:", on_click=_clear)
        return
    st.info(
        "Nothing was unusual in this range. A detector first learns: it says nothing during the first 200 samples of a "
        "series, and is harder to surprise the longer it has watched. A longer range shows what came before.",
        icon=":material/check_circle:",
    )


def _clear() -> None:
    for name in ("host", "metric", "detector", "pattern"):
        st.session_state[name] = None
    st.session_state["score"] = LOWEST
