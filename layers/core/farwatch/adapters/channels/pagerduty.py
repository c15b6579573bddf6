"""PagerDuty Events API v2: trigger, acknowledge, resolve, under one key per incident."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from farwatch.adapters.channels.web import post_json
from farwatch.adapters.channels.words import fixes, incident_link, title_of
from farwatch.domain.events import EventKind, IncidentEvent
from farwatch.domain.headlines import one_line
from farwatch.domain.severity import Severity
from farwatch.errors import Rejected

EVENTS_URL = "https://events.pagerduty.com/v2/enqueue"
SUMMARY_CHARS = 1024
_ACTIONS = {EventKind.ACKNOWLEDGED: "acknowledge", EventKind.RESOLVED: "resolve"}
_SEVERITIES = {
    Severity.CRITICAL: "critical",
    Severity.HIGH: "error",
    Severity.WARNING: "warning",
    Severity.INFO: "info",
}


@dataclass(frozen=True, slots=True)
class Service:
    """An integration of a PagerDuty service: where to post, and its secret 32-character key."""

    routing_key: str = field(repr=False)
    url: str = EVENTS_URL


def compose(event: IncidentEvent, routing_key: str, dashboard_url: str) -> dict[str, Any]:
    """Return the body for an event. The dedup key is the incident id: a repeat changes the same alert, and the end
    closes the one that the opening made.
    """
    action = _ACTIONS.get(event.kind, "trigger")
    body: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": action,
        "dedup_key": event.incident_id[:255],
    }
    if action != "trigger":
        return body
    link = incident_link(dashboard_url, event.incident_id)
    evidence = event.evidence
    details: dict[str, Any] = {
        "reason": one_line(event.reason, 2000),
        "incident": event.incident_id,
        "what_to_try_first": list(fixes(event)),
        "signals": [f"{line.title} ({line.severity})" for line in event.signals],
        "signal_count": event.signal_count,
    }
    if evidence is not None:
        details["measured"] = {str(name): value for name, value in evidence.numbers.items()}
        details["busiest_processes"] = [
            {
                "name": one_line(process.name, 100),
                "pid": process.pid,
                "cpu_percent": process.cpu_percent,
                "rss_bytes": process.rss_bytes,
            }
            for process in evidence.top_processes[:5]
        ]
    body |= {
        "payload": {
            "summary": title_of(event, SUMMARY_CHARS),
            "source": one_line(event.host_name, 255) or "farwatch",
            "severity": _SEVERITIES[event.severity],
            "timestamp": datetime.fromtimestamp(event.at / 1000, UTC).isoformat(timespec="milliseconds"),
            "class": evidence.metric if evidence is not None and evidence.metric else "incident",
            "group": event.host_labels.get("env", ""),
            "component": event.host_labels.get("role", ""),
            "custom_details": details,
        },
        "client": "Farwatch",
        "client_url": link,
        "links": [{"href": link, "text": "Open the incident"}],
    }
    return body


class PagerDutySender:
    """Sends events; ``service`` returns the integration behind a recipient, or None when there is none any more."""

    def __init__(self, service: Callable[[str], Service | None], *, dashboard_url: str) -> None:
        self._service = service
        self._dashboard_url = dashboard_url

    def destination(self, recipient: str) -> str:
        """Return the recipient: each integration stands for itself."""
        return recipient

    def send(self, event: IncidentEvent, recipient: str, delivery_id: str) -> str:
        """Send the event and return PagerDuty's dedup key."""
        del delivery_id
        service = self._service(recipient)
        if service is None:
            raise Rejected("pagerduty", "this PagerDuty service has been removed")
        answer = post_json("pagerduty", service.url, compose(event, service.routing_key, self._dashboard_url))
        try:
            return str(json.loads(answer.text).get("dedup_key", ""))[:255]
        except (ValueError, AttributeError):
            return ""
