"""Detectors: compare them over a range of a series, and choose which one watches which metrics."""

from __future__ import annotations

from fnmatch import fnmatchcase
from itertools import pairwise

import streamlit as st

from dashboard import components, context
from dashboard.anomaly_charts import comparison_panel
from dashboard.answers import ApiError, Problem
from dashboard.components import Action, Row
from dashboard.components.range_picker import range_picker, zoomed
from dashboard.pages.managing import attempt
from dashboard.ranges import Range
from dashboard.wire import DetectorChoice, DetectorRun, Host, MetricInfo, SeriesInfo, WatchedHost
from dashboard.words import DETECTOR_WORD, ago, plain, series_name

CHOICES = {**DETECTOR_WORD, "off": "Nobody"}
SLOW = ("isolation_forest", "lof")
MOST_CHOICES = 50
LATE_S = 300.0
NO_SAMPLES = 422
_RUNS = "farwatch.detector-runs"


def host_names() -> dict[str, str]:
    """Return the name of each host by its id; those of the same name get their id added."""
    hosts: list[Host] = context.remembered("hosts", 15, lambda: context.api().hosts())
    names = [host.get("name", host["id"]) for host in hosts]
    return {
        host["id"]: name if names.count(name) == 1 else f"{name} ({host['id']})"
        for host, name in zip(hosts, names, strict=True)
    }


def catalogue() -> list[MetricInfo]:
    """Return the catalogue of metrics."""
    return context.remembered("catalogue", 300, lambda: context.api().metrics())


# ---- compare


def compare() -> None:
    """Let the person run several detectors over a series and see where each finds something."""
    st.markdown(
        "Run detectors over a range of any series and see where each would have raised something. Nothing of it is kept."
    )
    if not context.may("analysis:run"):
        st.info("Running detectors takes the operator role.", icon=":material/lock:")
        return
    with context.failures_shown("run the detectors"):
        names = host_names()
        if not names:
            st.info("There is no host yet. Add one on the fleet page.", icon=":material/dns:")
            return
        chosen = _series(names)
        if chosen is None:
            return
        host_id, series = chosen
        picked = st.pills(
            "Detectors",
            list(DETECTOR_WORD),
            selection_mode="multi",
            default=list(DETECTOR_WORD),
            format_func=DETECTOR_WORD.__getitem__,
            key="detectors",
            bind="query-params",
        )
        span = range_picker("compare", presets=("1h", "6h", "24h", "7d"), default="6h")
        _runs(host_id, series, list(picked or ()), span)


def _series(names: dict[str, str]) -> tuple[str, SeriesInfo] | None:
    left, right = st.columns([2, 3])
    hosts = list(names)
    asked = st.query_params.get("of", st.session_state.get("farwatch.host"))
    host_id = left.selectbox(
        "Host",
        hosts,
        hosts.index(asked) if asked in hosts else 0,
        format_func=names.__getitem__,
        key="compare-host",
    )
    known = {series_name(one["metric"], one["labels"]): one for one in context.api().series(str(host_id))}
    if not known:
        st.info("This host has not sent anything yet.", icon=":material/hourglass_empty:")
        return None
    words, wanted = sorted(known), st.query_params.get("series", "cpu.percent")
    name = right.selectbox(
        "Series", words, words.index(wanted) if wanted in words else 0, key="compare-series"
    )
    st.query_params.update({"of": str(host_id), "series": str(name)})
    return str(host_id), known[str(name)]


def _runs(host_id: str, series: SeriesInfo, picked: list[str], span: Range) -> None:
    """Run what was picked when asked to, and show the last runs of this choice."""
    if not picked:
        st.info("Choose at least one detector.", icon=":material/touch_app:")
        return
    choice = (host_id, series_name(series["metric"], series["labels"]), span.preset or (span.start, span.end))
    kept = st.session_state.get(_RUNS)
    if kept is None or kept["choice"] != choice:
        kept = {"choice": choice, "span": (span.start, span.end), "wanted": [], "runs": {}}
        st.session_state[_RUNS] = kept
    if st.button("Run", type="primary", icon=":material/play_arrow:"):
        kept.update(span=(span.start, span.end), wanted=list(picked), runs={})
    # News from elsewhere may begin this script anew while it waits: what is wanted and not there yet is asked for again.
    for name in [name for name in kept["wanted"] if name not in kept["runs"]]:
        with st.spinner(f"{DETECTOR_WORD[name]} is looking …"):
            try:
                kept["runs"][name] = context.api().run_detector(
                    host_id, series["metric"], series["labels"], name, *kept["span"]
                )
            except ApiError as error:
                kept["wanted"] = []
                if not isinstance(error, Problem) or error.status != NO_SAMPLES:
                    raise
                st.info(f"Nothing to look at: {plain(error.message)}.", icon=":material/hourglass_empty:")
                return
    runs: list[DetectorRun] = [kept["runs"][name] for name in picked if name in kept["runs"]]
    if not runs:
        st.caption(
            "Isolation forest and LOF take some seconds for a few thousand samples, the others less than one."
        )
        return
    _drawn(series, runs, kept["span"])


def _drawn(series: SeriesInfo, runs: list[DetectorRun], span: tuple[int, int]) -> None:
    known = {metric["name"]: metric for metric in catalogue()}
    metric = known.get(series["metric"], {"name": series["metric"]})
    times = runs[0]["times"]
    gaps = sorted(after - before for before, after in pairwise(times))
    components.charts(
        context.current(),
        [comparison_panel(series["metric"], series["labels"], runs, metric)],
        key="compare-chart",
        start=span[0],
        end=span[1],
        timezone=context.timezone(),
        step_ms=(gaps[len(gaps) // 2] if gaps else 5000) * max(1, len(times) // 1500),
        columns=1,
        revision=f"{span}:{[run['detector'] for run in runs]}",
        on_range=zoomed,
    )
    rows = [
        Row(
            run["detector"],
            [
                DETECTOR_WORD[run["detector"]],
                str(len(run["found"])),
                f"{max(run['score'], default=0.0):.2f}",
                f"{run['threshold']:.2f}",
            ],
        )
        for run in runs
    ]
    columns = {"Detector": "text", "Anomalies": "text", "Highest score": "text", "Threshold": "text"}
    components.table(columns, rows, label="What each detector found", empty="", key="compare-table")
    zone = plain(context.timezone() or "UTC")
    pace = "every sample" if runs[0]["step_s"] == 0 else f"means of {ago(runs[0]['step_s'])}"
    st.caption(
        f"{len(times):,} values, {pace}. Each detector began without knowledge at the left edge: it says nothing of the "
        f"first 200 values and little of the next few hundred. Times in {zone}."
    )


# ---- who watches what


def watching() -> None:
    """Show which detector watches which metrics; those who may can choose."""
    may = context.may("config:write")
    st.markdown(
        "Each metric is watched by the first line that matches it. What no line matches is watched by Farwatch's own "
        "detector, which needs no tuning."
    )
    with context.failures_shown("load the choices"):
        choices, etag = context.api().detectors()
        if may and len(choices) < MOST_CHOICES:
            _add(choices, etag)
        _act(choices, _lines(choices, etag, may=may))
        if not may:
            st.caption("Operators and administrators can change it.")
        if any(choice["detector"] in SLOW for choice in choices):
            _behind()


def _lines(choices: list[DetectorChoice], etag: str | None, *, may: bool) -> tuple[str, str] | None:
    """Draw the choices. A line's id holds the ETag it was drawn with: its number means nothing in another list."""
    known = [metric["name"] for metric in catalogue()]
    rows = []
    for number, choice in enumerate(choices):
        actions = [Action("up", "Up")] if number else []
        actions.append(Action("remove", "Remove", danger=True))
        matched = [name for name in known if fnmatchcase(name, choice["metric"])]
        earlier = {
            name for before in choices[:number] for name in known if fnmatchcase(name, before["metric"])
        }
        mine = [name for name in matched if name not in earlier]
        watched = ", ".join(mine[:3]) + (f" and {len(mine) - 3} more" if len(mine) > 3 else "")
        rows.append(
            Row(
                f"{etag or ''}/{number}",
                [
                    choice["metric"],
                    CHOICES.get(choice["detector"], choice["detector"]),
                    watched or "nothing known yet",
                ],
                actions if may else [],
            )
        )
    columns = {"Metrics": "code", "Watched by": "text", "That is": "text"}
    empty = "No choice has been made: Farwatch's own detector watches every metric."
    return components.table(columns, rows, label="Which detector watches what", empty=empty, key="choices")


def _add(choices: list[DetectorChoice], etag: str | None) -> None:
    with st.form("choose-detector", border=True), st.container(horizontal=True, vertical_alignment="bottom"):
        glob = st.text_input("Metrics", max_chars=100, placeholder="disk.* or cpu.percent", width=280)
        detector = st.selectbox("Watched by", list(CHOICES), format_func=CHOICES.__getitem__, width=220)
        if not st.form_submit_button("Choose", type="primary"):
            return
    glob = glob.strip()
    if not glob:
        st.warning("Name a metric, or several with * and ?.")
        return
    # The newest choice goes first: it is the one the person has in mind.
    kept = [choice for choice in choices if choice["metric"] != glob]
    _save([{"metric": glob, "detector": str(detector)}, *kept], etag)


def _act(choices: list[DetectorChoice], pressed: tuple[str, str] | None) -> None:
    if pressed is None:
        return
    etag, _, line = pressed[0].rpartition("/")
    number, changed = int(line), list(choices)
    # A line that is not there any more was drawn from another list: the API refuses the change, and the page says so.
    if number < len(changed):
        moved = changed.pop(number)
        if pressed[1] == "up":
            changed.insert(max(number - 1, 0), moved)
    _save(changed, etag or None)


def _save(choices: list[DetectorChoice], etag: str | None) -> None:
    done = "Saved. It counts within a minute; a detector that takes over begins by learning."
    if attempt("save the choice", lambda: context.api().choose_detectors(choices, etag), done):
        st.rerun()


def _behind() -> None:
    """Say how far behind the detectors are that look every half minute."""
    hosts: list[WatchedHost] = context.remembered("watched", 10, lambda: context.api().watched())
    if not hosts:
        st.caption("No host sends a series that isolation forest or LOF watch.")
        return
    looked = [host for host in hosts if host["behind_s"] is not None]
    waiting = len(hosts) - len(looked)
    series = sum(host["series"] for host in hosts)
    worst = max(looked, key=lambda host: host["behind_s"] or 0.0, default=None)
    words = f"Isolation forest and LOF look every half minute: at {series} series of {_hosts(len(hosts))}."
    if worst is not None:
        words += f" Furthest behind: {plain(worst['host_name'])}, {ago(worst['behind_s'] or 0.0)}."
    if waiting:
        words += f" {_hosts(waiting).capitalize()} {'waits' if waiting == 1 else 'wait'} for a first look."
    left_out = sum(host["left_out"] for host in hosts)
    if left_out:
        words += f" {left_out} series {'is' if left_out == 1 else 'are'} not watched: a host may have 200 watched by them."
    if worst is not None and (worst["behind_s"] or 0.0) > LATE_S:
        st.warning(f"{words} Choose them for fewer metrics.", icon=":material/hourglass_bottom:")
    else:
        st.caption(words)


def _hosts(count: int) -> str:
    return "one host" if count == 1 else f"{count} hosts"
