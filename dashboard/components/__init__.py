"""The components: small browser modules mounted through Streamlit's components v2, fed with plain JSON.

Each is a file in ``dashboard/assets`` with a ``mount`` function; what Streamlit registers is only a shim that loads it
from this server. Data becomes text nodes there, never markup, so names from outside need no escaping.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import streamlit as st

from dashboard.live import LiveFeed
from dashboard.routes import ASSETS, PREFIX, asset_version
from dashboard.session import Session
from dashboard.wire import Host, Incident

_SHIM = """
export default function (component) {
  let gone = false, cleanup = null;
  const url = location.origin + component.data.assets + "MODULE";
  import(url).then((module) => { if (!gone) cleanup = module.mount(component); });
  return () => { gone = true; if (cleanup) cleanup(); };
}
"""


@cache
def _css() -> str:
    return (ASSETS / "farwatch.css").read_text(encoding="utf-8")


def _component(name: str) -> Any:
    return st.components.v2.component(
        f"farwatch_{name}", css=_css(), js=_SHIM.replace("MODULE", f"{name}.js"), isolate_styles=False
    )


_chart = _component("chart")
_fleet = _component("fleet")
_pulse = _component("pulse")
_return = _component("return")
_strip = _component("strip")
_table = _component("table")


def _base() -> str:
    path = str(st.get_option("server.baseUrlPath") or "").strip("/")
    return f"/{path}/" if path else "/"


def _common(session: Session | None) -> dict[str, Any]:
    base = _base()
    data: dict[str, Any] = {
        "base": base,
        "assets": f"{base}{PREFIX[1:]}/assets/{asset_version()}/",
        "now": int(time.time() * 1000),
    }
    if session is not None:
        data["stream"] = {"path": f"{base}{PREFIX[1:]}/live", "key": session.stream_key}
    return data


def _replay_points(feed: LiveFeed, topics: Sequence[str]) -> dict[str, int]:
    """Start following the topics and return where each stands now: what comes later is replayed to the page."""
    for topic in topics:
        feed.recent(topic)
    return {topic: feed.last_seq(topic) for topic in topics}


def replay_points(session: Session, topics: Sequence[str]) -> dict[str, int]:
    """Call this *before* querying history, and hand the answer to :func:`charts`: no sample falls in between."""
    return _replay_points(session.feed, topics)


def charts(
    session: Session,
    panels: Sequence[Mapping[str, Any]],
    *,
    key: str,
    start: int,
    end: int,
    timezone: str | None,
    step_ms: int,
    follow: Mapping[str, int] | None = None,
    coarse: bool = False,
    columns: int = 2,
    revision: str | None = None,
    on_range: Callable[[dict[str, int] | None], None] | None = None,
) -> str | None:
    """Draw time charts (see :mod:`dashboard.charts` for panels); return the id of the mark opened just now, or None.

    ``follow`` gives topics and their replay points: the charts then move with the clock and take pushes in the
    browser; on ``coarse`` charts, whose buckets are wider than the sampling interval, those fill whole buckets.
    The charts are drawn again when ``revision`` differs from the last one, by default always.
    ``on_range`` hears of a zoom as ``{"from", "to"}`` in epoch ms, or None for a double click.
    """
    data = {
        **_common(session),
        "panels": list(panels),
        "window": {"from": start, "to": end},
        "timezone": timezone,
        "step_ms": step_ms,
        "follow": follow is not None,
        "coarse": coarse,
        "topics": list(follow or ()),
        "after": dict(follow or {}),
        "columns": columns,
        "revision": revision or f"{key}:{start}:{end}:{time.monotonic_ns()}",
    }

    def changed() -> None:
        state = st.session_state.get(key)
        if on_range is not None and state is not None:
            on_range(state.get("range"))

    opened = _chart(key=key, data=data, on_range_change=changed, on_open_change=lambda: None).get("open")
    return opened if isinstance(opened, str) else None


def fleet(
    session: Session,
    hosts: Sequence[Host],
    sparks: Mapping[str, Sequence[float | None]],
    after: Mapping[str, int],
) -> str | None:
    """Draw the table of hosts; return the id of the host that was opened just now, or None."""
    rows = [
        {
            "id": host["id"],
            "name": host.get("name", host["id"]),
            "status": host.get("status", "never_seen"),
            "labels": host.get("labels") or {},
            "last_seen_at": host.get("last_seen_at"),
            "latest": host.get("latest") or {},
            "open_incidents": host.get("open_incidents", 0),
            "spark": list(sparks.get(host["id"], [])),
        }
        for host in hosts
    ]
    data = {**_common(session), "hosts": rows, "after": dict(after), "revision": str(time.monotonic_ns())}
    result = _fleet(key="fleet-table", data=data, on_open_change=lambda: None)
    opened = result.get("open")
    return opened if isinstance(opened, str) else None


def strip(incidents: Sequence[Incident], *, clear: str, key: str, doubt: bool = False) -> str | None:
    """Draw incidents as a list, or ``clear`` when there are none; return the id of the one opened just now.

    With ``doubt`` that there are none is no good news, and ``clear`` says why.
    """
    items = [
        {
            "id": item["id"],
            "title": item.get("title", item["id"]),
            "severity": item.get("severity", "info"),
            "state": item.get("state", "open"),
            "at": item.get("opened_at", 0),
            "by": item.get("acknowledged_by"),
        }
        for item in incidents
    ]
    result = _strip(
        key=key,
        data={**_common(None), "items": items, "clear": clear, "doubt": doubt},
        on_open_change=lambda: None,
    )
    opened = result.get("open")
    return opened if isinstance(opened, str) else None


def pulse(
    session: Session, topics: Sequence[str], *, code: str | None, on_news: Callable[[list[str]], None]
) -> None:
    """Draw the socket indicator; ``on_news`` hears, at most once a second, on which topics something happened.

    ``code`` is a one-time code the page swaps for the session cookie.
    """
    key = "pulse"
    data = {
        **_common(session),
        "topics": list(topics),
        "code": code,
        "session": f"{_base()}{PREFIX[1:]}/session",
    }

    def changed() -> None:
        state = st.session_state.get(key)
        news = state.get("news") if state is not None else None
        if isinstance(news, list):
            on_news([topic for topic in news if isinstance(topic, str)])

    _pulse(key=key, data=data, on_news_change=changed)


def remember_address() -> None:
    """Let the browser note its address, so that it is found again after a way over the identity provider."""
    _return(key="return", data=_common(None))


@dataclass(frozen=True, slots=True)
class Action:
    """A button in a row of a table. ``danger`` marks what is hard to undo."""

    id: str
    label: str
    danger: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table: cells in the order of the columns, and what can be done with it."""

    id: str
    cells: Sequence[Any]
    actions: Sequence[Action] = ()
    dim: bool = False


def table(
    columns: Mapping[str, str], rows: Sequence[Row], *, label: str, empty: str, key: str
) -> tuple[str, str] | None:
    """Draw a table; return (row id, action id) of the button pressed just now, or None.

    ``columns`` maps a column's heading to its kind: ``text``, ``code``, ``time`` (epoch ms) or ``mark``
    (a tuple of colour name, icon and word). ``empty`` stands there when there are no rows.
    """
    data = {
        **_common(None),
        "columns": [{"label": heading, "kind": kind} for heading, kind in columns.items()],
        "rows": [
            {
                "id": row.id,
                "cells": list(row.cells),
                "dim": row.dim,
                "actions": [{"id": a.id, "label": a.label, "danger": a.danger} for a in row.actions],
            }
            for row in rows
        ],
        "label": label,
        "empty": empty,
    }
    pressed = _table(key=key, data=data, on_act_change=lambda: None).get("act")
    if not isinstance(pressed, Mapping):
        return None
    return str(pressed.get("row")), str(pressed.get("action"))
