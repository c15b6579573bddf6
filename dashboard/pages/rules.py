"""Rules: what opens an incident."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard import components, context
from dashboard.components import Action, Row
from dashboard.pages.managing import attempt, confirm, name_of
from dashboard.pages.rule_form import conditions, edit, save
from dashboard.words import SEVERITY_ICON, SEVERITY_WORD, interval

COLOR = {"critical": "critical", "high": "critical", "warning": "warning", "info": "info"}


def page() -> None:
    """Show the rules; those who may can change, switch off and make them."""
    st.header("Rules", anchor=False)
    st.markdown(
        "A rule opens an incident when its conditions have held for a while. Changes count within ten seconds."
    )
    may = context.may("rules:write")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if may and st.button("New rule", type="primary", icon=":material/add:"):
            edit(None)
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
        shown = [rule for rule in rules if words in f"{rule['name']} {conditions(rule)}".lower()]
        _act(shown, _table(shown, may=may))
        context.updated()


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
                    conditions(rule),
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
            edit(rule)
        case "on" | "off":
            if attempt("switch the rule", lambda: save(rule["id"], {"enabled": pressed[1] == "on"})):
                st.rerun()
        case "delete":
            confirm(
                f"Delete **{name_of(rule, 'name')}**? Incidents it holds open will resolve.",
                "delete the rule",
                lambda: context.api().send("DELETE", f"/rules/{rule['id']}"),
            )
