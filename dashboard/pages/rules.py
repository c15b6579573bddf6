"""Rules: what opens an incident."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard import components, context
from dashboard.components import Action, Row
from dashboard.pages.managing import attempt, confirm, name_of
from dashboard.wire import MetricInfo
from dashboard.words import SEVERITIES, SEVERITY_ICON, SEVERITY_WORD, amount, interval, plain

COLOR = {"critical": "critical", "high": "critical", "warning": "warning", "info": "info"}
NEW_CONDITION = {"metric": "cpu.percent", "comparison": "above", "enter": 90.0, "leave": 85.0}
SIGN = {"above": ">", "below": "<"}


def page() -> None:
    """Show the rules; those who may can change, switch off and make them."""
    st.header("Rules", anchor=False)
    st.markdown(
        "A rule opens an incident when its conditions have held for a while. Changes count within ten seconds."
    )
    may = context.may("rules:write")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if may and st.button("New rule", type="primary", icon=":material/add:"):
            _edit(None)
        text = st.text_input(
            "Find rules",
            key="rule",
            bind="query-params",
            placeholder="Name or metric",
            icon=":material/search:",
            label_visibility="collapsed",
            width=320,
        )
    with context.failures_shown("load the rules"):
        rules = context.api().items("/rules", most=500)
        words = (text or "").lower()
        shown = [rule for rule in rules if words in f"{rule['name']} {_conditions(rule)}".lower()]
        _act(shown, _table(shown, may=may))
        context.updated()


def _conditions(rule: dict[str, Any]) -> str:
    units = {metric["name"]: metric.get("unit", "") for metric in _catalogue()}
    parts = []
    for condition in rule["conditions"]:
        what = condition["metric"]
        if condition.get("measure") == "change_per_hour":
            what = f"change of {what} per hour"
        sign = SIGN.get(condition["comparison"], condition["comparison"])
        parts.append(f"{what} {sign} {amount(condition['enter'], units.get(condition['metric'], ''))}")
    return " and ".join(parts)


def _table(rules: list[dict[str, Any]], *, may: bool) -> tuple[str, str] | None:
    rows = []
    for rule in rules:
        severity = rule["severity"]
        switch = Action("off", "Switch off") if rule["enabled"] else Action("on", "Switch on")
        actions = [Action("edit", "Change"), switch, Action("delete", "Delete", danger=True)]
        rows.append(
            Row(
                rule["id"],
                [
                    rule["name"],
                    _conditions(rule),
                    interval(rule["for_s"]) if rule["for_s"] else "at once",
                    (
                        COLOR.get(severity, "unknown"),
                        SEVERITY_ICON.get(severity, "?"),
                        SEVERITY_WORD.get(severity, severity),
                    ),
                    "on" if rule["enabled"] else "off",
                ],
                actions if may else [],
                dim=not rule["enabled"],
            )
        )
    columns = {"Rule": "text", "When": "code", "For": "text", "Severity": "mark", "State": "text"}
    return components.table(columns, rows, label="Rules", empty="No rule matches.", key="rules")


def _act(rules: list[dict[str, Any]], pressed: tuple[str, str] | None) -> None:
    rule = next((one for one in rules if pressed is not None and one["id"] == pressed[0]), None)
    if rule is None or pressed is None:
        return
    match pressed[1]:
        case "edit":
            _edit(rule)
        case "on" | "off":
            if attempt("switch the rule", lambda: _save(rule["id"], {"enabled": pressed[1] == "on"})):
                st.rerun()
        case "delete":
            confirm(
                f"Delete **{name_of(rule, 'name')}**? Incidents it holds open will resolve.",
                "delete the rule",
                lambda: context.api().send("DELETE", f"/rules/{rule['id']}"),
            )


def _save(rule_id: str, changes: dict[str, Any]) -> None:
    """Read the rule again, apply the changes and put it back only if nobody changed it in between."""
    current, etag = context.api().read(f"/rules/{rule_id}")
    body = {name: value for name, value in current.items() if name not in {"id", "stock"}} | changes
    context.api().send("PUT", f"/rules/{rule_id}", body, if_match=etag)


@st.dialog("Rule", width="medium")
def _edit(rule: dict[str, Any] | None) -> None:
    first: dict[str, Any] = rule["conditions"][0] if rule else NEW_CONDITION
    metrics = _metrics(first["metric"])
    with st.form("rule", border=False):
        name = st.text_input("Name", rule["name"] if rule else "", max_chars=200)
        metric = st.selectbox("Metric", metrics, index=metrics.index(first["metric"]))
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
        names = list(SEVERITIES)
        severity = middle.selectbox(
            "Severity",
            names,
            index=names.index(rule["severity"] if rule else "warning"),
            format_func=SEVERITY_WORD.__getitem__,
        )
        summary = st.text_input("What it means", rule["summary"] if rule else "", max_chars=500)
        if rule and len(rule["conditions"]) > 1:
            st.caption(
                f"The other conditions stay: {plain(_conditions({'conditions': rule['conditions'][1:]}))}"
            )
        pressed = st.form_submit_button("Save", type="primary")
    if not pressed:
        return
    if not name.strip():
        st.warning("Give the rule a name.")
        return
    condition = {**first, "metric": metric, "comparison": comparison, "enter": enter, "leave": leave}
    changes = {
        "name": name.strip(),
        "conditions": [condition, *(rule["conditions"][1:] if rule else [])],
        "severity": severity,
        "for_s": float(held),
        "summary": summary,
    }
    if rule is None:
        done = attempt("make the rule", lambda: context.api().send("POST", "/rules", changes))
    else:
        done = attempt("change the rule", lambda: _save(rule["id"], changes))
    if done:
        st.rerun()


def _metrics(present: str) -> list[str]:
    names = {metric["name"] for metric in _catalogue()}
    return sorted(names | {present})


def _catalogue() -> list[MetricInfo]:
    return context.remembered("catalogue", 300, lambda: context.api().metrics())
