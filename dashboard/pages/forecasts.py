"""Forecasts: what runs out and when, and what any series is expected to do."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard import components, context
from dashboard.answers import Problem
from dashboard.charts import forecast_panel
from dashboard.components import Action, Row
from dashboard.pages.detectors import host_names
from dashboard.ranges import DAY, HOUR
from dashboard.wire import Forecast, Host, Outlook, SeriesInfo
from dashboard.words import SEVERITY_ICON, SEVERITY_WORD, ago, amount, plain, series_name

MODELS = {
    "default": "Farwatch's own",
    "seasonal_naive": "Like yesterday",
    "moving_average": "Moving average",
    "prophet": "Prophet",
    "arima": "ARIMA",
}
SLOW = ("prophet", "arima")
HORIZONS = {"24 h": 24, "48 h": 48, "7 days": 168}
MARK = {"critical": "critical", "high": "critical", "warning": "warning", "info": "info"}
MOST_OUTLOOKS = 8
FRESH_MS = 15 * 60_000
SOON_S = 72 * 3600
HISTORY_POINTS = 900
UNFIT = 422
_SHOWN = "farwatch.forecast"


def page() -> None:
    """Show the outlooks, then the forecast that was asked for."""
    st.header("Forecasts", anchor=False)
    st.markdown("What runs out, when, and what a series is expected to do in the next days.")
    hosts: list[Host] = []
    with context.failures_shown("load the hosts"):
        hosts = context.remembered("hosts", 15, lambda: context.api().hosts())
    if not hosts:
        st.info("There is no host yet. Add one on the fleet page.", icon=":material/dns:")
        return
    names = host_names()
    outlooks: list[Outlook] = []
    with context.failures_shown("load when things run out"):
        outlooks = context.api().outlooks()
        _capacity(outlooks, names)
    _choose(names, outlooks)
    context.updated()


def _capacity(outlooks: list[Outlook], names: dict[str, str]) -> None:
    rows, shown = [], {}
    for one in outlooks[:MOST_OUTLOOKS]:
        mark = _mark(one)
        what = series_name(one["metric"], one["labels"])
        now = amount(one["current"], one["unit"])
        cells = [names.get(one["host_id"], one["host_id"]), what, now, _when(one), mark, one["words"]]
        # Not its place: by the time it is pressed another may stand there.
        row = f"{one['host_id']} {what}"
        shown[row] = one
        rows.append(Row(row, cells, [Action("chart", "Chart")]))
    columns = {
        "Host": "text",
        "Series": "code",
        "Now": "text",
        "Full": "text",
        "": "mark",
        "In words": "text",
    }
    empty = "No outlook yet. A bounded series, such as a disk, gets one after a day of history."
    pressed = components.table(columns, rows, label="What runs out", empty=empty, key="outlooks")
    if len(outlooks) > MOST_OUTLOOKS:
        st.caption(f"The {MOST_OUTLOOKS} soonest of {len(outlooks)}. Look at any other series below.")
    if pressed is not None and pressed[0] in shown:
        chosen = shown[pressed[0]]
        what = series_name(chosen["metric"], chosen["labels"])
        st.query_params.update({"host": chosen["host_id"], "series": what})
        st.session_state.pop("forecast-host", None)
        st.session_state.pop("forecast-series", None)


def _when(outlook: Outlook) -> str:
    if outlook["current"] >= outlook["threshold"]:
        return "now"
    if outlook["median_s"] is None:
        return "not within a year"
    return f"in about {ago(outlook['median_s'])}" if outlook["median_s"] else "perhaps by now"


def _mark(outlook: Outlook) -> tuple[str, str, str]:
    """Return the outlook's alarm; soon but without one, the estimate says too little to raise it."""
    alert = outlook.get("alert")
    if alert in MARK:
        return MARK[alert], SEVERITY_ICON[alert], SEVERITY_WORD[alert]
    soon = outlook["median_s"] is not None and outlook["median_s"] < SOON_S
    return ("info", "?", "Uncertain") if soon else ("ok", "✓", "Fine")


def _choose(names: dict[str, str], outlooks: list[Outlook]) -> None:
    st.subheader("Look ahead", anchor=False)
    one, two, three, four = st.columns([2, 3, 2, 2], vertical_alignment="bottom")
    hosts = list(names)
    asked = st.query_params.get("host", st.session_state.get("farwatch.host"))
    host_id = one.selectbox(
        "Host",
        hosts,
        hosts.index(asked) if asked in hosts else 0,
        format_func=names.__getitem__,
        key="forecast-host",
    )
    with context.failures_shown("load the host's series"):
        series = {series_name(s["metric"], s["labels"]): s for s in context.api().series(str(host_id))}
        if not series:
            st.info("This host has not sent anything yet.", icon=":material/hourglass_empty:")
            return
        wanted = st.query_params.get("series", "")
        words = sorted(series, key=lambda text: (not text.startswith("disk.used"), text))
        chosen = two.selectbox(
            "Series", words, words.index(wanted) if wanted in words else 0, key="forecast-series"
        )
        model = three.selectbox("Model", list(MODELS), format_func=_choice, key="model", bind="query-params")
        horizon = four.segmented_control(
            "Ahead", list(HORIZONS), default="48 h", key="ahead", bind="query-params", required=True
        )
        st.query_params.update({"host": str(host_id), "series": str(chosen)})
        found = series[str(chosen)]
        try:
            made = _ask(str(host_id), found, str(model), HORIZONS[str(horizon)])
        except Problem as error:
            if error.status != UNFIT:
                raise
            st.info(f"No forecast yet: {plain(error.message)}", icon=":material/hourglass_empty:")
            return
        context.live_fragment("forecast")
        _show(made["id"], str(host_id), found, _threshold(outlooks, str(host_id), found))


def _choice(model: str) -> str:
    return f"{MODELS[model]} (slow)" if model in SLOW else MODELS[model]


def _ask(host_id: str, series: SeriesInfo, model: str, hours: int) -> Forecast:
    """Return the forecast of this choice: the next reruns show the one that was made, until it is a step old."""
    choice = (host_id, series_name(series["metric"], series["labels"]), model, hours)
    kept: tuple[Any, Forecast] | None = st.session_state.get(_SHOWN)
    if kept is not None and kept[0] == choice and context.now() - kept[1]["made_at"] < FRESH_MS:
        return kept[1]
    with st.spinner("Looking ahead …"):
        made = context.api().ask_forecast(
            host_id, series["metric"], series["labels"], model=model, horizon_s=hours * 3600
        )
    st.session_state[_SHOWN] = (choice, made)
    return made


def _threshold(outlooks: list[Outlook], host_id: str, series: SeriesInfo) -> float | None:
    same = (
        one["threshold"]
        for one in outlooks
        if (one["host_id"], one["metric"], one["labels"]) == (host_id, series["metric"], series["labels"])
    )
    return next(same, None)


@st.fragment(key="forecast", run_every="5s")
def _show(forecast_id: str, host_id: str, series: SeriesInfo, threshold: float | None) -> None:
    with context.failures_shown("load the forecast"):
        made = context.remembered(f"forecast:{forecast_id}", 4, lambda: context.api().forecast(forecast_id))
        if made["state"] == "pending":
            st.status(f"{MODELS.get(made['model'], made['model'])} is working on it …", state="running")
            return
        if made["state"] == "failed":
            st.warning(f"No forecast: {plain(made['error'])}", icon=":material/hourglass_empty:")
            return
        _draw(made, host_id, series, threshold)


def _draw(made: Forecast, host_id: str, series: SeriesInfo, threshold: float | None) -> None:
    catalogue = context.remembered("catalogue", 300, lambda: context.api().metrics())
    known = {metric["name"]: metric for metric in catalogue}
    metric = known.get(series["metric"], {"name": series["metric"]})
    start = made["made_at"] - max(3 * DAY, made["horizon_s"] * 1000)
    drawn = st.session_state.get("farwatch.forecast-drawn")
    if drawn is None or drawn[0] != made["id"]:
        answer = context.api().range(
            [host_id], [series["metric"]], start, made["made_at"], points=HISTORY_POINTS
        )
        drawn = (made["id"], answer)
        st.session_state["farwatch.forecast-drawn"] = drawn
    answer = drawn[1]
    components.charts(
        context.current(),
        [forecast_panel(answer, made, metric, threshold)],
        key="forecast-view",
        start=start,
        end=made["times"][-1] if made["times"] else made["made_at"] + HOUR,
        timezone=context.timezone(),
        step_ms=int(max(answer["step_s"], made["horizon_s"] / max(1, len(made["times"]))) * 1000),
        columns=1,
        revision=made["id"],
    )
    model = MODELS.get(made["model"], made["model"])
    st.caption(
        f"Dashed: what is expected, by {model}. Shaded: where it should lie 80 and 95 times in 100. "
        "Trust it less after a change of what the machine does."
    )
    _turned_out(host_id, series["metric"])


def _turned_out(host_id: str, metric: str) -> None:
    """Show what the forecasts whose time has passed were worth, model by model."""
    st.subheader("How earlier forecasts turned out", anchor=False)
    found = context.remembered(
        f"accuracy:{host_id}:{metric}", 60, lambda: context.api().forecast_accuracy(host_id, metric)
    )
    columns = {
        "Model": "text",
        "Judged": "text",
        "Error": "text",
        "In the 80 % range": "text",
        "In the 95 % range": "text",
    }
    rows = [
        Row(
            one["model"],
            [
                MODELS.get(one["model"], one["model"]),
                str(one["forecasts"]),
                _beside_yesterday(one["relative_mae"]),
                f"{100 * one['cover80']:.0f} %",
                f"{100 * one['cover95']:.0f} %",
            ],
        )
        for one in found
    ]
    empty = (
        f"No forecast of {metric} on this host has been judged yet. One is as soon as its time has passed."
    )
    components.table(columns, rows, label="How earlier forecasts turned out", empty=empty, key="accuracy")


def _beside_yesterday(relative: float | None) -> str:
    """Return an error relative to repeating yesterday in words."""
    if relative is None:
        return "–"
    if relative <= 1:
        return f"{100 * (1 - relative):.0f} % less than repeating yesterday"
    return f"{100 * (relative - 1):.0f} % more than repeating yesterday"
