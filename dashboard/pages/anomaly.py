"""One anomaly: its curve and the range expected of it, what it was in words, and what people say of it."""

from __future__ import annotations

from itertools import pairwise

import streamlit as st

from dashboard import components, context
from dashboard.anomaly_charts import anomaly_panel
from dashboard.answers import ApiError, Problem
from dashboard.charts import anomaly_marks, metric_panel
from dashboard.components.facts import facts
from dashboard.pages import detectors
from dashboard.pages.fleet import go
from dashboard.pages.managing import attempt, people_names
from dashboard.ranges import HOUR, MINUTE
from dashboard.wire import Anomaly
from dashboard.words import (
    DETECTOR_WORD,
    PATTERN_WORD,
    ago,
    amount,
    beside_range,
    clock_time,
    plain,
    series_name,
)

VERDICT = {"false_alarm": ("unknown", "✕", "False alarm"), "real": ("ok", "✓", "Real")}
USUAL_THRESHOLD = 0.5
NOT_FOUND = 404
VIEW_COMPARE = "Compare"
POINTS = 600


def value_and_expected(item: Anomaly) -> tuple[str, str]:
    """Return the value and the range that was expected, in words, as far as the metric can have such values.

    The range is empty where none was known. A value just outside its range gets the digits that show it.
    """
    value, unit = item["value"], item["unit"]
    low, high = item.get("expected_low"), item.get("expected_high")
    if low is None or high is None:
        return amount(value, unit), ""
    metric = next((one for one in detectors.catalogue() if one["name"] == item["metric"]), None)
    if metric is not None:
        least, most = metric.get("low"), metric.get("high")
        low = low if least is None else max(low, least)
        high = high if most is None else min(high, most)
    if value is None:
        return amount(None), f"{amount(low, unit)} to {amount(high, unit)}"
    said, least_said, most_said = beside_range(value, low, high, unit)
    return said, f"{least_said} to {most_said}"


def show(anomaly_id: str) -> None:
    """Show the anomaly of that id."""
    from dashboard.pages.registry import named

    st.page_link(named("anomalies"), label="All anomalies", icon=":material/arrow_back:")
    with context.failures_shown("load the anomaly"):
        try:
            item = context.api().anomaly(anomaly_id)
        except Problem as error:
            if error.status != NOT_FOUND:
                raise
            st.warning(
                "There is no such anomaly. Its host may have been removed.", icon=":material/search_off:"
            )
            return
        _head(item)
        _verdict(item)
        _curve(item)
        _facts(item)
        _doors(item)
        context.updated()


def _head(item: Anomaly) -> None:
    names = detectors.host_names()
    series = plain(series_name(item["metric"], item["labels"]))
    st.header(f"{series} on {plain(names.get(item['host_id'], item['host_id']))}", anchor=False)
    feedback = item.get("feedback")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(PATTERN_WORD.get(item["pattern"], plain(item["pattern"])), color="orange")
        if feedback:
            _, icon, word = VERDICT[feedback["verdict"]]
            st.badge(f"{icon} {word}", color="green" if feedback["verdict"] == "real" else "gray")
        zone = context.timezone()
        st.caption(
            f"{ago((context.now() - item['at']) / 1000)} ago, at {clock_time(item['at'], zone, seconds=True)}",
            width="content",
        )
    st.markdown(plain(item["reason"], 500))


def _verdict(item: Anomaly) -> None:
    """Offer to say what it was, and to take that back."""
    feedback = item.get("feedback")
    if not context.may("anomalies:feedback"):
        st.caption("You may look but not say what it was: that takes the operator role.")
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        if feedback is None:
            if st.button("False alarm", icon=":material/notifications_off:"):
                _say(item, "false_alarm")
            if st.button("Real", icon=":material/check:"):
                _say(item, "real")
            st.caption("A false alarm makes the like of it less likely to be raised again.", width="content")
            return
        if st.button("Take it back", icon=":material/undo:") and attempt(
            "take it back", lambda: context.api().unjudge(item["id"])
        ):
            st.rerun()
        by = _who(feedback["said_by"])
        said = f"Said by {by} at {clock_time(feedback['said_at'], context.timezone())}."
        raised = (
            " The threshold of this series is higher for it." if feedback["verdict"] == "false_alarm" else ""
        )
        st.caption(said + raised, width="content")


def _who(user_id: str) -> str:
    """Return "you", or the name of somebody else as far as the person may know it."""
    if user_id == context.current().user["id"]:
        return "you"
    return plain(people_names().get(user_id, "somebody else"))


def _say(item: Anomaly, verdict: str) -> None:
    if attempt(
        "keep what you said", lambda: context.api().judge(item["id"], verdict), "Kept. You can take it back."
    ):
        st.rerun()


def _curve(item: Anomaly) -> None:
    known = {metric["name"]: metric for metric in detectors.catalogue()}
    metric = known.get(item["metric"], {"name": item["metric"], "unit": item["unit"]})
    run = item.get("around")
    if run is not None and run["times"]:
        start, end = run["times"][0], run["times"][-1]
        others = _others(item, start, end)
        panel = anomaly_panel(item, run, others, metric)
        step_ms = _step(run["times"])
        note = (
            "Shaded: what was expected of each sample, by a detector that has learned from the samples before. Diamonds: "
            "anomalies of this series; click one to open it."
        )
    else:
        start, end = item["at"] - HOUR, min(item["at"] + 30 * MINUTE, context.now())
        answer = context.api().range([item["host_id"]], [item["metric"]], start, end, points=POINTS)
        answer["series"] = [one for one in answer["series"] if one["labels"] == item["labels"]]
        marks = anomaly_marks([item], [item["metric"]])
        panel = metric_panel(answer, metric, {})
        panel |= {"traces": [*panel["traces"], *([marks] if marks else [])], "now": item["at"]}
        step_ms = int(answer["step_s"] * 1000)
        note = (
            "What was expected of each sample cannot be shown: the samples are no longer kept one by one, or the detector "
            "does not answer just now."
        )
    opened = components.charts(
        context.current(),
        [panel],
        key="anomaly-chart",
        start=start,
        end=end,
        timezone=context.timezone(),
        step_ms=step_ms,
        columns=1,
        revision=f"{item['id']}:{start}:{end}",
    )
    if opened:
        go("anomalies", {"id": opened})
    st.caption(note)


def _others(item: Anomaly, start: int, end: int) -> list[Anomaly]:
    try:
        found = context.api().anomalies(
            host_id=item["host_id"],
            metric=item["metric"],
            detector=item["detector"],
            start=start,
            end=end + 1,
            limit=100,
        )
    except ApiError as error:
        st.caption(f"Other anomalies are not shown: {plain(error.message)}")
        return []
    return found["items"]


def _step(times: list[int]) -> int:
    """Return the usual time between two samples, in milliseconds."""
    steps = sorted(after - before for before, after in pairwise(times))
    return steps[len(steps) // 2] if steps else 5000


def _facts(item: Anomaly) -> None:
    zone = context.timezone()
    threshold = item.get("threshold", USUAL_THRESHOLD)
    moved = (
        "the usual one"
        if threshold <= USUAL_THRESHOLD
        else f"raised from {USUAL_THRESHOLD} by what was called false alarms of this series"
    )
    late = (item["raised_at"] - item["at"]) / 1000
    value, expected = value_and_expected(item)
    rows = {
        "Value": f"**{value}**, expected {expected or 'unknown yet'}",
        "Score": f"**{item['score']:.2f}** of 1; the threshold now is {threshold:.2f}, {moved}",
        "Detector": DETECTOR_WORD.get(item["detector"], plain(item["detector"])),
    }
    # A value that is only new, or that no longer changes, need not have left its range.
    if item["since"] < item["at"]:
        rows["Outside its range since"] = clock_time(item["since"], zone, seconds=True)
    rows["Raised"] = (
        f"{clock_time(item['raised_at'], zone, seconds=True)}, {ago(late)} after the sample was taken"
    )
    with st.container(border=True):
        facts(rows)


def _doors(item: Anomaly) -> None:
    from dashboard.pages.registry import named

    start, end = str(item["at"] - HOUR), str(min(item["at"] + 30 * MINUTE, context.now()))
    around = {"from": start, "to": end}
    with st.container(horizontal=True):
        st.page_link(
            named("host"),
            label="The host's charts at that time",
            icon=":material/monitoring:",
            query_params={"id": item["host_id"], **around},
        )
        if context.may("analysis:run"):
            st.page_link(
                named("anomalies"),
                label="What other detectors say",
                icon=":material/compare:",
                query_params={
                    "view": VIEW_COMPARE,
                    "of": item["host_id"],
                    "series": series_name(item["metric"], item["labels"]),
                    "from": str(item["at"] - 6 * HOUR),
                    "to": end,
                },
            )
