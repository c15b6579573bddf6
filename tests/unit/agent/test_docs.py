"""The documentation of the agent says what the code does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from collector_agent import catalogue
from collector_agent.config import DEFAULTS, SETTINGS

DOCS = (Path(__file__).resolve().parents[3] / "docs" / "agent.md").read_text("utf-8")


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading."""
    section = DOCS.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def shown(key: str, value: Any) -> str:
    if key == "state_dir":
        return "`/var/lib/farwatch-agent`, or `~/.local/state/farwatch-agent`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return "`[" + ", ".join(f'"{item}"' for item in value) + "]`"
    if isinstance(value, dict):
        return "`{}`"
    if isinstance(value, str):
        return f'`"{value}"`'
    return f"`{value:g}`"


def test_the_table_of_settings_is_the_code_s() -> None:
    expected = [
        [f"`{setting.key}`", shown(setting.key, DEFAULTS[setting.key]), setting.description]
        for setting in SETTINGS
    ]
    assert rows("Settings") == expected


def test_the_table_of_metrics_is_the_catalogue() -> None:
    expected = [
        [
            f"`{metric.name}`" + (f" by `{metric.labels[0]}`" if metric.labels else ""),
            metric.unit,
            metric.bad,
            metric.description,
        ]
        for metric in sorted(catalogue.METRICS)
    ]
    assert rows("Metrics") == expected
