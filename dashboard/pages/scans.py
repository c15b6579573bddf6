"""Security scans: the newest result of each scanned tree, what changed since the one before, and every finding."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard import components, context
from dashboard.client import segment
from dashboard.components import Action, Row
from dashboard.pages.fleet import go
from dashboard.pages.managing import people_names, token_names
from dashboard.words import clock_time, plain

MOST = 200
SEVERITIES = {
    "critical": ("critical", "▲", "Critical"),
    "high": ("critical", "▲", "High"),
    "medium": ("warning", "◆", "Medium"),
    "low": ("info", "●", "Low"),
    "info": ("unknown", "●", "Info"),
}
CHANGES = {"new": "New", "open": "Still open", "fixed": "Fixed"}
CLEAN = ("ok", "✓", "Nothing found")
COMMAND = "./farwatch scan PATH --publish"
FROM_ELSEWHERE = (
    "export FARWATCH_API_URL=https://…      # where this dashboard's API is\n"
    "export FARWATCH_API_TOKEN=fwt_…        # an API token with the scope scan:publish\n"
    "./farwatch scan PATH --publish --as NAME"
)


def page() -> None:
    """Show one scan when the address names one, else the newest of each target."""
    scan_id = st.query_params.get("id")
    if scan_id:
        _one(scan_id)
    else:
        _list()


def _list() -> None:
    st.header("Security scans", anchor=False)
    st.markdown(
        "What the scanner found in your source trees and templates: secrets, injection, weak cryptography, open CORS."
    )
    with context.failures_shown("load the scans"):
        found = context.api().items("/scans", newest="true", most=MOST)
        if not found:
            _teach()
            return
        pressed = _targets(found)
        if pressed is not None:
            go("scans", {"id": pressed[0]})
        with st.expander("Scan another tree", icon=":material/terminal:"):
            _commands()
        context.updated()


def _teach() -> None:
    with st.container(border=True):
        st.subheader("No scan has been published yet", anchor=False)
        st.markdown(
            "Scan a source tree or a template, and its findings show up here, compared with the scan before. "
            "Nothing of the tree is run, and secrets are masked before anything is sent."
        )
        _commands()


def _commands() -> None:
    st.markdown("On the machine that Farwatch runs on:")
    st.code(COMMAND, language="shell", wrap_lines=True)
    st.markdown("From anywhere else, such as a pipeline:")
    st.code(FROM_ELSEWHERE, language="shell", wrap_lines=True)


def _targets(found: list[dict[str, Any]]) -> tuple[str, str] | None:
    names = people_names() | token_names()
    rows = [
        Row(
            scan["id"],
            [
                scan["target"],
                _worst(scan),
                _counts(scan),
                _trend(scan),
                _by(scan, names),
                scan["received_at"],
            ],
            [Action("open", "Open")],
        )
        for scan in found
    ]
    columns = {
        "Tree": "text",
        "Worst": "mark",
        "Findings": "text",
        "Since the scan before": "text",
        "By": "text",
        "When": "time",
    }
    return components.table(columns, rows, label="Newest scans", empty="", key="scans")


def _worst(scan: dict[str, Any]) -> tuple[str, str, str]:
    return next((SEVERITIES[name] for name in SEVERITIES if scan["counts"].get(name)), CLEAN)


def _counts(scan: dict[str, Any]) -> str:
    listed = [f"{scan['counts'][name]} {name}" for name in SEVERITIES if scan["counts"].get(name)]
    if scan["left_out"]:
        listed.append(f"{scan['left_out']} more not listed")
    return ", ".join(listed) or "none"


def _trend(scan: dict[str, Any]) -> str:
    trend = scan["trend"]
    if trend is None:
        return "first scan"
    return f"{trend['new']} new, {trend['fixed']} fixed, {trend['open']} still open"


def _by(scan: dict[str, Any], names: dict[str, str]) -> str:
    by = scan["published_by"]
    return "this machine" if by["kind"] == "system" else names.get(by["id"], by["id"])


# One scan


def _one(scan_id: str) -> None:
    from dashboard.pages.registry import named

    st.page_link(named("scans"), label="All scans", icon=":material/arrow_back:")
    with context.failures_shown("load the scan"):
        scan, _ = context.api().read(f"/scans/{segment(scan_id)}")
        st.header(plain(scan["target"]), anchor=False)
        by = _by(scan, people_names() | token_names())
        read = f"{scan['files']} files in {scan['seconds']:.1f} s"
        aside = f" · {scan['suppressed']} set aside" if scan["suppressed"] else ""
        st.markdown(
            f"Scanned {clock_time(scan['received_at'], context.timezone())} by {plain(by)} · "
            f"{read}{aside} · {plain(_counts(scan))}"
        )
        if scan["trend"] is None:
            st.caption("The first scan of this tree: the next one will say what is new and what was fixed.")
        else:
            st.markdown(f"Since the scan before: **{_trend(scan)}**.")
        _findings(scan)
        _downloads(scan)
        _earlier(scan)
        context.updated()


def _findings(scan: dict[str, Any]) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        change = None
        if scan["trend"] is not None:
            change = st.segmented_control(
                "Since the scan before",
                list(CHANGES),
                format_func=CHANGES.__getitem__,
                key="change",
                bind="query-params",
            )
        severities = st.pills(
            "Severity",
            list(SEVERITIES),
            format_func=lambda name: f"{SEVERITIES[name][1]} {SEVERITIES[name][2]}",
            selection_mode="multi",
            key="severity",
            bind="query-params",
        )
        rules = scan["rules"]
        rule = st.selectbox(
            "Rule",
            list(rules),
            index=None,
            placeholder="All rules",
            format_func=lambda name: f"{name} ({rules[name]})",
            key="rule",
            width=300,
        )
    found = context.api().items(
        f"/scans/{scan['id']}/findings",
        most=MOST,
        limit=MOST,
        change=change,
        severity=list(severities or ()) or None,
        rule=rule,
    )
    narrowed = bool(change or severities or rule)
    pressed = _table(found, narrowed=narrowed)
    if len(found) == MOST:
        st.caption(f"The worst {MOST} are listed: narrow it down, or take the report below.")
    chosen = next((one for one in found if pressed is not None and one["fingerprint"] == pressed[0]), None)
    if chosen is not None:
        _finding(chosen)


def _table(found: list[dict[str, Any]], *, narrowed: bool) -> tuple[str, str] | None:
    rows = [
        Row(
            one["fingerprint"],
            [
                f"{one['file']}:{one['line']}",
                SEVERITIES[one["severity"]],
                one["rule"],
                one["why"],
                CHANGES[one["change"]],
            ],
            [Action("show", "Details")],
            dim=one["change"] == "fixed",
        )
        for one in found
    ]
    columns = {"Where": "text", "Severity": "mark", "Rule": "code", "What": "text", "Since": "text"}
    empty = (
        "Nothing fits: take a filter away."
        if narrowed
        else "Nothing was found. A clean report is not a proof: docs/security-scan.md says how much the scanner sees."
    )
    return components.table(columns, rows, label="Findings", empty=empty, key="findings")


@st.dialog("Finding", width="large")
def _finding(one: dict[str, Any]) -> None:
    _, icon, word = SEVERITIES[one["severity"]]
    st.markdown(f"{icon} **{word}** · {plain(one['rule'])} · CWE-{one['cwe']} · {CHANGES[one['change']]}")
    st.markdown(f"**{plain(one['file'], 1000)}**, line {one['line']}, column {one['column']}")
    if one["snippet"]:
        st.code(one["snippet"], language=None, wrap_lines=True)
    st.markdown(f"**Why it matters.** {plain(one['why'], 1000)}")
    st.markdown(f"**What to do.** {plain(one['fix'], 1000)}")
    st.caption(f"Seen by {plain(', '.join(one['sources']) or 'farwatch')} · {plain(one['fingerprint'])}")


def _downloads(scan: dict[str, Any]) -> None:
    client, path = context.api(), f"/scans/{scan['id']}/report"
    with st.container(horizontal=True):
        for form, ending in (("json", "json"), ("sarif", "sarif")):
            st.download_button(
                f"Report as {form.upper()}",
                data=lambda form=form: client.file(path, format=form),  # type: ignore[misc]
                file_name=f"{scan['id']}.{ending}",
                mime="application/json",
                on_click="ignore",
                icon=":material/download:",
                key=f"report-{form}",
            )


def _earlier(scan: dict[str, Any]) -> None:
    history = [one for one in context.api().items("/scans", target=scan["target"]) if one["id"] != scan["id"]]
    if not history:
        return
    st.subheader("Other scans of this tree", anchor=False)
    rows = [
        Row(one["id"], [clock_time(one["received_at"], context.timezone()), _worst(one), _counts(one), _trend(one)],
            [Action("open", "Open")])
        for one in history
    ]  # fmt: skip
    columns = {"When": "text", "Worst": "mark", "Findings": "text", "Since the scan before": "text"}
    pressed = components.table(columns, rows, label="Other scans", empty="", key="other-scans")
    if pressed is not None:
        go("scans", {"id": pressed[0]})
