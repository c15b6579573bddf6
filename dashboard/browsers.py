"""Which browser or program a ``User-Agent`` header names, as people call it."""

from __future__ import annotations

import re

DASHBOARD = "farwatch-dashboard"
LONGEST = 60
# Browsers name their ancestors too, so the youngest comes first.
_BROWSERS = (
    ("Edge", re.compile(r"\bEdg(?:e|A|iOS)?/(\d+)")),
    ("Opera", re.compile(r"\bOPR/(\d+)")),
    ("Samsung Internet", re.compile(r"\bSamsungBrowser/(\d+)")),
    ("Firefox", re.compile(r"\b(?:Firefox|FxiOS)/(\d+)")),
    ("Chrome", re.compile(r"\b(?:HeadlessChrome|Chrome|Chromium|CriOS)/(\d+)")),
    ("Safari", re.compile(r"\bVersion/(\d+)\S* (?:Mobile/\S+ )?Safari/")),
)
_SYSTEMS = (
    ("Windows", "Windows"),
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)


def browser_name(user_agent: str) -> str:
    """Return for example ``Firefox 142 on Linux``; what is no known browser as it calls itself, cut at 60 characters."""
    browser = next(
        (f"{name} {found[1]}" for name, known in _BROWSERS if (found := known.search(user_agent))), None
    )
    if browser is not None:
        system = next((name for mark, name in _SYSTEMS if mark in user_agent), None)
        return f"{browser} on {system}" if system else browser
    own = user_agent.removeprefix(DASHBOARD).strip() or user_agent
    return own if len(own) <= LONGEST else f"{own[: LONGEST - 1]}…"
