"""The form of a rule: what it compares, for whom, and what it would have done on a host's history."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard import components, context
from dashboard.answers import ApiError
from dashboard.components import Row
from dashboard.pages.detectors import catalogue, host_names
from dashboard.pages.managing import attempt
from dashboard.ranges import DAY
from dashboard.words import (
    SEVERITIES,
    SEVERITY_WORD,
    ago,
    amount,
    clock_time,
    interval,
    plain,
    series_name,
)

NEW_CONDITION = {"metric": "cpu.percent", "comparison": "above", "enter": 90.0, "leave": 85.0}
SIGN = {"above": ">", "below": "<"}
DAYS = {"24 h": 1, "3 days": 3, "7 days": 7}
MOST_FIRINGS = 50


def conditions(rule: dict[str, Any]) -> str:
    """Return what a rule compares, and on which hosts if not on all."""
    units = {metric["name"]: metric.get("unit", "") for metric in catalogue()}
    series_labels = rule.get("series_labels") or {}
    words = " and ".join(_condition(one, units, series_labels) for one in rule["conditions"])
    only = written(rule.get("host_labels") or {})
    return f"{words} on {only}" if only else words


def _condition(condition: dict[str, Any], units: dict[str, str], series_labels: dict[str, str]) -> str:
    what, unit = series_name(condition["metric"], series_labels), units.get(condition["metric"], "")
    match condition.get("measure"):
        case "change_per_hour":
            what = f"change of {what} per hour"
        case "silent_s":
            what, unit = f"silence of {what}", "s"
        case "seconds_to_bound":
            what, unit = f"time until {what} reaches {amount(condition.get('bound', 0.0), unit)}", "s"
    sign = SIGN.get(condition["comparison"], condition["comparison"])
    return (
        f"{what} {sign} {interval(condition['enter']) if unit == 's' else amount(condition['enter'], unit)}"
    )


def written(labels: dict[str, str]) -> str:
    """Return labels as people write them, such as ``env=prod, role=db``."""
    return ", ".join(f"{name}={value}" for name, value in sorted(labels.items()))


def parsed(text: str) -> dict[str, str] | None:
    """Return the labels of such a text, empty for none; None if it cannot be read."""
    found = {}
    for part in filter(None, (one.strip() for one in text.split(","))):
        name, sign, value = part.partition("=")
        if not sign or not name.strip() or not value.strip():
            return None
        found[name.strip()] = value.strip()
    return found


@st.dialog("Rule", width="large")
def edit(rule: dict[str, Any] | None) -> None:
    """Let the person make or change a rule, and try it on history before it is saved."""
    with st.form("rule", border=False):
        name, changes = _fields(rule)
        names = host_names()
        with st.container(horizontal=True, vertical_alignment="bottom"):
            save = st.form_submit_button("Save", type="primary")
            host_id = st.selectbox("Try it on", list(names), format_func=names.__getitem__, width=220)
            days = st.selectbox("over the last", list(DAYS), width=120)
            trial = st.form_submit_button("Try it", icon=":material/history:", disabled=not names)
    if not (save or trial):
        return
    if changes is None:
        st.warning("Write labels as name=value, with commas between them: env=prod, role=db.")
    elif _never_ends(changes["conditions"][0]):
        st.warning("It must end on the other side of where it opens, or at it: else it could never end.")
    elif trial:
        _try({**_written_rule(rule), **changes, "name": name or "untitled"}, str(host_id), DAYS[str(days)])
    elif not name:
        st.warning("Give the rule a name.")
    elif _saved(rule, {**changes, "name": name}):
        st.rerun()


def _fields(rule: dict[str, Any] | None) -> tuple[str, dict[str, Any] | None]:
    """Show the fields; return the name and the other changes, None when the labels cannot be read."""
    first: dict[str, Any] = rule["conditions"][0] if rule else NEW_CONDITION
    units = {metric["name"]: metric.get("unit", "") for metric in catalogue()}
    metrics = sorted({*units, first["metric"]})
    name = st.text_input("Name", rule["name"] if rule else "", max_chars=200)
    metric = st.selectbox(
        "Metric",
        metrics,
        index=metrics.index(first["metric"]),
        format_func=lambda one: f"{one} in {units[one]}" if units.get(one) else one,
    )
    left, middle, right = st.columns(3)
    sides = list(SIGN)
    comparison = left.selectbox("Is", sides, index=sides.index(first["comparison"]))
    enter = middle.number_input("Opens at", value=float(first["enter"]))
    leave = right.number_input(
        "Ends at",
        value=float(first["leave"] if first.get("leave") is not None else first["enter"]),
        help="A little apart from where it opens, so that it does not flap.",
    )
    held = left.number_input("Held for (s)", 0, 86_400, int(rule["for_s"] if rule else 60))
    severities = list(SEVERITIES)
    severity = middle.selectbox(
        "Severity",
        severities,
        index=severities.index(rule["severity"] if rule else "warning"),
        format_func=SEVERITY_WORD.__getitem__,
    )
    only = right.text_input(
        "Only hosts labelled",
        written(rule.get("host_labels") or {}) if rule else "",
        placeholder="All hosts",
        help="Such as env=prod, role=db: hosts with all of these labels.",
    )
    summary = st.text_input("What it means", rule["summary"] if rule else "", max_chars=500)
    if rule and len(rule["conditions"]) > 1:
        st.caption(f"The other conditions stay: {plain(conditions({'conditions': rule['conditions'][1:]}))}")
    labels = parsed(only)
    if labels is None:
        return name.strip(), None
    condition = {**first, "metric": metric, "comparison": comparison, "enter": enter, "leave": leave}
    return name.strip(), {
        "conditions": [condition, *(rule["conditions"][1:] if rule else [])],
        "severity": severity,
        "for_s": float(held),
        "host_labels": labels,
        "summary": summary,
    }


def _never_ends(condition: dict[str, Any]) -> bool:
    apart = condition["enter"] - condition["leave"]
    return bool(apart < 0 if condition["comparison"] == "above" else apart > 0)


def _written_rule(rule: dict[str, Any] | None) -> dict[str, Any]:
    """Return a rule as people write it: without what the API adds."""
    return {name: value for name, value in (rule or {}).items() if name not in {"id", "stock"}}


def _saved(rule: dict[str, Any] | None, changes: dict[str, Any]) -> bool:
    if rule is None:
        return attempt("make the rule", lambda: context.api().send("POST", "/rules", changes))
    return attempt("change the rule", lambda: save(rule["id"], changes))


def save(rule_id: str, changes: dict[str, Any]) -> None:
    """Read the rule again, apply the changes and put it back only if nobody changed it in between."""
    current, etag = context.api().read(f"/rules/{rule_id}")
    context.api().send("PUT", f"/rules/{rule_id}", _written_rule(current) | changes, if_match=etag)


def _try(rule: dict[str, Any], host_id: str, days: int) -> None:
    """Show when the rule would have opened and ended something on that host."""
    end = context.now()
    body = {"rule": rule, "host_id": host_id, "from": end - days * DAY, "to": end}
    try:
        with st.spinner("Replaying the samples …"):
            found = context.api().send("POST", "/rules/preview", body)
    except ApiError as error:
        context.show_failure("try the rule", error)
        return
    if not found["samples"]:
        st.info(
            "This host sent nothing in that time that the rule looks at.", icon=":material/hourglass_empty:"
        )
        return
    firings = [(group, firing) for group in found["groups"] for firing in group["firings"]]
    firings.sort(key=lambda pair: pair[1]["fired_at"], reverse=True)
    count = len(firings)
    times = (
        "not have opened anything"
        if not count
        else f"have opened {'once' if count == 1 else f'{count} times'}"
    )
    pace = "every sample" if found["step_s"] == 0 else f"means of {interval(found['step_s'])}"
    st.markdown(f"It would **{times}**. Looked at: {pace}; nothing was saved or sent.")
    if not rule.get("enabled", True):
        st.caption("The rule is switched off: it was tried all the same.")
    elif not found["applies"]:
        st.caption("The rule's labels do not choose this host: it was tried on it all the same.")
    if firings:
        _firings(firings[:MOST_FIRINGS], end, rule["conditions"][0].get("measure"))
    if count > MOST_FIRINGS:
        st.caption(f"The newest {MOST_FIRINGS} are listed.")


def _firings(firings: list[tuple[dict[str, Any], dict[str, Any]]], end: int, measure: str | None) -> None:
    units = {metric["name"]: metric.get("unit", "") for metric in catalogue()}
    silent = measure == "silent_s"  # then the value is the length of the silence
    zone = context.timezone()
    rows = [
        Row(
            str(number),
            [
                clock_time(firing["fired_at"], zone, seconds=True),
                ago(((firing["resolved_at"] or end) - firing["fired_at"]) / 1000)
                if firing["resolved_at"]
                else "still open",
                series_name(group["metric"], group["labels"]),
                amount(firing["value"], "s" if silent else units.get(group["metric"], "")),
            ],
        )
        for number, (group, firing) in enumerate(firings)
    ]
    columns = {f"Opened, {zone or 'UTC'}": "text", "Lasted": "text", "Series": "code", "Value": "text"}
    components.table(columns, rows, label="What it would have opened", empty="", key="rule-trial")
