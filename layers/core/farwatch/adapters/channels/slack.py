"""Slack over an incoming webhook: a coloured attachment with Block Kit inside, and a line of text for the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from farwatch.adapters.channels.web import post_json
from farwatch.adapters.channels.words import (
    clock,
    explanation,
    fixes,
    incident_link,
    look_of,
    process_lines,
    title_of,
    what_happened,
)
from farwatch.domain.events import IncidentEvent
from farwatch.domain.headlines import one_line
from farwatch.errors import Rejected

# Documented limits of Block Kit and of attachments.
SECTION_CHARS = 3000
FIELD_CHARS = 2000
BUTTON_CHARS = 75
BLOCKS = 50
_LISTED = 8


def escape(text: str) -> str:
    """Return text with Slack's three control characters escaped, so that no name can ping a channel or forge a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cut(text: str, limit: int) -> str:
    """Escape, then cut to ``limit`` characters without splitting an entity."""
    escaped = escape(text)
    if len(escaped) <= limit:
        return escaped
    kept = escaped[: limit - 1]
    ampersand = kept.rfind("&")
    if ampersand > kept.rfind(";"):
        kept = kept[:ampersand]
    return kept + "…"


def compose(event: IncidentEvent, dashboard_url: str) -> dict[str, Any]:
    """Return the webhook body for an event."""
    look = look_of(event)
    link = incident_link(dashboard_url, event.incident_id)
    headline = f"{look.emoji} *{look.word}* <{link}|{_cut(title_of(event), 600)}>"
    blocks: list[dict[str, Any]] = [
        _section(_cut(f"{what_happened(event)} {explanation(event)}".strip(), SECTION_CHARS))
    ]
    if event.note and event.actor:
        blocks.append(_section("> " + _cut(one_line(event.note, 1000), SECTION_CHARS - 2)))
    fields = [("Host", event.host_name or "none"), ("Severity", event.severity.value)]
    if event.signal_count > 1:
        fields.append(("Signals", str(event.signal_count)))
    blocks.append({"type": "section", "fields": [_field(name, value) for name, value in fields]})
    processes = process_lines(event, 3) if event.kind.firing else []
    if processes:
        lines = [
            f"`{_cut(_without_ticks(name), 80)}` pid {pid}, CPU {cpu}, memory {memory}"
            for name, pid, cpu, memory in processes
        ]
        blocks.append(_section("*Busiest processes*\n" + "\n".join(lines)))
    if event.signal_count > 1 and event.signals:
        lines = [
            f"{'•' if line.firing else '✓'} {_cut(line.title, 250)} ({line.severity})"
            for line in event.signals[:_LISTED]
        ]
        if event.signal_count > _LISTED:
            lines.append(f"and {event.signal_count - _LISTED} more")
        blocks.append(_section("*In this incident*\n" + "\n".join(lines)))
    if fixes(event):
        lines = [f"{number}. {_cut(fix, 600)}" for number, fix in enumerate(fixes(event), 1)]
        blocks.append(_section("*What to try first*\n" + "\n".join(lines)))
    blocks.append(
        {
            "type": "actions",
            "elements": [
                {"type": "button", "text": {"type": "plain_text", "text": "Open the incident"}, "url": link}
            ],
        }
    )
    footer = f"Farwatch · {event.incident_id} · since {clock(event.opened_at)}"
    blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": _cut(footer, FIELD_CHARS)}]})
    return {
        "text": headline,
        "attachments": [
            {
                "color": look.colour,
                "fallback": _cut(f"[{look.word}] {title_of(event)}", 700),
                "blocks": blocks[:BLOCKS],
            }
        ],
        "unfurl_links": False,
    }


def _without_ticks(text: str) -> str:
    """Return text that does not end the code span it is put into."""
    return text.replace("`", "'")


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text[:SECTION_CHARS]}}


def _field(name: str, value: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": f"*{name}*\n{_cut(one_line(value, 200), FIELD_CHARS - 40)}"}


class SlackSender:
    """Posts to webhooks; ``webhook`` returns the address behind a recipient, or None when there is none any more."""

    def __init__(self, webhook: Callable[[str], str | None], *, dashboard_url: str) -> None:
        self._webhook = webhook
        self._dashboard_url = dashboard_url

    def destination(self, recipient: str) -> str:
        """Return the recipient: each webhook stands for itself."""
        return recipient

    def send(self, event: IncidentEvent, recipient: str, delivery_id: str) -> str:
        """Post the message; a webhook gives no id back. Slack cannot tell a second copy from a first message."""
        del delivery_id
        url = self._webhook(recipient)
        if url is None:
            raise Rejected("slack", "this Slack channel has been removed")
        post_json("slack", url, compose(event, self._dashboard_url))
        return ""
