"""What the messages of all channels share: severity in words and colours, links, times, the lines of an incident."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from farwatch.domain.events import EventKind, IncidentEvent
from farwatch.domain.fixes import fixes_for
from farwatch.domain.headlines import duration, one_line, quantity
from farwatch.domain.severity import Severity


@dataclass(frozen=True, slots=True)
class Look:
    """How a severity looks. The colours are those of the dashboard: dark enough for white text, told apart by the
    colour-blind (after Okabe and Ito), and never the only sign.
    """

    word: str
    colour: str
    emoji: str


LOOKS: dict[Severity, Look] = {
    Severity.CRITICAL: Look("CRITICAL", "#B3261E", ":red_circle:"),
    Severity.HIGH: Look("HIGH", "#B84E00", ":large_orange_circle:"),
    Severity.WARNING: Look("WARNING", "#8A6100", ":large_yellow_circle:"),
    Severity.INFO: Look("INFO", "#0B5F93", ":large_blue_circle:"),
}
RESOLVED = Look("RESOLVED", "#1A7340", ":large_green_circle:")
ACKNOWLEDGED = Look("ACKNOWLEDGED", "#5B4B8A", ":eyes:")


def look_of(event: IncidentEvent) -> Look:
    """Return the look of an event: its end and its acknowledgement have one of their own."""
    if event.kind is EventKind.RESOLVED:
        return RESOLVED
    if event.kind is EventKind.ACKNOWLEDGED:
        return ACKNOWLEDGED
    return LOOKS[event.severity]


def what_happened(event: IncidentEvent) -> str:
    """Return one sentence on what the event says."""
    lasted = duration((event.resolved_at or event.at) - event.opened_at)
    by = f" by {one_line(event.actor, 80)}" if event.actor else ""
    match event.kind:
        case EventKind.OPENED:
            return f"Opened{by} at {clock(event.at)}."
        case EventKind.ESCALATED:
            return f"Got worse after {lasted}: now {LOOKS[event.severity].word.lower()}."
        case EventKind.RESOLVED:
            return f"Resolved{by} after {lasted}."
        case EventKind.ACKNOWLEDGED:
            return f"Acknowledged{by} after {lasted}."
        case EventKind.ASSIGNED:
            return one_line(event.note, 200) or f"Assigned{by}."
        case _:
            return f"Changed{by} at {clock(event.at)}."


def title_of(event: IncidentEvent, limit: int = 200) -> str:
    """Return the title on one line; an incident without one goes by its id."""
    return one_line(event.title, limit) or event.incident_id


def explanation(event: IncidentEvent) -> str:
    """Return why: the reason of the trouble, or once it is over, why it is taken to be over. One line of text."""
    if event.kind is EventKind.RESOLVED:
        return "" if event.actor else one_line(event.note, 1000)
    return one_line(event.reason, 1000)


def incident_link(dashboard_url: str, incident_id: str) -> str:
    """Return the address of an incident's page."""
    return f"{dashboard_url.rstrip('/')}/incidents?id={quote(incident_id, safe='')}"


def settings_link(dashboard_url: str) -> str:
    """Return the address where a person changes what they are sent."""
    return f"{dashboard_url.rstrip('/')}/notifications"


def clock(at: int) -> str:
    """Return a time for people anywhere: ``2026-09-21 14:13:20 UTC``."""
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def fixes(event: IncidentEvent) -> tuple[str, ...]:
    """Return the fixes worth suggesting with an event: none once it is over."""
    evidence = event.evidence
    if not event.kind.firing:
        return ()
    return fixes_for(evidence.metric, evidence.kind) if evidence is not None else ()


def process_lines(event: IncidentEvent, limit: int) -> list[tuple[str, str, str, str]]:
    """Return (name, pid, cpu, memory) of the busiest processes in the evidence."""
    evidence = event.evidence
    if evidence is None:
        return []
    return [
        (
            one_line(process.name, 60),
            str(process.pid),
            quantity(process.cpu_percent, "percent"),
            quantity(float(process.rss_bytes), "bytes"),
        )
        for process in evidence.top_processes[:limit]
    ]
